"""P-SOUPS: six profiles as users, who differ in what they want of an answer (Jang et al., arXiv 2310.11564).

In the published files a request ends with the profile's preference in words (`rm_training/P1A.json` and so on). Here it
is taken away, so that it has to be learned from the votes. What it says is found in the data: the longest ending that
at least 99 of 100 requests of the file share, from the beginning of a sentence on.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from prlhf.data.fields import Interner
from prlhf.data.log import Log, Notes
from prlhf.data.options import one_of, whole
from prlhf.data.sources.published import Record, open_file, read, sides_of, within
from prlhf.errors import DataError
from prlhf.types import Comparison, Message

__all__ = ["PROFILES", "psoups"]

Sides = Literal["own", "paper"]
PROFILES = ("P1A", "P1B", "P2A", "P2B", "P3A", "P3B")
"""The users: expertise (elementary, PhD), informativeness (concise, full), style (friendly, unfriendly)."""
ATTRIBUTION = (
    "Personalized Soups, Jang et al., arXiv 2310.11564 (github.com/joeljang/RLPHF): requests from GPT4-Alpaca, answers "
    "of Tulu models, votes of GPT-4."
)
_WHERE = "source 'psoups'"
_COLUMNS = ("user_input", "completion_a", "completion_b")
_SEED = 123  # the published one
_SHARE = 0.99
_SENTENCE = re.compile(r"(?:^|(?<=\s))[A-Z]")


@dataclass(frozen=True)
class _Vote:
    """A row: the request with its preference in words, the preferred answer, the other, and the row's number."""

    request: str
    chosen: str
    rejected: str
    number: int


def psoups(path: str, sides: Sides = "own", max_characters: int | None = None) -> Log:
    """Votes of the six profiles, each question and pair of answers once, without those on two equal answers.

    Args:
        path: the folder of the release, its `rm_training`, or a hub id with these files.
        sides: `own`: those of `data.split`; `paper`: a tenth of the comparisons is drawn for the test, as published.
            Then the same request is on both sides under other profiles, so that the test is too easy.
        max_characters: leave out comparisons whose request and longer answer have more together.

    Raises:
        ConfigError: an option that does not fit.
        DataError: a file or field that is missing, or a file whose requests do not end with a preference.
    """
    one_of(_WHERE, "sides", sides, get_args(Sides))
    if max_characters is not None:
        whole(_WHERE, "max_characters", max_characters, 1)
    comparisons: list[Comparison] = []
    remarks, rows = [], 0
    texts = Interner()
    for profile in PROFILES:
        table = open_file("psoups", path, f"{profile}.json", _COLUMNS, "rm_training")
        votes = read(table, lambda number, record: _vote(number, record, texts))
        found, remark = _profile(profile, table.name, votes)
        comparisons += found
        rows += len(votes)
        remarks.append(remark)
    drawn = zip(comparisons, _paper_sides(len(comparisons)), strict=True)  # before the limit, as published
    assigned = [(c, side) for c, side in drawn if within(c, max_characters)]
    if len(assigned) < len(comparisons):
        remarks.append(f"Too long and left out: {len(comparisons) - len(assigned):,} comparisons.")
    kept = tuple(c for c, _ in assigned)
    fixed = sides_of(assigned) if sides == "paper" else None
    return Log(kept, "psoups", ATTRIBUTION, Notes.of(kept, rows=rows, remarks=tuple(remarks)), fixed)


def _vote(number: int, record: Record, texts: Interner) -> _Vote:
    request, chosen, rejected = (texts.text(name, record.text(name)) for name in _COLUMNS)
    return _Vote(request, chosen, rejected, number)


def _profile(profile: str, file: str, votes: Sequence[_Vote]) -> tuple[list[Comparison], str]:
    """The comparisons of one file, and what was counted in it."""
    preference = shared_ending(list({vote.request.strip() for vote in votes}))
    if preference is None:
        raise DataError(
            f"{file}: field 'user_input': found no ending that its {len(votes):,} requests share, expected the "
            "profile's preference in words at the end of each, as published"
        )
    distinct: dict[tuple[str, str, str], _Vote] = {}
    for vote in votes:
        distinct.setdefault((_question(vote.request, preference), vote.chosen, vote.rejected), vote)
    found, without = [], 0
    for (question, chosen, rejected), vote in distinct.items():
        if chosen == rejected:
            continue
        without += preference not in vote.request
        if not question:
            raise DataError(f"{file}, row {vote.number}: field 'user_input': found nothing before the preference")
        prompt = (Message("user", question),)
        found.append(Comparison(prompt, chosen, rejected, user=profile, id=f"{profile}/{vote.number}"))
    equal = len(distinct) - len(found)
    told = f"{profile}: {len(found):,} comparisons of {len(votes):,} rows ({equal:,} different ones of equal answers)"
    missing = f"; {without:,} requests are without the preference" if without else ""
    return found, f"{told}; taken from the requests: {preference!r}{missing}."


def _question(request: str, preference: str) -> str:
    """What a request asks, without the preference in words and white space around it."""
    return request.replace(preference, "").strip()


def shared_ending(requests: Sequence[str]) -> str | None:
    """The longest ending that at least 99 of 100 requests share, from the beginning of a sentence on.

    A sentence begins with a capital after white space. None where no sentence is shared, or there is only one request.
    """
    if len(requests) < 2:
        return None
    backwards = sorted(request[::-1] for request in requests)
    typical = backwards[len(backwards) // 2]  # has the ending where most have it, since equal beginnings lie together
    shared = sorted(_common(typical, other) for other in backwards)
    length = shared[len(shared) - math.ceil(_SHARE * len(shared))]
    ending = typical[:length][::-1]
    at_start = length == len(typical) or typical[length].isspace()  # whether the ending begins with a whole word
    for sentence in _SENTENCE.finditer(ending):
        if sentence.start() or at_start:
            return ending[sentence.start() :]
    return None


def _common(a: str, b: str) -> int:
    """How many characters both begin with."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _paper_sides(count: int) -> list[str]:
    """The published draw (`shuffle` and `train_test_split` of `datasets`): a tenth of the comparisons is the test."""
    shuffled = np.random.default_rng(_SEED).permutation(count)
    drawn = np.random.default_rng(_SEED).permutation(count)[: math.ceil(0.1 * count)]
    test = set(shuffled[drawn].tolist())
    return ["test" if i in test else "train" for i in range(count)]
