"""Do marks of serialisation tell chosen from rejected? A classifier on nothing else, out of sample.

A mark is what a pipeline leaves on a text and nobody writes as an answer: the quotes and brackets of a stringified list
(as in LoRe's published code, where only rejected responses were one), tokens of a chat template, stray white space, cut
ends. Length and formatting are none of them: they can be preferences, and `surface` measures how far votes follow them.

An end that is cut is ambiguous, since whoever likes long answers chooses those that ran into a limit. But choosing
between two responses that are made alike moves a mark that a share q of them have by 2q(1 - q) at most, from the one
side to the other. Only cut ends that differ by more than that count here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from prlhf.data.checks.check import Check
from prlhf.data.log import decided
from prlhf.data.surface import fold_of, held_out_margins, hits
from prlhf.types import Comparison

__all__ = ["MARKS", "check_artefacts", "marks"]

NAME = "marks of serialisation"
_MARGIN = 0.02  # accuracy above one half that is let pass
_ERRORS = 3  # standard errors that a finding is away from chance
_TEXTS = 20  # different responses that a mark has to be on
_PAIRS = 20
_QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’", "«": "»", "`": "`"}
_BRACKETS = {"(": ")", "[": "]", "{": "}"}
_LITERAL = re.compile(r"\A\s*(?:\[\s*['\"]|\{\s*['\"]\w+['\"]\s*:)")
_TOKEN = re.compile(
    r"<[|｜][^|｜<>\s]{1,40}[|｜]>|</?s>|\[/?INST\]|<</?SYS>>|<(?:bos|eos|pad|unk|(?:start|end)_of_turn)>"
    r"|\[(?:PAD|CLS|SEP|UNK|MASK|BOS|EOS)\]"
)
_SPEAKER = re.compile(
    r"\A\W*(?:human|user|assistant|system|bot|response|answer|output|completion)\W{0,3}:", re.IGNORECASE
)
_CUT = re.compile(r"(?:\.{3,}|…|[\[(<](?:truncated|cut|snip|more|\.\.\.|…)[\])>])\s*\Z", re.IGNORECASE)
_FORMATTED = re.compile(r"\s*(?:[-*•#|>`]|\d+[.)]|\s{4})")


def _enclosed(text: str, kinds: dict[str, str]) -> bool:
    """Whether one pair of `kinds` is around the whole text and none of its kind inside."""
    text = text.strip()
    if len(text) < 3 or kinds.get(text[0]) != text[-1]:
        return False
    inside = re.sub(r"\\.", "", text[1:-1])
    return text[0] not in inside and text[-1] not in inside


def _unfinished(text: str) -> bool:
    """Whether a text that ends its sentences breaks off in the last one; lists, headings and code need no full stop."""
    text = text.rstrip()
    last = text.rsplit("\n", 1)[-1]
    if not text or _FORMATTED.match(last) or not re.search(r"[.!?][\"')\]]*\s", text):
        return False
    return text[-1].isalnum() or text[-1] in ",;([{-–—"


MARKS = {
    "list or record literal": lambda text: bool(_LITERAL.match(text)),
    "template token": lambda text: bool(_TOKEN.search(text)),
    "name of a speaker at the start": lambda text: bool(_SPEAKER.match(text)),
    "quotes around the whole": lambda text: _enclosed(text, _QUOTES),
    "brackets around the whole": lambda text: _enclosed(text, _BRACKETS),
    "white space at the start": lambda text: text[:1].isspace(),
    "white space at the end": lambda text: text[-1:].isspace(),
    "mark of truncation": lambda text: bool(_CUT.search(text)),
    "unfinished end": _unfinished,
}
"""Every mark, from the most to the least certain."""

_ENDS = ("mark of truncation", "unfinished end")


def marks(text: str) -> tuple[bool, ...]:
    """Which of `MARKS` a text has, in their order."""
    return tuple(has(text) for has in MARKS.values())


def check_artefacts(comparisons: Sequence[Comparison], seed: int = 0) -> Check:
    """Accuracy of a logistic regression on `MARKS` alone: five folds, all votes on one pair in the same one.

    A finding is an accuracy that is, less three standard errors, more than two points above one half; votes on one pair
    count as one for the error. Marks on fewer than 20 different responses are left out.
    """
    votes = [c for c in comparisons if decided(c)]
    keys, pairs = np.unique([c.pair_key for c in votes], return_inverse=True)
    folds = np.array([fold_of(key, seed) for key in keys], dtype=np.int64)
    if len(keys) < _PAIRS or len(set(folds.tolist())) < 5:
        return Check.missing(NAME, f"{len(keys):,} pairs with a winner are too few to learn from; it takes {_PAIRS}")
    found = {text: marks(text) for c in votes for text in (c.chosen, c.rejected)}
    chosen = np.array([found[c.chosen] for c in votes], dtype=np.float64)
    rejected = np.array([found[c.rejected] for c in votes], dtype=np.float64)
    common = np.array(list(found.values())).sum(0) >= _TEXTS
    counted = common & _beyond_choice(chosen, rejected, pairs)
    x = (chosen - rejected)[:, counted]
    margins = held_out_margins(x, folds[pairs]) if counted.any() else np.zeros(len(votes))
    accuracy = float(hits(margins))
    low = accuracy - _ERRORS * _error(margins, pairs)
    shares = {
        name: {"chosen": float(c), "rejected": float(r), "counted": bool(used)}
        for name, c, r, used in zip(MARKS, chosen.mean(0), rejected.mean(0), counted, strict=True)
    }
    numbers: dict[str, Any] = {"accuracy": accuracy, "low": low, "votes": len(votes), "pairs": len(keys)}
    leak = low > 0.5 + _MARGIN
    if leak:
        named, example = _most_telling(votes, chosen - rejected, counted)
        numbers |= {"most_telling": named, "example": example}
    return Check.of(NAME, leak, _sentence(numbers, shares), {**numbers, "marks": shares})


def _sentence(numbers: dict[str, Any], shares: dict[str, dict[str, Any]]) -> str:
    text = f"Marks alone tell chosen from rejected in {numbers['accuracy']:.1%} of {numbers['votes']:,} held-out votes"
    if "most_telling" not in numbers:
        return f"{text} (chance 50 %)."
    named, example = numbers["most_telling"], numbers["example"]
    return (
        f"{text} (chance 50 %, at least {numbers['low']:.1%}). Most telling: {named}, on {shares[named]['chosen']:.1%} "
        f"of the chosen and {shares[named]['rejected']:.1%} of the rejected, as in row {example['row'] or '?'}, "
        f"{example['side']}: {example['text']}. No preference: take it off both sides before training."
    )


def _error(margins: np.ndarray, pairs: np.ndarray) -> float:
    """Standard error of the accuracy if the margins knew nothing, with whole pairs as the sample."""
    return math.sqrt(float((np.bincount(pairs, np.sign(margins) / 2) ** 2).sum())) / len(margins)


def _beyond_choice(chosen: np.ndarray, rejected: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """`[f]`: True for certain marks, and for ends that no choice between like responses could part so far."""
    difference = chosen - rejected
    apart, share = np.abs(difference.mean(0)), (chosen + rejected).mean(0) / 2
    rest = difference - difference.mean(0)
    sums = np.stack([np.bincount(pairs, column) for column in rest.T], axis=1)
    error = np.sqrt((sums**2).sum(0)) / len(pairs)
    certain = np.array([name not in _ENDS for name in MARKS])
    return certain | (apart - _ERRORS * error > 2 * share * (1 - share))


def _most_telling(votes: Sequence[Comparison], x: np.ndarray, counted: np.ndarray) -> tuple[str, dict[str, str]]:
    """The mark that decides most votes, and a vote that shows it."""
    lean = x.sum(0) * counted
    k = int(np.argmax(np.abs(lean)))
    side = "chosen" if lean[k] > 0 else "rejected"
    c = votes[int(np.flatnonzero(x[:, k] == np.sign(lean[k]))[0])]
    return list(MARKS)[k], {"row": c.id, "side": side, "text": _excerpt(getattr(c, side))}


def _excerpt(text: str) -> str:
    """Both ends of a text, with white space to be seen."""
    return repr(text if len(text) <= 80 else f"{text[:40]} […] {text[-30:]}")
