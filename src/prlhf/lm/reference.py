"""Reference log-probabilities: once per comparison, ever, cached on disk by content.

The reference is the model that training starts from, without user tokens and without the new LoRA. The cache is keyed
by the base model's fingerprint, the layout, the type of autocast where it is on, and the token ids, so it holds across
runs, and it grows in a fixed order: a killed pass goes on with the same batches, and gives the same bits.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from torch import nn

from prlhf.errors import CheckpointError
from prlhf.lm.layout import extent, slices
from prlhf.lm.loading import load_base, same_base
from prlhf.lm.logprobs import Layout, pair_logprobs, tokens_at_once
from prlhf.lm.placement import is_placed
from prlhf.lm.template import Encoded

if TYPE_CHECKING:
    from prlhf.lm.personalized import PersonalizedLM

__all__ = ["REFERENCE_BATCH", "ReferenceCache", "as_reference", "default_cache", "reference_logprobs"]

logger = logging.getLogger(__name__)
Progress = Callable[[Iterable[int], str], Iterable[int]]
REFERENCE_BATCH = 32
"""Comparisons that the reference looks at at a time: fewer where they are long."""


def default_cache() -> Path:
    """`$PRLHF_CACHE`, else `$XDG_CACHE_HOME/prlhf`, else `~/.cache/prlhf`."""
    own = os.environ.get("PRLHF_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "prlhf"


class ReferenceCache:
    """Summed log-probabilities of (chosen, rejected) by content hash; one safetensors file a base model."""

    def __init__(self, folder: Path, fingerprint: str):
        self.path = folder / f"reference-{fingerprint}.safetensors"
        self.values = self._read()

    def _read(self) -> dict[bytes, tuple[float, float]]:
        if not self.path.exists():
            return {}
        try:
            held = load_file(str(self.path))
            keys, values = held["keys"], held["values"].tolist()
            return {key.tobytes(): (c, r) for key, (c, r) in zip(keys, values, strict=True)}
        except (SafetensorError, KeyError, ValueError, TypeError):
            logger.warning("%s is damaged and will be made again", self.path)
            return {}

    def write(self) -> None:
        """Write everything aside, then rename. What another run has added meanwhile is kept, and what is not finite
        left out: a base or a comparison that gives such numbers wants looking at, not remembering."""
        finite = {key: pair for key, pair in self.values.items() if np.isfinite(pair).all()}
        held = self._read() | finite
        if not held:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        aside = self.path.with_suffix(f".{os.getpid()}.writing")
        keys = np.frombuffer(b"".join(held), dtype=np.uint8).reshape(-1, 16)
        save_file({"keys": keys, "values": np.array(list(held.values()), np.float64)}, str(aside))
        os.replace(aside, self.path)


def _key(c: Encoded) -> bytes:
    h = hashlib.sha256()
    for part in (c.prompt, c.chosen, c.rejected):
        h.update(len(part).to_bytes(4, "little") + np.asarray(part, np.int64).tobytes())
    return h.digest()[:16]


def reference_logprobs(
    lm: PersonalizedLM,
    comparisons: Sequence[Encoded],
    *,
    layout: Layout = "plain",
    batch_size: int = REFERENCE_BATCH,
    cache: Path | None = None,
    flush_every: int = 50,
    progress: Progress = lambda batches, _: batches,
) -> np.ndarray:
    """Summed log-probabilities `[n, 2]` (chosen, rejected) under the reference.

    Args:
        lm: the model at any moment of its training (its LoRA is off here). After full fine-tuning the base model is
            loaded once more for what is not in the cache.
        cache: folder of the cache; None = keep nothing.
        flush_every: batches after which the cache is written: what a kill loses.

    Raises:
        CheckpointError: after full fine-tuning, where the base model is not what it was.
    """
    plain = [replace(c, prompt=c.reference_prompt, cut=len(c.reference_prompt)) for c in comparisons]
    keys = [_key(c) for c in plain]
    store = ReferenceCache(cache, f"{lm.base_fingerprint}-{layout}{_autocast(lm)}") if cache is not None else None
    values = store.values if store is not None else {}
    missing = {k: c for k, c in zip(keys, plain, strict=True) if k not in values}
    todo = sorted(missing.items(), key=lambda item: (item[1].length, item[0]))
    batches = slices([extent(c, 1, 0, layout) for _, c in todo], batch_size, tokens_at_once(lm.device))
    with as_reference(lm):
        for i in progress(range(len(batches)), "reference"):
            part = todo[batches[i]]
            logps = pair_logprobs(lm, [c for _, c in part], [[-1]] * len(part), layout)
            pairs = torch.stack([logps.chosen[:, 0], logps.rejected[:, 0]], 1).double().cpu().tolist()
            values.update((key, (c, r)) for (key, _), (c, r) in zip(part, pairs, strict=True))
            if store is not None and ((i + 1) % flush_every == 0 or i + 1 == len(batches)):
                store.write()
    return np.array([values[k] for k in keys], np.float64).reshape(-1, 2)


def _autocast(lm: PersonalizedLM) -> str:
    """What the cache of a pass under autocast is called by: its log-probabilities are others."""
    kind = lm.device.type
    if not torch.is_autocast_enabled(kind):
        return ""
    return "-" + str(torch.get_autocast_dtype(kind)).removeprefix("torch.")


@contextmanager
def as_reference(lm: PersonalizedLM) -> Iterator[None]:
    """`lm` is the reference for a while: LoRA off, no dropout, no gradients; or the base, loaded again."""
    training, own = lm.training, lm.model
    lm.eval()
    if lm.config.tuning.type == "full" and not same_base(own, lm.base_fingerprint):
        lm.model = _base_again(lm)
    try:
        with lm.adapter_off(), torch.no_grad():
            yield
    finally:
        lm.model = own
        lm.train(training)


def _base_again(lm: PersonalizedLM) -> nn.Module:
    base = load_base(lm.config)
    if not same_base(base, lm.base_fingerprint):
        raise CheckpointError(
            f"the reference is needed, and {lm.config.base!r} is no longer the model that training started from (its "
            "weights, dtype or config changed); point model.base to the right one"
        )
    return (base if is_placed(base) else base.to(lm.device)).eval()
