"""Which votes of a person VPL sees, and which it is then asked about."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from prlhf.rewards.votes import Votes

__all__ = ["Batch", "batches", "groups", "steps"]

Ints = npt.NDArray[np.int64]

ASKED = 16
"""At most so many votes are predicted from one context, and at most a quarter of a person's."""


class Batch(NamedTuple):
    """e contexts and what is asked; places in votes, -1 where there is none."""

    context: Ints
    """`[e, c]`."""
    asked: Ints
    """`[t]`."""
    of: Ints
    """`[t]`, the context of each vote that is asked."""


def batches(votes: Votes, context: int, size: int, rng: np.random.Generator) -> Iterator[Batch]:
    """Every vote is asked once, from a new choice of its user's others, of which none is on the same pair.

    Half of the time it is as many others as may be, else any number from 0, small ones more often (by its logarithm),
    so that somebody new is met as well as somebody known.
    """
    _, pair = np.unique(votes.pair, return_inverse=True)
    hidden = np.zeros(pair.max(initial=0) + 1, np.bool_)
    episodes = []
    for rows in _by_user(votes):
        rows = rng.permutation(rows)
        for asked in _chunks(rows, _asked(len(rows))):
            hidden[pair[asked]] = True
            others = rng.permutation(rows[~hidden[pair[rows]]])
            hidden[pair[asked]] = False
            most = min(context, len(others))
            few = int((1 + most) ** rng.random()) - 1
            episodes.append((others[: most if rng.random() < 0.5 else few], asked))
    nobodys = rng.permutation(np.flatnonzero(votes.user < 0))
    episodes += [(nobodys[:0], asked) for asked in _chunks(nobodys, ASKED)]
    for some in _chunks(rng.permutation(len(episodes)), size):
        chosen = [episodes[i] for i in some]
        yield Batch(
            _padded([seen for seen, _ in chosen]),
            np.concatenate([asked for _, asked in chosen]),
            np.repeat(np.arange(len(chosen)), [len(asked) for _, asked in chosen]),
        )


def steps(votes: Votes, size: int) -> int:
    """How many batches there are."""
    many = [-(-n // _asked(n)) for n in votes.counts[votes.counts > 0].tolist()]
    return -(-(sum(many) - (-int((votes.user < 0).sum()) // ASKED)) // size)


def _asked(n: int) -> int:
    """How many votes of somebody with n are predicted from one context."""
    return min(ASKED, max(1, n // 4))


def groups(votes: Votes, context: int, numbers: int) -> Iterator[tuple[Ints, Ints]]:
    """All votes of all users, in groups of at most `context` of one user's: users `[e]` and places of votes `[e, c]`,
    about `numbers` votes at a time."""
    cut = [(votes.user[rows[0]], some) for rows in _by_user(votes) for some in _chunks(rows, context)]
    cut.sort(key=lambda group: len(group[1]))  # stable; alike in length together
    for some in _chunks(np.arange(len(cut)), max(1, numbers // context)):
        yield np.array([cut[i][0] for i in some], np.int64), _padded([cut[i][1] for i in some])


def _by_user(votes: Votes) -> list[Ints]:
    """The votes of each user that has any, in their order."""
    order = np.argsort(votes.user, kind="stable")
    order = order[votes.user[order] >= 0]
    return [rows for rows in np.split(order, np.flatnonzero(np.diff(votes.user[order])) + 1) if len(rows)]


def _chunks(rows: Ints, size: int) -> Iterator[Ints]:
    for i in range(0, len(rows), size):
        yield rows[i : i + size]


def _padded(rows: list[Ints]) -> Ints:
    found = np.full((len(rows), max(1, *(len(r) for r in rows)) if rows else 1), -1, np.int64)
    for place, row in zip(found, rows, strict=True):
        place[: len(row)] = row
    return found
