"""How fast somebody new is known: accuracy against the number of answers, for every rule of choosing what to ask.

    python benchmarks/onboarding.py [--quick] [--only planted,polis] [--seeds 3] [--picture FILE] [--json FILE]

`planted`: the people of `reward_planted.py` with tastes along three directions; a factor model learns from 200 of them,
100 more are met. Every rule chooses from the same 2,000 pairs, the person answers by the logistic of their true margin,
and accuracy is against the sign of the true margin of 200 other pairs each. `random` is the mean over five orders, and
goes on to 200 answers. `polis`: real votes of people who are held out, replayed: a rule chooses among the pairs that the
person really voted on, and accuracy is on a third of their votes that nobody may ask for; needs the votes and the
embeddings in the folder `--data`. Intervals are the central 95 % over people (and seeds), drawn with replacement.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from figures import add_options, machine, write
from reward_planted import World
from table import number

from prlhf.config.rewards import Factor
from prlhf.evaluation.bootstrap import resample_sums
from prlhf.rewards import States, VectorReward, Votes, fit_reward
from prlhf.rewards.asking import RULES, Pool, suggest

PARTS = ("planted", "polis")
NAMES = (*RULES, "random")
MOST = 40
"""Answers by which a rule is followed; `random` of planted people goes on to `LONG`."""
LONG = 200
SHOWN = (0, 1, 2, 3, 5, 7, 10, 15, 20, 30, 40)
ORDERS = 5

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Person:
    """Somebody to be met: what may be asked, what they say to it, and how well a state knows them."""

    pool: Pool
    answer: Callable[[int], bool]
    """Of a place in the pool: whether they prefer a."""
    accuracy: Callable[[States], float]


def followed(model: VectorReward, person: Person, rule: str, most: int, seed: int) -> Floats:
    """Accuracy after 0, 1, …, `most` answers."""
    state = model.users.states.take(slice(0, 1))
    found, told, sides = [person.accuracy(state)], [], []
    keys = [f"{key:016x}" for key in person.pool.votes.pair.tolist()]
    order = [s.place for s in suggest(model, person.pool, None, most, "random", (), seed)] if rule == "random" else []
    for i in range(min(most, len(person.pool))):
        place = order[i] if order else suggest(model, person.pool, state, 1, rule, [keys[p] for p in told])[0].place
        told.append(place)
        sides.append(person.answer(place))
        state = model.states_of(voted(person.pool.votes, np.array(told), np.array(sides)))
        found.append(person.accuracy(state))
    return np.array(found)
