"""How much memory a training step takes, estimated before any weight is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from prlhf.users import UserModel, training_bytes

__all__ = ["Memory", "estimate_memory"]

_ADAM = 2
"""Moments that AdamW keeps for a trained parameter, of the parameter's own type."""
_SAVED = 17
"""Numbers that a layer keeps for its backward pass, per token and unit of width: 34 bytes in 16 bit (Korthikanti et
al., arXiv 2205.05198, section 4.1) without the attention scores, which fused attention does not keep."""
_LOGITS = 3
"""Copies of the logits in fp32: themselves, their softmax, their gradient."""


@dataclass(frozen=True)
class Memory:
    """Bytes on one device, nothing sharded; activations are an estimate, the rest is counted."""

    weights: int
    training: int
    """Gradients and AdamW's moments of the trained parameters of the language model."""
    users: int
    """The user model, its gradients and its moments."""
    activations: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.training + self.users + self.activations


def estimate_memory(
    model: Any, user_model: UserModel, *, tokens: int, responses: int, checkpointing: bool, bf16: bool
) -> Memory:
    """Memory of a step of training.

    Args:
        model: the language model with its LoRA; on the meta device it costs nothing.
        user_model: likewise.
        tokens: tokens of a forward pass, padding included.
        responses: how many of them are of responses: only those are projected to the vocabulary.
        checkpointing: whether activations are computed again in the backward pass.
        bf16: whether the forward pass is in 16 bit whatever the weights are.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    config = model.config.get_text_config()
    layers, width, vocabulary = config.num_hidden_layers, config.hidden_size, config.vocab_size
    element = 2 if bf16 else max(p.element_size() for p in model.parameters())
    kept = layers + _SAVED if checkpointing else layers * _SAVED  # one tensor a layer, and one layer at a time
    return Memory(
        weights=sum(p.numel() * p.element_size() for p in model.parameters()),
        training=sum((1 + _ADAM) * p.numel() * p.element_size() for p in trained),
        users=training_bytes(user_model),
        activations=tokens * width * kept * element + _LOGITS * responses * vocabulary * torch.float32.itemsize,
    )
