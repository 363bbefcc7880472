"""Pairs to ask somebody about: any preference log without its labels, or responses of which all pairs are made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from prlhf.config.data import DataConfig
from prlhf.data.load import inherit, load_comparisons
from prlhf.data.readers import FORMATS, open_table
from prlhf.data.responses import read_responses
from prlhf.types import Comparison, Prompt

__all__ = ["MOST", "Pairs", "read_pairs"]

MOST = 100_000
"""Pairs that are made of single responses, at most."""


@dataclass(frozen=True)
class Pairs:
    """Pairs in the order of their rows, labels as they were read, and what there is to say of the reading."""

    pairs: tuple[Comparison, ...]
    source: str
    note: str = ""


def read_pairs(source: str | Path, like: DataConfig | None = None, *, most: int = MOST, seed: int = 0) -> Pairs:
    """Read a pool of questions.

    Args:
        like: how other data were read; names of columns are taken over where the source has them.
        source: what `load_comparisons` reads (comparisons, rankings, thumbs; of labels nothing is used), a file with
            the columns `prompt`, `a` and `b`, or one with `prompt` and `response` as `prlhf reward score` reads it.
            Single responses, and those of thumbs, are paired with all others to the same prompt.
        most: where single responses give more pairs, so many are drawn.

    Raises:
        DataError: what cannot be read (file, row, field, found, expected).
    """
    names = _columns(Path(source).expanduser())
    if "response" in names and not names & {"chosen", "responses", "completion"}:
        found = read_responses(source)
        return _made(str(source), (), zip(found.prompts, found.responses, strict=True), most, seed)
    columns = {"chosen": "a", "rejected": "b"} if {"a", "b"} <= names and "chosen" not in names else {}
    config = DataConfig(source=str(source), columns=columns)
    log = load_comparisons(config if like is None else inherit(config, like))
    return _made(str(source), log.comparisons, ((t.prompt, t.response) for t in log.thumbs), most, seed)


def _columns(path: Path) -> set[str]:
    """The names of a file's columns, by its first row where the format does not declare them."""
    if not path.is_file() or path.suffix.lower() not in FORMATS:
        return set()
    table = open_table(path)
    try:
        first: Any = next(table.rows, (0, {}))[1] if table.columns is None else {}
        return set(table.columns or (first if isinstance(first, dict) else ()))
    finally:
        table.close()


def _made(
    source: str, pairs: Iterable[Comparison], responses: Iterable[tuple[Prompt, str]], most: int, seed: int
) -> Pairs:
    """With all pairs of responses to one prompt, or as many as are wanted."""
    groups: dict[Prompt, dict[str, None]] = {}
    for prompt, text in responses:
        groups.setdefault(prompt, {})[text] = None
    texts = [(prompt, list(held)) for prompt, held in groups.items()]
    counts = np.array([len(held) * (len(held) - 1) // 2 for _, held in texts], np.int64)
    total = int(counts.sum())
    wanted = np.arange(total)
    if total > most:
        wanted = np.unique(np.random.default_rng(seed).integers(total, size=most))
    ends = np.cumsum(counts)
    found = list(pairs)
    for k, group in zip(wanted.tolist(), np.searchsorted(ends, wanted, side="right").tolist(), strict=True):
        prompt, held = texts[group]
        i, j = _places(k - int(ends[group] - counts[group]))
        found.append(Comparison(prompt, held[i], held[j], id=f"{prompt!r:.40}:{i + 1},{j + 1}"))
    note = ""
    if len(wanted):
        note = f"{sum(len(held) for _, held in texts):,} responses give {total:,} pairs"
        note += f", of which {len(wanted):,} were drawn" * (total > most)
    return Pairs(tuple(replace(c, user=None, user_text=None) for c in found), source, note)


def _places(k: int) -> tuple[int, int]:
    """The k-th of the pairs (0, 1), (0, 2), (1, 2), (0, 3), …"""
    j = int((1 + (1 + 8 * k) ** 0.5) / 2)
    j += (j * (j + 1) // 2 <= k) - (j * (j - 1) // 2 > k)  # what rounding may do to large numbers
    return k - j * (j - 1) // 2, j
