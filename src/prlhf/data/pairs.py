"""Pairs to ask somebody about: any preference log without its labels, or responses of which all pairs are made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from prlhf.config.data import DataConfig
from prlhf.data.columns import COLUMNS, as_option, likely, listed
from prlhf.data.load import inherit, load_comparisons
from prlhf.data.readers import FORMATS, open_table
from prlhf.data.responses import read_responses
from prlhf.errors import DataError
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


def read_pairs(
    source: DataConfig | str | Path, like: DataConfig | None = None, *, most: int = MOST, seed: int = 0
) -> Pairs:
    """Read a pool of questions.

    Args:
        like: how other data were read; names of columns are taken over where the source has them.
        source: where, or how to read it: what `load_comparisons` reads (comparisons, rankings, thumbs; of labels
            nothing is used), a file with the columns `prompt`, `a` and `b`, or one with `prompt` and `response`
            (`completion` in the option `columns`), as `prlhf reward score` reads it. Single responses, and those of
            thumbs, are paired with all others to the same prompt.
        most: where single responses give more pairs, so many are drawn.

    Raises:
        DataError: what cannot be read (file, row, field, found, expected).
    """
    config = source if isinstance(source, DataConfig) else DataConfig(source=str(source))
    config = config if like is None else inherit(config, like)
    path, columns = Path(config.source).expanduser(), config.columns
    names = open_table(path).names() if path.is_file() and path.suffix.lower() in FORMATS else set()
    have = {ours for ours in COLUMNS if columns.get(ours, ours) in names}
    made: Iterable[Comparison] = ()
    if have & {"chosen", "rejected", "responses", "label"} or not names:
        log = load_comparisons(config)
        made, single = log.comparisons, [(t.prompt, t.response) for t in log.thumbs]
    elif {"a", "b"} <= names:
        log = load_comparisons(config.model_copy(update={"columns": {**columns, "chosen": "a", "rejected": "b"}}))
        made, single = log.comparisons, []
    elif columns.get("completion", "response") in names:
        found = read_responses(path, columns)
        single = list(zip(found.prompts, found.responses, strict=True))
    else:
        raise DataError(f"{config.source}: {_no_pool(names)}")
    return _made(config.source, made, single, most, seed)


def _no_pool(names: set[str]) -> str:
    """Which form of a pool a file with these columns is nearest to, and what is missing there."""
    found = f"found the columns {listed(sorted(names))}"
    if one := sorted(names & {"a", "b"}):
        other = "b" if one == ["a"] else "a"
        return f"{found}; {one[0]} is one response of a pair, expected the other one in a column {other}"
    if answer := likely("completion", names):
        ours = {"completion": answer} | ({} if "prompt" in names else {"prompt": likely("prompt", names)})
        options = " ".join(as_option(*both) for both in ours.items())
        return f"{found}, expected single responses in a column response, with prompt beside it: say {options}"
    return (
        f"{found}; expected pairs (prompt, a, b), single responses (prompt, response) or votes (prompt, chosen, "
        "rejected); columns of other names are given with --set data.columns.chosen=… (or completion=… for response)"
    )


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
