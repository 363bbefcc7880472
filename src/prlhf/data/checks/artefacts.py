"""Do marks of serialisation tell chosen from rejected, or up from down? A classifier on nothing else, out of sample.

A mark is what a pipeline leaves on a text and nobody writes as an answer: the quotes and brackets of a stringified list
(as in LoRe's published code, where only rejected responses were one), tokens of a chat template, stray white space,
escapes, cut ends. Length and formatting are none of them: they can be preferences, and `surface` measures how far votes
follow them. What code, tables and lists are written with is no mark in them.

A mark that long texts have more often is ambiguous: whoever likes long answers chooses those that ran into a limit, or
in which an entity was left somewhere. But choosing between two responses that are made alike moves a mark that a share
q of them have by 2q(1 - q) at most, from the one side to the other. Only such marks that differ by more than that count
here. A thumb is given to one response: who likes all long ones likes all that ran into a limit, and there is no such
bound. These marks count nothing in thumbs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from prlhf.data.checks.check import Check
from prlhf.data.items import parted
from prlhf.data.log import decided
from prlhf.data.surface import fold_of, held_out_margins, hits
from prlhf.data.thumb_pairs import pairs_within
from prlhf.types import Comparison, Feedback, Thumb

__all__ = ["MARKS", "check_artefacts", "marks"]

NAME = "marks of serialisation"
_MARGIN = 0.02  # accuracy above one half that is let pass
_ERRORS = 3  # standard errors that a finding is away from chance
_TEXTS = 20  # different responses that a mark has to be on
_PAIRS = 20
_QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’", "«": "»", "`": "`"}
_BRACKETS = {"(": ")", "[": "]", "{": "}"}
_CLOSING = {end: start for start, end in _BRACKETS.items()}
_LITERAL = re.compile(r"\A\s*(?:\[\s*['\"]|\{\s*['\"]\w+['\"]\s*:|b(?P<quote>['\"]).*(?P=quote)\s*\Z)", re.DOTALL)
_WHO = "human|user|assistant|system|bot|response|answer|output|completion"
_TOKEN = re.compile(
    r"<[|｜][^|｜<>\s]{1,40}[|｜]>|</?s>|<</?SYS>>|<(?:bos|eos|pad|unk|[se]op|eo[td]|(?:start|end)_of_turn)>"
    rf"|</?(?:{_WHO}|model|think)>|\[/?(?:inst|user|human|assistant|system)\]"
    r"|\[(?:[gs]?mask|pad|cls|sep|unk|bos|eos)\]",
    re.IGNORECASE,
)
_SPEAKER = re.compile(rf"\A\W*(?:{_WHO})\W{{0,3}}:", re.IGNORECASE)
_NEXT_SPEAKER = re.compile(rf"\n[^\w\n]*(?:{_WHO})\W{{0,3}}:\W*\Z", re.IGNORECASE)
_INVISIBLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u00ad\u200b\u2060\ufeff]")  # no joiners: emoji have them
_FORMULA = r"abla|atural|e(?:q|g|w|arrow|xists)|mid|o(?:t|indent|number)|parallel|su[bp]|[lg]eq|[eiu](?![a-z])"
_ESCAPE = re.compile(
    rf"(?<!\\)\\(?:n(?!{_FORMULA})|[tr](?![a-z])|[\"'](?![A-Za-z])|u[0-9a-fA-F]{{4}}|x[0-9a-fA-F]{{2}})"
    r"|&(?:amp|lt|gt|quot|apos|nbsp|[nm]dash|hellip|[lr][sd]quo|#\d{2,6}|#x[0-9a-fA-F]{2,5});"
)
_CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)
_LAID_OUT = re.compile(r"^(?:(?: {4}|\t).*|.*\|.*|[ \t]*(?:[-*•+]|#+|>+|\d+[.)])[ \t]+)", re.MULTILINE)
_SPACES = re.compile(r"(?<=\S)(?: {2,}(?=\S)|(?!  \n)[ \t\r]+\n)")  # two at the end of a line are a break in markdown
_STRAIGHT = str.maketrans({**dict.fromkeys("“”„«»", '"'), **dict.fromkeys("‘’‚", "'")})
_APOSTROPHE = re.compile(r"(?<=\w)'(?=\w)|(?<=s)'(?=\s)|'(?=\d|(?:tis|twas|cause|cos|em|til|bout|n)\b)", re.IGNORECASE)
_SMILEY = re.compile(r"(?:[:;=8x][-'^o]?[)\]}]|\){2,})\Z", re.IGNORECASE)
_ITEM = re.compile(r"(?:\A|\s)\w{1,2}[)\]]\Z")  # the b) of a choice
_CUT = re.compile(r"(?:\.{3,}|…|[\[(<](?:truncated|cut|snip|more|\.\.\.|…)[\])>])\s*\Z", re.IGNORECASE)
_FORMATTED = re.compile(r"\s*(?:[-*•#|>`]|\d+[.)]|\s{4})")


def _enclosed(text: str, kinds: dict[str, str]) -> bool:
    """Whether one pair of `kinds` is around the whole text and none of its kind inside."""
    text = text.strip()
    if len(text) < 3 or kinds.get(text[0]) != text[-1]:
        return False
    inside = re.sub(r"\\.", "", text[1:-1])
    return text[0] not in inside and text[-1] not in inside


def _alone(text: str, partners: dict[str, str]) -> bool:
    """Whether the first character is a straight quote or one of `partners`, and has no partner in the text."""
    first = text[0]
    if first in "\"'":
        return text.count(first) % 2 == 1
    if first not in partners:
        return False
    depths = np.cumsum([(character == first) - (character == partners[first]) for character in text])
    return bool(depths.min() > 0)


def _unbalanced(text: str) -> bool:
    """Whether a quote or bracket at one end has no partner; apostrophes, inches and smileys need none, nor does one
    that a cut took it from."""
    text = _APOSTROPHE.sub("", re.sub(r"\\.", "", text.strip()).translate(_STRAIGHT))
    if len(text) < 3:
        return False
    opens = not text[1].isspace() and _alone(text, _BRACKETS)
    if opens and not _unfinished(text) and not _CUT.search(text):
        return True
    before = text[-2]
    no_quote = before.isspace() or (before.isdigit() if text[-1] == '"' else before.isalnum() and text[-1] == "'")
    return not no_quote and not _SMILEY.search(text) and not _ITEM.search(text) and _alone(text[::-1], _CLOSING)


def _prose(text: str) -> str:
    """A text without its code."""
    return _CODE.sub("`", text) if "`" in text else text


def _spaced(text: str) -> bool:
    """Whether there is doubled white space in a line or white space at the end of one, tables and lists apart."""
    return bool(_SPACES.search(_LAID_OUT.sub("", _prose(text.strip()))))


def _unfinished(text: str) -> bool:
    """Whether a text that ends its sentences breaks off in the last one; lists, headings and code need no full stop."""
    text = text.rstrip()
    last = text.rsplit("\n", 1)[-1]
    if not text or _FORMATTED.match(last) or not re.search(r"[.!?][\"')\]]*\s", text):
        return False
    return text[-1].isalnum() or text[-1] in ",;([{-–—"


MARKS = {
    "list, record or bytes literal": lambda text: bool(_LITERAL.match(text)),
    "template token": lambda text: bool(_TOKEN.search(_prose(text))),
    "invisible character": lambda text: bool(_INVISIBLE.search(text)),
    "escape or entity": lambda text: bool(_ESCAPE.search(_prose(text))),
    "name of a speaker at the start": lambda text: bool(_SPEAKER.match(text)),
    "name of a speaker at the end": lambda text: bool(_NEXT_SPEAKER.search(text)),
    "quotes around the whole": lambda text: _enclosed(text, _QUOTES),
    "brackets around the whole": lambda text: _enclosed(text, _BRACKETS),
    "quote or bracket at one end": _unbalanced,
    "white space at the start": lambda text: text[:1].isspace(),
    "white space at the end": lambda text: text[-1:].isspace(),
    "white space inside": _spaced,
    "mark of truncation": lambda text: bool(_CUT.search(text)),
    "unfinished end": _unfinished,
}
"""Every mark, from the most to the least certain."""

_OF_LONG_TEXTS = (
    "invisible character",
    "escape or entity",
    "white space inside",
    "mark of truncation",
    "unfinished end",
)


def marks(text: str) -> tuple[bool, ...]:
    """Which of `MARKS` a text has, in their order."""
    return tuple(has(text) for has in MARKS.values())


@dataclass(frozen=True)
class _Sides:
    """What was liked better (`texts[:, 0]`) and what was liked less (`texts[:, 1]`), `[b, 2]` each with its row: votes,
    or pairs of a user's thumbs.

    `shared`: numbers `[b, k]` of what is the same in several of them: their pair, or either response. `folds` `[b]`
    keeps these together. `names`, `what` and `others` are for the sentence.
    """

    names: tuple[str, str]
    what: str
    others: str
    texts: list[tuple[str, str]]
    rows: list[tuple[str, str]]
    shared: np.ndarray
    folds: np.ndarray

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def different(self) -> int:
        """How many of them are different ones."""
        return len(np.unique(self.shared, axis=0))


def check_artefacts(items: Sequence[Feedback], seed: int = 0) -> Check:
    """Accuracy of a logistic regression on `MARKS` alone: five folds, all votes on one pair in the same one. Of thumbs
    it is that in pairs of an up and a down of one user, all thumbs on one response in the same fold.

    A finding is an accuracy that is, less three standard errors, more than two points above one half; votes on one pair
    (thumbs on one response) count as one for the error. Marks on fewer than 20 different responses are left out.
    """
    comparisons, thumbs = parted(items)
    found = _check(_of_votes(comparisons, seed))
    return found.beside(thumbs=_check(_of_thumbs(thumbs, seed))) if thumbs else found


def _of_votes(comparisons: Sequence[Comparison], seed: int) -> _Sides:
    votes = [c for c in comparisons if decided(c)]
    keys, pairs = np.unique([c.pair_key for c in votes], return_inverse=True)
    folds = np.array([fold_of(key, seed) for key in keys], dtype=np.int64)
    return _Sides(
        names=("chosen", "rejected"),
        what="votes",
        others="pairs",
        texts=[(c.chosen, c.rejected) for c in votes],
        rows=[(c.id, c.id) for c in votes],
        shared=pairs[:, None],
        folds=folds[pairs],
    )


def _of_thumbs(thumbs: Sequence[Thumb], seed: int) -> _Sides:
    keys, responses = np.unique([t.pair_key for t in thumbs], return_inverse=True)
    fold = np.array([fold_of(key, seed) for key in keys], dtype=np.int64)[responses]
    groups = [(t.user is not None, t.user or "", k) for t, k in zip(thumbs, fold.tolist(), strict=True)]
    pairs = pairs_within(thumbs, groups, seed)
    at = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return _Sides(
        names=("up", "down"),
        what="pairs of a user's thumbs",
        others="responses",
        texts=[(thumbs[up].response, thumbs[down].response) for up, down in pairs],
        rows=[(thumbs[up].id, thumbs[down].id) for up, down in pairs],
        shared=responses[at],
        folds=fold[at[:, 0]],
    )


def _check(sides: _Sides) -> Check:
    if sides.different < _PAIRS or len(set(sides.folds.tolist())) < 5:
        few = "pairs with a winner" if sides.what == "votes" else sides.what
        return Check.missing(NAME, f"{sides.different:,} {few} are too few to learn from; it takes {_PAIRS}")
    found = {text: marks(text) for text in dict.fromkeys(text for two in sides.texts for text in two)}
    first, second = (np.array([found[two[side]] for two in sides.texts], dtype=np.float64) for side in (0, 1))
    common = np.array(list(found.values())).sum(0) >= _TEXTS
    counted = common & _beyond_choice(first, second, sides.shared)
    x = (first - second)[:, counted]
    margins = held_out_margins(x, sides.folds) if counted.any() else np.zeros(len(sides))
    accuracy = float(hits(margins))
    low = accuracy - _ERRORS * _error(margins, sides.shared)
    yes, no = sides.names
    shares = {
        name: {yes: float(a), no: float(b), "counted": bool(used)}
        for name, a, b, used in zip(MARKS, first.mean(0), second.mean(0), counted, strict=True)
    }
    numbers: dict[str, Any] = {"accuracy": accuracy, "low": low, "votes": len(sides), "pairs": sides.different}
    numbers["of_long_texts"] = bool((common & ~counted).any())
    leak = low > 0.5 + _MARGIN
    if leak:
        named, example = _most_telling(sides, first - second, counted)
        numbers |= {"most_telling": named, "example": example}
    return Check.of(NAME, leak, _sentence(sides, numbers, shares), {**numbers, "marks": shares})


def _sentence(sides: _Sides, numbers: dict[str, Any], shares: dict[str, dict[str, Any]]) -> str:
    yes, no = sides.names
    if not any(share["counted"] for share in shares.values()):
        rest = ", but for those of long texts, no more than taste explains" if numbers["of_long_texts"] else ""
        none = f"none tells {yes} from {no} in {len(sides):,} {sides.what}"
        return f"No mark is on {_TEXTS} different responses{rest}: {none}."
    told = f"tell {yes} from {no} in {numbers['accuracy']:.1%} of {len(sides):,} {sides.what}"
    text = f"Marks alone, learnt on other {sides.others}, {told}"
    if "most_telling" not in numbers:
        return f"{text} (chance 50 %)."
    named, example = numbers["most_telling"], numbers["example"]
    return (
        f"{text} (chance 50 %, at least {numbers['low']:.1%}). Most telling: {named}, on {shares[named][yes]:.1%} "
        f"of the {yes} and {shares[named][no]:.1%} of the {no}, as in row {example['row'] or '?'}, "
        f"{example['side']}: {example['text']}. No preference: take it off both sides before training."
    )


def _error(margins: np.ndarray, shared: np.ndarray) -> float:
    """Standard error of the accuracy if the margins knew nothing. What has something in common counts as one: `[b, 1]`
    in clusters, `[b, 2]` wherever either number is the same."""
    own = np.sign(margins) / 2
    sums = np.bincount(shared.T.ravel(), np.tile(own, shared.shape[1]))
    squares = float((own**2).sum())
    variance = float((sums**2).sum()) - (shared.shape[1] - 1) * squares  # each of `own` is in as many of the sums
    return math.sqrt(max(variance, squares)) / len(margins)


def _beyond_choice(first: np.ndarray, second: np.ndarray, shared: np.ndarray) -> np.ndarray:
    """`[f]`: True for certain marks, and for those of long texts that no choice between like responses could part so
    far; pairs of thumbs, `shared` `[b, 2]`, are no choices."""
    certain = np.array([name not in _OF_LONG_TEXTS for name in MARKS])
    if shared.shape[1] > 1:
        return certain
    difference = first - second
    apart, share = np.abs(difference.mean(0)), (first + second).mean(0) / 2
    rest = difference - difference.mean(0)
    sums = np.stack([np.bincount(shared[:, 0], column) for column in rest.T], axis=1)
    error = np.sqrt((sums**2).sum(0)) / len(sums)
    return certain | (apart - _ERRORS * error > 2 * share * (1 - share))


def _most_telling(sides: _Sides, x: np.ndarray, counted: np.ndarray) -> tuple[str, dict[str, str]]:
    """The mark that decides most, and a row that shows it."""
    lean = x.sum(0) * counted
    k = int(np.argmax(np.abs(lean)))
    side = 0 if lean[k] > 0 else 1
    i = int(np.flatnonzero(x[:, k] == np.sign(lean[k]))[0])
    return list(MARKS)[k], {
        "row": sides.rows[i][side],
        "side": sides.names[side],
        "text": _excerpt(sides.texts[i][side]),
    }


def _excerpt(text: str) -> str:
    """Both ends of a text, with white space to be seen."""
    return repr(text if len(text) <= 80 else f"{text[:40]} […] {text[-30:]}")
