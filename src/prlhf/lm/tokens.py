"""Token ids of many comparisons: flat arrays in parts, on disk where they are many; `Encoded` as they are asked for.

A part is named by what is in it (its items and how they are tokenised), so a killed pass goes on where it stopped, and
no part can belong to other texts or to another template.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from prlhf.data.cache import aside, paced
from prlhf.data.items import AskedFor, Items
from prlhf.errors import DataError
from prlhf.lm.template import Encoded, Template
from prlhf.types import Feedback

__all__ = ["PART", "TokenIds", "tokenise"]

logger = logging.getLogger(__name__)
Progress = Callable[[Iterable[int], str], Iterable[int]]
PART = 32_768
"""Comparisons of a part: what a kill loses at most. What fits into one is held in memory."""

_PROMPT, _CHOSEN, _REJECTED, _REFERENCE, _CUT, _TRUNCATED, _RESPONSES_CUT, _REFERENCE_CUT = range(8)
_WIDTH = 8


class TokenIds(AskedFor[Encoded]):
    """The token ids of n comparisons or thumbs.

    Args:
        parts: int32 arrays: how many items m, `[m, 8]` counts of each (tokens of prompt, chosen, rejected and the
            reference's prompt, 0 = the same as the prompt; cut; whether truncated; responses that were cut;
            the reference's cut), and the token ids one after the other.
    """

    def __init__(self, parts: Sequence[np.ndarray]):
        self._flat = [part[1 + _WIDTH * part[0] :] for part in parts]
        self._counts = np.concatenate([part[1 : 1 + _WIDTH * part[0]].reshape(-1, _WIDTH) for part in parts])
        self._first = np.cumsum([0, *(int(part[0]) for part in parts)])
        ends = [
            np.cumsum(self._counts[a:b, : _REFERENCE + 1].sum(1, dtype=np.int64))
            for a, b in zip(self._first, self._first[1:], strict=False)
        ]
        self._ends = np.concatenate(ends)

    def __len__(self) -> int:
        return len(self._counts)

    def one(self, i: int) -> Encoded:
        """Those of item i."""
        part = int(np.searchsorted(self._first, i, side="right")) - 1
        counts = self._counts[i].tolist()
        sizes = counts[: _REFERENCE + 1]
        end = int(self._ends[i])
        ids = self._flat[part][end - sum(sizes) : end].tolist()
        pieces, at = [], 0
        for size in sizes:
            pieces.append(tuple(ids[at : at + size]))
            at += size
        prompt, chosen, rejected, reference = pieces
        cut, truncated, responses_cut, reference_cut = counts[_CUT:]
        return Encoded(
            prompt, cut, chosen, rejected, reference or prompt, bool(truncated), responses_cut, reference_cut
        )

    @property
    def lengths(self) -> np.ndarray:
        """`Encoded.length` of each `[n]`."""
        return self._counts[:, : _REJECTED + 1].sum(1, dtype=np.int64)

    @property
    def responses(self) -> np.ndarray:
        """Tokens of chosen and rejected `[n, 2]`."""
        return self._counts[:, _CHOSEN : _REJECTED + 1]

    def telling(self) -> list[Encoded]:
        """The first one and the longest: those by which `choose_layout` tells."""
        if not len(self):
            return []
        paths = self._counts[:, _PROMPT] + self.responses.max(1)
        return [self[i] for i in sorted({0, int(np.argmax(paths)), int(np.argmax(self.lengths))})]

    def warn_cuts(self, template: Template) -> None:
        """Log how many prompts and responses were cut, and by which limit."""
        prompts, responses = int(self._counts[:, _TRUNCATED].sum()), int(self._counts[:, _RESPONSES_CUT].sum())
        for words in cuts((prompts, len(self)), (responses, int((self.responses > 0).sum())), template):
            logger.warning("%s", words)


def cuts(prompts: tuple[int, int], responses: tuple[int, int], template: Template) -> list[str]:
    """What to say of texts that are cut: how many of how many, and by which limit."""
    m, context = template.config, template.context
    end = "" if context is None else f", context of the model {context}"
    told = (
        (*prompts, "prompts were cut at their left", f"max_prompt_tokens={m.max_prompt_tokens}"),
        (*responses, "responses were cut at their right", f"max_response_tokens={m.max_response_tokens}"),
    )
    return [f"{cut} of {of} {what}: {limit}{end}" for cut, of, what, limit in told if cut]


def tokenise(
    template: Template,
    items: Sequence[Feedback],
    *,
    cache: Path | None = None,
    progress: Progress = lambda parts, _: parts,
) -> TokenIds:
    """The token ids of `items`, of many of them part by part in a folder of the cache (None = in memory)."""
    starts = range(0, max(len(items), 1), PART)
    parts: list[np.ndarray] = []
    with paced("tokenising") as done:
        for start in progress(starts, "tokenising"):
            some = items[start : start + PART]
            kept = None if cache is None or len(items) <= PART else _place(cache, template, some)
            held = None if kept is None else _read(kept, len(some))
            if held is None:
                held = _part(template, some)
                done.append(len(some))
                if kept is not None:
                    _keep(kept, held)
                    mapped = _read(kept, len(some))
                    held = held if mapped is None else mapped
            parts.append(held)
    return TokenIds(parts)


def _place(cache: Path, template: Template, items: Sequence[Feedback]) -> Path | None:
    """Where the part of these items is kept; None where what they are is not known beside them."""
    if not isinstance(items, Items):
        return None
    return cache / f"tokens-{template.fingerprint}" / f"{items.facts.fingerprint}.npy"


def _part(template: Template, items: Iterable[Feedback]) -> np.ndarray:
    counts: list[int] = []
    flat: list[np.ndarray] = []
    for e in template.comparisons(items):
        other = () if e.reference_prompt == e.prompt else e.reference_prompt
        pieces = (e.prompt, e.chosen, e.rejected, other)
        counts += [*map(len, pieces), e.cut, e.truncated, e.responses_cut, e.reference_cut]
        flat.append(np.array([i for piece in pieces for i in piece], np.int32))
    return np.concatenate([np.array([len(flat), *counts], np.int32), *flat])


def _keep(path: Path, part: np.ndarray) -> None:
    """Write a part; where there is no room for it, it stays in memory."""
    try:
        with aside(path) as place, place.open("wb") as file:
            np.save(file, part)
    except DataError as e:
        logger.warning("token ids are held in memory: %s", e)


def _read(path: Path, count: int) -> np.ndarray | None:
    """A part of `count` items that is kept, mapped; None where it is not there or damaged."""
    try:
        found: np.ndarray = np.load(path, mmap_mode="r")
        counts = found[1 : 1 + _WIDTH * count].reshape(count, _WIDTH)[:, : _REFERENCE + 1]
        if found[0] != count or len(found) != 1 + _WIDTH * count + int(counts.sum(dtype=np.int64)):
            raise ValueError("other counts than it has token ids")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError, IndexError):
        logger.warning("%s is damaged and will be made again", path)
        return None
    return found
