"""Which requests share a batch, and which tokens at their beginning they have in common.

A batch is laid out in columns, `[pad][beginning][pad][rest]`: the beginnings are computed once for all rows that have
the same one, and each row goes on with its own rest. Without a common beginning that is padding at the left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

__all__ = ["LEAST_SAVED", "Batch", "plan"]

LEAST_SAVED = 64
"""Token passes that a batch must save by its common beginnings: computing them is a step of its own."""

Prompts = Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True)
class Batch:
    """Requests that are answered together."""

    rows: tuple[int, ...]
    shared: tuple[int, ...] = ()
    """How many tokens at the beginning of each row are computed for all rows that have the same; () = none."""

    def beginnings(self, prompts: Prompts) -> list[tuple[int, ...]]:
        """The different beginnings, in the order of their first rows."""
        return list(dict.fromkeys(tuple(prompts[i][:p]) for i, p in zip(self.rows, self.shared, strict=True)))

    def rests(self, prompts: Prompts) -> list[int]:
        """Tokens of each row after its beginning."""
        return [len(prompts[i]) - p for i, p in zip(self.rows, self.shared, strict=True)]


def plan(
    prompts: Prompts, new: Sequence[int], size: int, share: bool, context: int | None = None, window: int | None = None
) -> list[Batch]:
    """Batches of at most `size`: answers of like length together, and of those prompts of like length.

    Args:
        new: the longest answer to each prompt.
        share: look for common beginnings, and take them where they save token passes.
        context: positions of the model; a prompt that has not room for the answers of its batch stays alone.
        window: how far back some layers look, where they do not look back to the beginning.
    """
    rows = range(len(prompts))
    order = sorted(rows, key=lambda i: (new[i], len(prompts[i])))
    plain = [Batch(part) for part in _parts(order, prompts, new, size, context)]
    if not share or len(prompts) < 2:
        return plain
    shared = _beginnings(prompts)
    order = sorted(rows, key=lambda i: (new[i], shared[i], tuple(prompts[i][: shared[i]]), len(prompts[i])))
    columns = min((c for c in (context, window) if c is not None), default=None)
    parts = _parts(order, prompts, new, size, context)
    found = [_batch(Batch(part, tuple(shared[i] for i in part)), prompts, new, columns) for part in parts]
    return found if sum(_cost(b, prompts) for b in found) < sum(_cost(b, prompts) for b in plain) else plain


def _parts(
    order: Sequence[int], prompts: Prompts, new: Sequence[int], size: int, context: int | None
) -> list[tuple[int, ...]]:
    out = []
    for k in range(0, len(order), size):
        part = order[k : k + size]
        room = None if context is None else context - max(new[i] for i in part)
        tight = [i for i in part if room is not None and len(prompts[i]) > room]
        out += [tuple(i for i in part if i not in tight), *((i,) for i in tight)]
    return [part for part in out if part]


def _batch(batch: Batch, prompts: Prompts, new: Sequence[int], columns: int | None) -> Batch:
    """With its common beginnings, where they save enough and the padding between them and the rests does no harm."""
    plain, rests = Batch(batch.rows), batch.rests(prompts)
    length = max(batch.shared) + max(rests) + max(new[i] for i in batch.rows)
    harmless = columns is None or length <= columns or len(set(rests)) == 1  # a window counts padding too
    saved = _cost(plain, prompts) - _cost(batch, prompts)
    return batch if harmless and saved >= LEAST_SAVED else plain


def _cost(batch: Batch, prompts: Prompts) -> int:
    """Token passes over the prompts, padding included."""
    if not batch.shared:
        return len(batch.rows) * max(len(prompts[i]) for i in batch.rows)
    return len(batch.beginnings(prompts)) * max(batch.shared) + len(batch.rows) * max(batch.rests(prompts))


def _beginnings(prompts: Prompts) -> list[int]:
    """How many tokens at the beginning of each prompt make it one of a group; 0 = it is alone.

    In the order of their tokens, prompts with a common beginning are neighbours. They part wherever neighbours have
    fewer than `level` tokens in common; the level is the one that saves most. A token of each prompt stays outside,
    since an answer goes on from it.
    """
    order = sorted(range(len(prompts)), key=lambda i: tuple(prompts[i]))
    common = [_common(prompts[i], prompts[j]) for i, j in pairwise(order)]
    levels = sorted({c for c in common if c})
    best: list[tuple[int, int, int]] = []
    for level in levels[:: max(len(levels) // 32, 1)]:
        groups = _groups(common, level)
        if _saved(groups) > _saved(best):
            best = groups
    out = [0] * len(prompts)
    for start, end, length in best:
        for k in range(start, end):
            out[order[k]] = length
    return out


def _groups(common: Sequence[int], level: int) -> list[tuple[int, int, int]]:
    """Runs `[start, end)` of neighbours with at least `level` tokens in common, and how many all of a run have."""
    edges = [-1, *(k for k, c in enumerate(common) if c < level), len(common)]
    return [(a + 1, b + 1, min(common[a + 1 : b])) for a, b in pairwise(edges) if b - a > 1]


def _saved(groups: Sequence[tuple[int, int, int]]) -> int:
    return sum((end - start - 1) * length for start, end, length in groups)


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """Tokens at the beginning of both, less than either has."""
    most = min(len(a), len(b)) - 1
    return next((k for k, (x, y) in enumerate(zip(a[:most], b[:most], strict=True)) if x != y), max(most, 0))
