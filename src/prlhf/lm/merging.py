"""The LoRA folded into the weights: a model like one after full fine-tuning, for whatever takes plain models only."""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from prlhf.config import Full
from prlhf.errors import UnsupportedModelError
from prlhf.lm.loading import first_line

if TYPE_CHECKING:
    from prlhf.lm.personalized import PersonalizedLM

__all__ = ["folded", "merged"]

WEIGHTS_A_STEP = 5_000
"""On a CPU folding pays where a layer has at most so many weights for each token to come: it reads and writes them a
few times, and saves the layer two small products a token."""


def merged(lm: PersonalizedLM, *, in_place: bool = False) -> PersonalizedLM:
    """`lm` with its LoRA folded into the weights; a model without LoRA is returned as it is.

    The user model and its table are those of `lm`, not copies. Answers are the same up to the rounding of the weights'
    type, which is tried on a few tokens.

    Args:
        in_place: `lm` itself loses its LoRA, for good, so that memory need not hold the weights twice.

    Raises:
        UnsupportedModelError: the base is quantised, or the folded model does not compute the same.
    """
    if not isinstance(lm.model, PeftModel):
        return lm
    if getattr(lm.causal_lm, "is_quantized", False):
        raise UnsupportedModelError(
            "the base model is quantised: a LoRA folded into weights of few bits is rounded away with them, and on the "
            "full weights it was not trained; export embeddings, or train on the base without quantisation"
        )
    before, config = _probe(lm), lm.config.model_copy(update={"tuning": Full()})
    with lm.without_user_tokens():
        model = _fold(lm.model if in_place else copy.deepcopy(lm.model))
        if in_place:
            lm.model, lm.config = model, config
    if not in_place:
        about = lm.base_fingerprint, lm.with_user_text, lm.objective, lm.prior
        parts = (lm.tokenizer, lm.user_model, lm.users, config, *about)
        lm = type(lm)(model, *parts).train(lm.training)
    _check_same(before, _probe(lm))
    return lm


@contextmanager
def folded(lm: PersonalizedLM, how: str, steps: int) -> Iterator[None]:
    """Within it linear layers stand in for their LoRA layers, with the LoRA folded into a copy of their weights;
    afterwards all is as before, to the bit.

    Args:
        how: `auto`: where it pays and the weights have 32 bits, which alone lose nothing; `on`: all but quantised
            weights; `off`.
        steps: tokens that are to come one after the other.
    """
    held: list[tuple[nn.Module, str, LoraLayer, Any, Tensor]] = []
    try:
        with torch.no_grad():
            for parent, name, layer, base in _foldable(lm, how, steps):
                held.append((parent, name, layer, base, base.weight.data))
                base.weight.data = _weight(layer, base.weight)
                setattr(parent, name, base)
        yield
    finally:
        for parent, name, layer, base, weight in held:
            base.weight.data = weight
            setattr(parent, name, layer)


def _weight(layer: Any, weight: Tensor) -> Tensor:
    """The weights of a linear layer with its LoRA in them: in one pass, which for short answers is not nothing."""
    for name in layer.active_adapters:
        a, b = layer.lora_A[name].weight, layer.lora_B[name].weight
        left, right = (a.T, b.T) if layer.fan_in_fan_out else (b, a)
        weight = torch.addmm(weight.to(a.dtype), left, right, alpha=layer.scaling[name]).to(weight.dtype)
    return weight.detach()


def _foldable(lm: PersonalizedLM, how: str, steps: int) -> list[tuple[nn.Module, str, LoraLayer, Any]]:
    """Plain LoRA layers, where they are, and what they are on: linear layers of their own, since one that shares its
    weights, as a tied output layer, would change both."""
    if how == "off" or steps < 1 or not isinstance(lm.model, PeftModel):
        return []
    embedding, most = lm.embedding.weight, WEIGHTS_A_STEP * steps if lm.device.type == "cpu" else math.inf
    found = []
    for parent, name, layer in _lora_layers(lm.model):
        base: Any = layer.get_base_layer()
        if type(base) not in (nn.Linear, Conv1D) or not _is_plain(layer):
            continue
        weight, pays = base.weight, base.weight.numel() <= most and base.weight.dtype == torch.float32
        if weight is not embedding and weight.is_floating_point() and (pays or how == "on"):
            found.append((parent, name, layer, base))
    used = Counter(id(base.weight) for *_, base in found)
    return [each for each in found if used[id(each[3].weight)] == 1]


def _lora_layers(parent: nn.Module) -> Iterator[tuple[nn.Module, str, LoraLayer]]:
    for name, child in parent.named_children():
        if isinstance(child, LoraLayer):
            yield parent, name, child
        else:
            yield from _lora_layers(child)


def _is_plain(layer: LoraLayer) -> bool:
    off = layer.merged or layer.disable_adapters
    return not off and not layer.lora_variant and not any(layer.lora_bias.values())


def _fold(model: Any) -> nn.Module:
    try:
        return model.merge_and_unload(safe_merge=True)
    except (ValueError, NotImplementedError, AttributeError) as e:  # numbers that are not finite; a layer without merge
        raise UnsupportedModelError(f"the LoRA cannot be folded into the weights: {first_line(e)}") from e


@torch.no_grad()
def _probe(lm: PersonalizedLM) -> Tensor:
    """Logits `[1, s, v]` after some user tokens and a few others."""
    training = lm.training
    lm.eval()
    ids = [*lm.user_token_ids(0), *lm.user_token_ids(len(lm.users)), *range(min(8, lm.vocab_rows))]
    try:
        return lm(torch.tensor([ids], device=lm.device), use_cache=False).logits.cpu()
    finally:
        lm.train(training)


def _check_same(before: Tensor, after: Tensor) -> None:
    """Refuse a difference that rounding does not explain, as where a folded output layer is the embedding too."""
    rounding = 4 * torch.finfo(before.dtype).eps ** 0.5  # through all layers, generously
    difference, size = (before - after).float().square().mean().sqrt(), before.float().std()
    if not difference <= rounding * size:  # also where one is not a number
        raise UnsupportedModelError(
            f"with the LoRA folded in, the logits are others (by {float(difference / size):.2g} of their spread, where "
            f"rounding explains {rounding:.1g}): a layer that the LoRA changes is used twice, as a tied output layer "
            "is; train with model.tuning.target_modules=all-linear"
        )
