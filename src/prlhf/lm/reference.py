"""Reference log-probabilities: once per comparison, ever, cached on disk by content.

The reference is the model that training starts from, without user tokens and without the new LoRA. The cache is keyed
by that model's fingerprint (an adapter is part of it), the layout, the type of autocast where it is on, and the token
ids (tokenizer, template and row are in them), so it holds across runs, orders and growing data. It grows in a fixed
order: a killed pass goes on with the same batches, and gives the same bits.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from torch import nn

from prlhf.data.cache import aside, paced
from prlhf.errors import CheckpointError, DataError
from prlhf.lm.layout import extent, slices
from prlhf.lm.loading import load_base, same_base
from prlhf.lm.logprobs import Layout, pair_logprobs, tokens_at_once
from prlhf.lm.placement import is_placed
from prlhf.lm.template import Encoded

if TYPE_CHECKING:
    from prlhf.lm.personalized import PersonalizedLM

__all__ = ["REFERENCE_BATCH", "ReferenceCache", "as_reference", "reference_logprobs"]

logger = logging.getLogger(__name__)
Progress = Callable[[Iterable[int], str], Iterable[int]]
KEY = np.dtype("S16")  # compared as bytes; of all the same width, so that ends of zeros do not matter
_FILES = 8
REFERENCE_BATCH = 32
"""Comparisons that the reference looks at at a time: fewer where they are long."""


class ReferenceCache:
    """Summed log-probabilities of (chosen, rejected) by content hash: a folder of safetensors files for a base model.

    What is added is a file of its own, so that adding costs what is added, and two runs that add at once keep each
    other's; `merge` makes one of many.

    Attributes:
        keys: `[n]` of 16 bytes, sorted.
        values: `[n, 2]`.
    """

    def __init__(self, folder: Path, fingerprint: str):
        self.path = folder / f"reference-{fingerprint}"
        self._full = False
        """Whether it could not be written."""
        self.keys, self.values, self._files = self._read()

    def _read(self) -> tuple[np.ndarray, np.ndarray, list[Path]]:
        """Everything that is there now; read again where another run has merged files meanwhile."""
        while True:
            files = sorted(self.path.glob("*.safetensors"))
            try:
                held = [pair for file in files if (pair := _load(file)) is not None]
            except FileNotFoundError:
                continue
            keys = np.concatenate([np.zeros(0, KEY), *(keys for keys, _ in held)])
            values = np.concatenate([np.zeros((0, 2)), *(values for _, values in held)])
            keys, first = np.unique(keys, return_index=True)
            return keys, values[first], files

    def __len__(self) -> int:
        return len(self.keys)

    def find(self, keys: np.ndarray) -> np.ndarray:
        """`[n, 2]`, not a number where it is not known."""
        found = np.full((len(keys), 2), np.nan)
        if len(self):
            place = np.minimum(np.searchsorted(self.keys, keys), len(self) - 1)
            known = self.keys[place] == keys
            found[known] = self.values[place[known]]
        return found

    def add(self, keys: np.ndarray, values: np.ndarray) -> None:
        """Write these. What is not finite is left out: a base or a comparison that gives such numbers wants looking at,
        not remembering."""
        finite = np.isfinite(values).all(1)
        if finite.any() and not self._full:
            self._files += self._write(keys[finite], values[finite])

    def merge(self) -> None:
        """One file of those that are known here, where they are many; files of other runs that came since stay."""
        files = self._files
        if len(files) <= _FILES or self._full:
            return
        try:
            held = [pair for file in files if (pair := _load(file)) is not None]
        except FileNotFoundError:  # another run merges them
            return
        keys, first = np.unique(np.concatenate([keys for keys, _ in held]), return_index=True)
        whole = self._write(keys, np.concatenate([values for _, values in held])[first])
        for file in files if whole else []:
            if file not in whole:
                file.unlink(missing_ok=True)
        self._files = whole or files

    def _write(self, keys: np.ndarray, values: np.ndarray) -> list[Path]:
        """A file named by its content; none where it cannot be written, since the numbers are in memory too."""
        held: dict[str, np.ndarray] = {"keys": keys.view(np.uint8).reshape(-1, 16), "values": values.astype(np.float64)}
        name = hashlib.sha256(held["keys"].tobytes() + held["values"].tobytes()).hexdigest()[:24]
        path = self.path / f"{name}.safetensors"
        try:
            with aside(path) as place:
                _save(held, place)
        except DataError as e:
            self._full = True
            logger.warning("reference log-probabilities are not kept: %s", e)
            return []
        return [path]


def _save(held: dict[str, np.ndarray], place: Path) -> None:
    try:
        save_file(held, str(place))
    except SafetensorError as e:  # what it says of a full disk
        raise OSError(str(e)) from e


def _load(file: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """Keys and values of a file; None where it is damaged, and then it is removed.

    Raises:
        FileNotFoundError: another run has merged it into another one.
    """
    try:
        held = load_file(str(file))
        keys, values = np.ascontiguousarray(held["keys"]).view(KEY).reshape(-1), held["values"]
        if values.shape != (len(keys), 2):
            raise ValueError(f"{values.shape} values")
        return keys, values
    except (SafetensorError, KeyError, ValueError, TypeError):
        logger.warning("%s is damaged and will be made again", file)
        file.unlink(missing_ok=True)
        return None


def _key(c: Encoded) -> bytes:
    h = hashlib.sha256()
    for part in (c.reference_prompt, c.chosen, c.rejected):
        h.update(len(part).to_bytes(4, "little") + np.asarray(part, np.int64).tobytes())
    return h.digest()[:16]


@dataclass(frozen=True)
class _Work:
    """Of n comparisons as the reference sees them: `keys` `[n]`, `lengths` `[n]`, `extents` `[n, 2]`."""

    keys: np.ndarray
    lengths: np.ndarray
    extents: np.ndarray

    @classmethod
    def of(cls, comparisons: Sequence[Encoded], layout: Layout) -> _Work:
        n = len(comparisons)
        keys, lengths, extents = np.zeros(n, KEY), np.zeros(n, np.int32), np.zeros((n, 2), np.int32)
        for i in range(n):
            c = comparisons[i]
            plain = _plain(c)
            keys[i], lengths[i], extents[i] = _key(c), plain.length, extent(plain, 1, 0, layout)
        return cls(keys, lengths, extents)

    def missing(self, values: np.ndarray) -> np.ndarray:
        """One of each that has no value yet, in the order in which they are computed: by length, then by key."""
        unknown = np.flatnonzero(np.isnan(values[:, 0]))
        _, first = np.unique(self.keys[unknown], return_index=True)
        once = unknown[first]  # in the order of their keys
        return once[np.argsort(self.lengths[once], kind="stable")]


def _each(numbers: np.ndarray) -> Iterator[int]:
    """One after the other, without a list of all."""
    return map(int, numbers)


def _plain(c: Encoded) -> Encoded:
    """What the reference sees."""
    return replace(c, prompt=c.reference_prompt, cut=len(c.reference_prompt))


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
    work = _Work.of(comparisons, layout)
    store = ReferenceCache(cache, f"{lm.base_fingerprint}-{layout}{_autocast(lm)}") if cache is not None else None
    known = np.full((len(work.keys), 2), np.nan) if store is None else store.find(work.keys)
    todo = work.missing(known)
    batches = slices(zip(*map(_each, work.extents[todo].T), strict=True), batch_size, tokens_at_once(lm.device))
    values, written = np.zeros((len(todo), 2)), 0
    with as_reference(lm), paced("reference log-probabilities") as done:
        for i in progress(range(len(batches)), "reference"):
            part = [_plain(comparisons[j]) for j in todo[batches[i]].tolist()]
            logps = pair_logprobs(lm, part, [[-1]] * len(part), layout)
            values[batches[i]] = torch.stack([logps.chosen[:, 0], logps.rejected[:, 0]], 1).double().cpu().numpy()
            done.append(len(part))
            if store is not None and ((i + 1) % flush_every == 0 or i + 1 == len(batches)):
                store.add(work.keys[todo[written : batches[i].stop]], values[written : batches[i].stop])
                written = batches[i].stop
    if store is not None:
        store.merge()
    if len(todo):
        order = np.argsort(work.keys[todo])
        unknown = np.isnan(known[:, 0])
        known[unknown] = values[order[np.searchsorted(work.keys[todo][order], work.keys[unknown])]]
    return known


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
