"""How comparisons become rows of a forward pass: packed (shared prompts) or plain (one row a response).

A comparison is a small tree: the prompt up to its cut is the trunk; each branch (a row of the user table) continues it
with user tokens and the rest of the prompt; both responses hang on every branch:

    [trunk] ─┬─ [user tokens of row 1][rest] ─┬─ [chosen]
             │                                └─ [rejected]
             └─ [user tokens of row 2][rest] ─┬─ [chosen]
                                              └─ [rejected]

A thumb has one response, and its tree no second leaf.

`packed` writes the whole tree into one row, with a 4-D mask that lets a token see its own path and position ids that
count along the path. `plain` writes every path as a row of its own, with an ordinary padding mask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from prlhf.lm.paths import Paths, paths_of
from prlhf.lm.template import Encoded

__all__ = ["Layout", "Rows", "extent", "packed_rows", "plain_rows", "shares_prompt", "slices"]

Layout = Literal["packed", "plain"]
UserIds = Callable[[int], tuple[int, ...]]


@dataclass(frozen=True)
class Rows:
    """Input of one forward pass and where its response tokens are.

    `input_ids` `[r, s]`; `attention_mask` `[r, s]` or `[r, 1, s, s]`; `position_ids` `[r, s]`;
    and, for each of m response tokens: `row` and `source` (the position that predicts it), its id `target`, and
    `slot` = (comparison * k + branch) * 2 + (0 chosen, 1 rejected).
    `ends` `[n, 4]`: of each of n responses its row, the position of its last token, its slot, and whose row of the user
    table it was read by (-1 = nobody's).
    """

    input_ids: Tensor
    attention_mask: Tensor
    position_ids: Tensor
    row: Tensor
    source: Tensor
    target: Tensor
    slot: Tensor
    ends: Tensor
    slots: int
    paths: tuple[Paths, ...] | None = None
    """Of each packed row, for an attention that goes along them."""

    def to(self, device: torch.device) -> Rows:
        """The same rows on another device."""
        moved = {k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)}
        return replace(self, **moved)  # type: ignore[arg-type]


class _Targets:
    """Collects, response by response, which position predicts which token, and where it ends."""

    def __init__(self) -> None:
        self.row: list[np.ndarray] = []
        self.source: list[np.ndarray] = []
        self.target: list[Sequence[int]] = []
        self.slot: list[np.ndarray] = []
        self.ends: list[tuple[int, int, int, int]] = []

    def add(self, row: int, before: int, start: int, response: Sequence[int], slot: int, user: int) -> None:
        n = len(response)
        source = np.arange(start - 1, start - 1 + n)
        source[:1] = before
        self.row.append(np.full(n, row))
        self.source.append(source)
        self.target.append(response)
        self.slot.append(np.full(n, slot))
        self.ends.append((row, start + n - 1, slot, user))

    def tensors(self) -> dict[str, Any]:
        def join(parts: Sequence[Sequence[int] | np.ndarray]) -> Tensor:
            return torch.from_numpy(np.concatenate([np.asarray(p, dtype=np.int64) for p in parts]))

        found = {k: join(getattr(self, k)) for k in ("row", "source", "target", "slot")}
        return found | {"ends": torch.tensor(self.ends, dtype=torch.long)}


def _pad(rows: Sequence[Sequence[int] | np.ndarray], fill: int) -> Tensor:
    out = np.full((len(rows), max(map(len, rows))), fill, dtype=np.int64)
    for i, r in enumerate(rows):
        out[i, : len(r)] = r
    return torch.from_numpy(out)


def packed_rows(batch: Sequence[Encoded], branches: Sequence[Sequence[int]], user_ids: UserIds, pad: int) -> Rows:
    """One row a comparison. `branches[i]` are the table rows of comparison i (-1 = no user tokens).

    A token sees what is not later on its own path: the trunk, its branch, its response.
    """
    targets, ids, paths = _Targets(), [], []
    k = len(branches[0])
    for i, (c, rows) in enumerate(zip(batch, branches, strict=True)):
        tokens: list[int] = list(c.prompt[: c.cut])
        heads = [(user_ids(row) if row >= 0 else ()) + c.prompt[c.cut :] for row in rows]
        for j, head in enumerate(heads):
            before = len(tokens) + len(head) - 1 if head else c.cut - 1
            tokens.extend(head)
            for s, response in enumerate(c.responses):
                targets.add(i, before, len(tokens), response, (i * k + j) * 2 + s, rows[j])
                tokens.extend(response)
        ids.append(tokens)
        paths.append(paths_of(c.cut, [len(head) for head in heads], len(c.chosen), len(c.rejected)))
    longest = max(map(len, ids))
    mask = torch.stack([path.mask(longest) for path in paths])[:, None]
    found = targets.tensors() | {"paths": tuple(paths)}
    return Rows(_pad(ids, pad), mask, _pad([path.positions for path in paths], 0), **found, slots=len(batch) * k * 2)


def plain_rows(batch: Sequence[Encoded], branches: Sequence[Sequence[int]], user_ids: UserIds, pad: int) -> Rows:
    """One row a response and branch, padded at the right: works with every architecture."""
    targets = _Targets()
    ids: list[tuple[int, ...]] = []
    k = len(branches[0])
    for i, (c, rows) in enumerate(zip(batch, branches, strict=True)):
        for j, table_row in enumerate(rows):
            head = c.prompt[: c.cut] + (user_ids(table_row) if table_row >= 0 else ()) + c.prompt[c.cut :]
            for s, response in enumerate(c.responses):
                targets.add(len(ids), len(head) - 1, len(head), response, (i * k + j) * 2 + s, table_row)
                ids.append(head + response)
    mask = _pad([np.ones(len(r), np.int64) for r in ids], 0)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    return Rows(_pad(ids, pad), mask, positions, **targets.tensors(), slots=len(batch) * k * 2)


def shares_prompt(batch: Sequence[Encoded]) -> bool:
    """Whether most of the prompts stand before the user tokens, so that branches can share them."""
    return sum(c.cut for c in batch) * 2 > sum(len(c.prompt) for c in batch)


def extent(c: Encoded, branches: int, user_tokens: int, layout: Layout) -> tuple[int, int]:
    """How many rows a comparison or thumb makes in a forward pass, and how many tokens the longest of them has."""
    branches = branches if user_tokens else 1
    if layout == "plain":
        return branches * len(c.responses), c.path + user_tokens
    if shares_prompt([c]):
        return 1, c.cut + branches * (user_tokens + c.length - c.cut)
    return branches, c.length + user_tokens


def slices(extents: Iterable[tuple[int, int]], most: int, tokens: int) -> list[slice]:
    """Cut a sequence sorted by length into batches of at most `most`, which with padding have at most `tokens` tokens.

    An item that has more is a batch of its own.
    """
    made, start, end, rows, longest = [], 0, 0, 0, 0
    for i, (more, length) in enumerate(extents):
        end = i + 1
        rows, longest = rows + more, max(longest, length)
        if i > start and (i - start == most or rows * longest > tokens):
            made.append(slice(start, i))
            start, rows, longest = i, more, length
    return [*made, slice(start, end)] if end else []
