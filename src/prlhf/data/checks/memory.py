"""Can the test side be answered from memory of its responses? How often each one won in training, and nothing else.

A response may be on both sides: a split by pair allows it, and people who vote on a fixed set of items cannot do
without. Who remembers what won is then right more often than by chance, since some responses are better than others.
That is told as a number. It is a fault where memory does better than an order of the responses, by quality or taste,
would let it: where one response won (or lost) against all others of its prompt, as the best of several does that stands
in one row with each of them, or the one that a pipeline took from another place. The outcome is then the response's and
not the comparison's, and the test asks for what training has told.

How far an order would carry is found by drawing some: the responses get values by chance, the same comparisons are
decided by them, and memory is measured again. The same is asked of each user's own votes, with values for each user.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from prlhf.data.checks.check import Check
from prlhf.data.checks.texts import Texts
from prlhf.data.items import parted
from prlhf.data.log import decided
from prlhf.types import Feedback, Thumb

__all__ = ["check_memory"]

NAME = "memory of the responses"
_TESTS = 20  # different pairs of the test side with a response of training
_DRAWS = 20
_ERRORS = 3
_BEYOND = 1 / 3  # of what an order leaves open: values that have to do with who meets whom carry a little further
_WHOSE = {"crowd": "in training", "own": "with the same user in training"}


def check_memory(training: Iterable[Feedback], test: Sequence[Feedback], seed: int = 0) -> Check:
    """How many of the `test` comparisons are answered by how often each response (to its prompt) won in `training`,
    with everybody (`crowd`) and with the same user (`own`).

    A finding: it is right, less three standard errors, in more than a third of what an order of the responses would
    leave open. Tests count with at least one response of training, and votes on one pair as one for the error. Thumbs
    of training count as won or lost; test thumbs are not asked, as every split keeps their responses apart.
    """
    comparisons = [c for c in parted(test)[0] if decided(c)]
    if not comparisons:
        return Check.missing(NAME, "there is no test comparison")
    rows = [item for item in training if decided(item)]
    asked = {whose: _Remembered(rows, comparisons, own=whose == "own") for whose in _WHOSE}
    numbers: dict[str, Any] = {whose: found.numbers(seed) for whose, found in asked.items()}
    made = {whose: found for whose, found in numbers.items() if found["pairs"] >= _TESTS}
    most = max(found["pairs"] for found in numbers.values())
    if not most:
        return Check.of(NAME, False, "No test comparison has a response that was judged in training.", numbers)
    if not made:
        why = f"{most:,} test pairs with a response that was judged in training are too few to tell; it takes {_TESTS}"
        return Check.missing(NAME, why)
    known = [whose for whose, found in made.items() if found["low"] > found["most"]]
    text = " ".join(_sentence(whose, found) for whose, found in made.items())
    if known:
        text += (
            " The outcome goes with the response, as where one best answer is paired with each other one, so that the "
            "test asks for what training has told: keep responses apart (data.split.by=response, or prompt)."
        )
    return Check.of(NAME, bool(known), text, numbers)


def _sentence(whose: str, found: dict[str, Any]) -> str:
    return (
        f"How often a response won {_WHOSE[whose]} answers {found['accuracy']:.1%} of {found['tests']:,} test "
        f"comparisons (for responses of random value it would be {found['order']:.1%})."
    )


class _Remembered:
    """The judgements of training and the tests that have something of them, as numbers of responses.

    `won`, `lost` `[b]`: -1 stands for what a thumb is given against. `tests` `[t, 2]`: chosen and rejected.
    """

    def __init__(self, training: Sequence[Feedback], test: Sequence[Feedback], own: bool) -> None:
        text, ids = Texts(), dict[tuple[str | None, int, int], int]()

        def numbers(item: Feedback) -> list[int]:
            prompt, texts = text.of(item)
            whose = item.user if own else None
            return [ids.setdefault((whose, prompt, t), len(ids)) for t in texts]

        rows = [c for c in training if not own or c.user is not None]
        judged = [(*numbers(c), -1) if isinstance(c, Thumb) else tuple(numbers(c)) for c in rows]
        ups = [not isinstance(c, Thumb) or c.up for c in rows]
        self.judged = np.array(judged, dtype=np.int64).reshape(-1, 2)
        self.up = np.array(ups, dtype=bool)
        known = len(ids)
        tests = np.array([numbers(c) for c in test if not own or c.user is not None], dtype=np.int64).reshape(-1, 2)
        self.tests = tests[(tests < known).any(1)]
        self.count = len(ids)

    def numbers(self, seed: int) -> dict[str, Any]:
        """`accuracy` on `tests` comparisons of `pairs` different pairs, its lower end `low`, what an `order` would give
        and how far above that it may be at `most`."""
        pairs = len(np.unique(np.sort(self.tests, 1), axis=0))
        found: dict[str, Any] = {"tests": len(self.tests), "pairs": pairs}
        if pairs < _TESTS:
            return {**found, "accuracy": None, "low": None, "order": None, "most": None}
        won = np.where(self.up[:, None], self.judged, self.judged[:, ::-1])
        accuracy = self._accuracy(won, self.tests)
        order = float(np.mean([self._of_an_order(seed, k) for k in range(_DRAWS)]))
        most = order + _BEYOND * (1 - order)
        low = accuracy - _ERRORS * math.sqrt(most * (1 - most) / pairs)
        return {**found, "accuracy": accuracy, "low": low, "order": order, "most": most}

    def _of_an_order(self, seed: int, draw: int) -> float:
        """The accuracy if every response had a value, and every outcome followed from it; as many thumbs are up."""
        rng = np.random.default_rng((seed, draw))
        thumbs = self.judged[:, 1] < 0
        least = 1 - self.up[thumbs].mean() if thumbs.any() else 0.5
        values = np.append(rng.random(self.count), least)  # the last one, at -1, is what thumbs are given against
        return self._accuracy(_sorted(self.judged, values), _sorted(self.tests, values))

    def _accuracy(self, judged: np.ndarray, tests: np.ndarray) -> float:
        """How often the response with the larger share of wins is the chosen one, equal shares counting half. One win
        and one loss are imagined for everybody."""
        wins, losses = (np.bincount(side[side >= 0], minlength=self.count) for side in judged.T)
        share = (wins + 1) / (wins + losses + 2)
        return float(np.mean((np.sign(share[tests[:, 0]] - share[tests[:, 1]]) + 1) / 2))


def _sorted(pairs: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Each pair `[b, 2]` with the one of larger value first."""
    better = values[pairs[:, 0]] > values[pairs[:, 1]]
    return np.where(better[:, None], pairs, pairs[:, ::-1])
