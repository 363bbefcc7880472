"""Small forward passes that tell whether a base model reads from left to right, heeds a mask and draws nothing."""

from __future__ import annotations

import inspect
import logging
from typing import Any

import torch
from torch import Tensor

from prlhf.errors import UnsupportedModelError

__all__ = ["check_causal", "check_still"]

logger = logging.getLogger(__name__)
_SAME, _CHANGED, _PADDING = 4, 2, 2


def check_causal(model: Any) -> None:
    """Raise UnsupportedModelError, with the reason, for a model that user tokens and batches would not work with.

    Three rows of six tokens: one, the same with other tokens at its end, and its beginning padded at the left as in
    generation. What comes later must not change what comes before, nor padding what comes after it. A model that cannot
    run where it was loaded, as those for a GPU only, is not checked, and a warning says so.
    """
    name = model.config.model_type
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            logits = model(**_inputs(model), use_cache=False).logits.float()
    except (TypeError, ValueError) as e:
        raise UnsupportedModelError(f"{name}: does not take token ids with an attention mask: {e}") from e
    except RuntimeError as e:
        logger.warning("%s: not checked for attention to later tokens and to padding: %s", name, e)
        return
    finally:
        model.train(training)
    whole, other, padded = logits[0, :_SAME], logits[1, :_SAME], logits[2, _PADDING:]
    if not bool(torch.isfinite(torch.stack([whole, other, padded])).all()):
        logger.warning("%s: not checked for attention to later tokens and to padding: logits are not finite", name)
        return
    rounding = _rounding(model)
    if _difference(whole, other) > rounding / 4:  # the same tokens in the same places
        raise UnsupportedModelError(
            f"{name} is not causal: later tokens change its predictions of earlier ones, so that it cannot write from "
            "left to right; prlhf personalises decoder-only language models"
        )
    if _difference(whole, padded) > 2 * rounding:
        raise UnsupportedModelError(
            f"{name} does not heed the attention mask: padding at the left changes its predictions, so that answers "
            "would depend on who shares their batch"
        )


def check_still(model: Any) -> None:
    """Raise UnsupportedModelError for a model that answers differently in training mode, as with dropout: h would not
    be 0 at the start. What cannot run here is passed over; `check_causal` says so.
    """
    training, inputs = model.training, _inputs(model)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            logits = model.eval()(**inputs, use_cache=False).logits.float()
            again = model.train()(**inputs, use_cache=False).logits.float()
    except RuntimeError:
        return
    finally:
        model.train(training)
    if _difference(logits, again) > 2 * _rounding(model):
        raise UnsupportedModelError(
            f"{model.config.model_type} answers differently in training mode (dropout, or noise in a router), so that "
            "training would not start from the reference; set these options to 0 in the config.json of the base"
        )


def _inputs(model: Any) -> dict[str, Tensor]:
    """The three rows; position ids where the model takes them, as `generate` of transformers gives them."""
    weight = model.get_input_embeddings().weight
    first = len(weight) // 2  # ordinary tokens, also as padding: the mask alone must hide it
    ids = first + torch.arange(_SAME + _CHANGED)
    rows = torch.stack([ids, ids, ids]).remainder(len(weight))
    rows[1, _SAME:] -= 3
    rows[2] = torch.cat([rows[1, _SAME:], ids[:_SAME]])
    mask = torch.ones_like(rows)
    mask[2, :_PADDING] = 0
    inputs = {"input_ids": rows, "attention_mask": mask}
    if "position_ids" in inspect.signature(model.forward).parameters:
        inputs["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)
    return {name: value.to(weight.device) for name, value in inputs.items()}


def _rounding(model: Any) -> float:
    """What rounding may change through all layers, generously: the mistakes looked for are larger."""
    eps = torch.finfo(model.dtype).eps
    if getattr(model, "is_quantized", False):  # their kernels compute in float16, whatever the rest does
        eps = max(eps, torch.finfo(torch.float16).eps)
    return float(eps**0.5)


def _difference(a: Tensor, b: Tensor) -> float:
    """How far apart two tables of logits are, beside how far apart the logits of one are."""
    spread = (a - a.mean(-1, keepdim=True)).square().mean().sqrt()
    return float((a - b).square().mean().sqrt() / spread.clamp(min=torch.finfo(torch.float32).tiny))
