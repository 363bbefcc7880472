"""How much memory training takes, estimated before any weight is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from prlhf.lm import Encoded
from prlhf.lm.layout import Layout, extent
from prlhf.lm.paths import pays
from prlhf.lm.projection import at_once, keeps_logits
from prlhf.users import UserModel, training_bytes

__all__ = ["Memory", "Pass", "estimate_memory"]

_ADAM = 2
"""Moments that AdamW keeps for a trained parameter, of the parameter's own type."""
_SAVED = 17
"""Numbers that a layer keeps for its backward pass, per token and unit of width: 34 bytes in 16 bit (Korthikanti et
al., arXiv 2205.05198, section 4.1) without the attention scores, which fused attention does not keep."""
_COPIED = 6
"""More of them where attention goes along paths: keys and values of a prompt once for each response after it."""
_LOGITS = 3
"""Copies of the logits in fp32 that autograd makes: themselves, their softmax, their gradient."""
_FLOAT = torch.float32.itemsize


@dataclass(frozen=True)
class Pass:
    """A forward pass over so many `rows` of `length` tokens, padding included; `predicted` of them are looked for."""

    rows: int
    length: int
    predicted: int
    layout: Layout
    bf16: bool = False
    """Whether it is in 16 bit whatever the weights are."""
    by_paths: bool = False
    """Whether attention goes along the paths of packed rows."""

    @classmethod
    def of(
        cls,
        item: Encoded,
        *,
        branches: int,
        user_tokens: int,
        layout: Layout,
        bf16: bool = False,
        attention: str = "auto",
        device: torch.device | str = "cpu",
    ) -> Pass:
        """Of one comparison or thumb, as `pair_logprobs` lays it out."""
        rows, length = extent(item, branches, user_tokens, layout)
        predicted = (branches if user_tokens else 1) * (len(item.chosen) + len(item.rejected))
        return cls(rows, length, predicted, layout, bf16, layout == "packed" and pays(attention, device, length))

    def times(self, count: int) -> Pass:
        """Of so many of them in one batch."""
        return replace(self, rows=count * self.rows, predicted=count * self.predicted)

    @property
    def tokens(self) -> int:
        """All that it computes."""
        return self.rows * self.length


@dataclass(frozen=True)
class Memory:
    """Bytes on one device, nothing sharded; `step` and `forward` are estimates, the rest is counted."""

    weights: int
    training: int
    """Gradients and AdamW's moments of the trained parameters of the language model."""
    users: int
    """The user model, its gradients and its moments."""
    copies: int
    """Copies of the weights in 16 bit, which `training.bf16` keeps for the backward pass."""
    step: int
    """Activations and logits that a step keeps for its backward pass."""
    forward: int
    """Activations and logits of the largest pass without a gradient: the reference, evaluation, `kto`'s mismatches."""

    @property
    def total(self) -> int:
        """The most there is at a time."""
        return self.weights + self.training + self.users + max(self.copies + self.step, self.forward)


def estimate_memory(
    model: Any,
    user_model: UserModel,
    step: Pass,
    forward: Sequence[Pass] = (),
    *,
    splits_head: bool = True,
    checkpointing: bool = False,
) -> Memory:
    """Memory of a run.

    Args:
        model: the language model with its LoRA; on the meta device it costs nothing.
        user_model: likewise.
        step: the pass of a training step.
        forward: those without a gradient.
        splits_head: whether only the positions that are looked for are projected to the vocabulary.
        checkpointing: whether activations are computed again in the backward pass.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    return Memory(
        weights=sum(p.numel() * p.element_size() for p in model.parameters()),
        training=sum((1 + _ADAM) * p.numel() * p.element_size() for p in trained),
        users=training_bytes(user_model),
        copies=_copies(model, checkpointing) if step.bf16 else 0,
        step=_kept(model, step, checkpointing) + _projection(model, step, splits_head, gradient=True),
        forward=max((_layer(model, p) + _projection(model, p, splits_head) for p in forward), default=0),
    )


def _projection(model: Any, one: Pass, splits_head: bool, gradient: bool = False) -> int:
    """Bytes of the logits that there are at a time, and of what a frozen projection keeps instead of them."""
    config, head = model.config.get_text_config(), model.get_output_embeddings()
    kept = gradient and (head is None or keeps_logits(head))
    positions = one.predicted if splits_head else one.tokens
    there = positions if kept or not splits_head else min(positions, at_once(config.vocab_size))
    logits = (_LOGITS if kept else _LOGITS - 1) * there * _FLOAT * config.vocab_size
    return logits + (0 if kept or not gradient else positions * config.hidden_size * _element(model, one))


def _kept(model: Any, step: Pass, checkpointing: bool) -> int:
    """Bytes of the activations that a step keeps: of all layers, or the input of each and one layer at a time."""
    config = model.config.get_text_config()
    layers, one = config.num_hidden_layers, _layer(model, step)
    inputs = layers * step.tokens * config.hidden_size * _element(model, step)
    return inputs + one if checkpointing else layers * one


def _element(model: Any, one: Pass) -> int:
    """Bytes of a number of the activations."""
    return 2 if one.bf16 else max(p.element_size() for p in model.parameters())


def _layer(model: Any, one: Pass) -> int:
    """Bytes that one layer keeps. Attention in plain PyTorch has its scores in fp32, and in 16 bit once more; the fused
    one has no scores, but a mask of `packed` as numbers, or copies of what each path sees."""
    config, element = model.config.get_text_config(), _element(model, one)
    square = one.rows * one.length**2
    if model.get_correct_attn_implementation(None) == "eager":
        scores = square * config.num_attention_heads * (_FLOAT + (element if element < _FLOAT else 0))
    else:
        scores = square * element if one.layout == "packed" and not one.by_paths else 0
    saved = _SAVED + (_COPIED if one.by_paths else 0)
    return one.tokens * config.hidden_size * saved * element + scores


def _copies(model: Any, checkpointing: bool) -> int:
    """Autocast makes copies of all matrices of other types, and backward passes need them: of all layers, or of one."""
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    ends = {id(part.weight) for part in (embedding, head) if part is not None}
    cast = [p for p in model.parameters() if p.dtype == torch.float32 and p.ndim > 1]
    inside = sum(p.numel() for p in cast if id(p) not in ends)
    outside = sum(p.numel() for p in cast if head is not None and p is head.weight)
    layers = model.config.get_text_config().num_hidden_layers
    return 2 * (outside + (inside // layers if checkpointing else inside))
