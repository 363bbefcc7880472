"""The factor reward on planted people: nothing personal where there is nothing, intervals that cover, flipped votes.

    python benchmarks/reward_planted.py [--quick] [--only consensus,people,flips] [--seeds 3] [--json FILE]

`consensus`: all people are the same; in how many of 20 draws rank 0 is chosen, and the accuracy beside Bradley-Terry's.
`people`: 200 people with tastes along three directions, 200 votes each drawn from the logistic of the true margin;
100 more people are met with 5, 20, 100 and 200 votes. Accuracy is against the sign of the true margin of new pairs;
coverage is how often the 90 % interval of a margin holds the true one. `flips`: the same, and one vote in ten is turned
round after that.
"""

from __future__ import annotations

import argparse
import logging
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from figures import add_options, machine, write
from table import number

from prlhf.config.rewards import Bt, Factor
from prlhf.rewards import Items, States, VectorReward, Votes, fit_reward

PARTS = ("consensus", "people", "flips")
COUNTS = (5, 20, 100, 200)
ROWS = 2000
"""New pairs that are asked about."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class World:
    """Responses, what people think of them (`truth` `[n, m]`), votes of those who are learned from and of new ones."""

    known: Votes
    new: Votes
    truth: Floats

    @classmethod
    def draw(cls, seed: int, *, users: int, strangers: int, each: int, items: int, rank: int, flips: float) -> World:
        """Features are independent; half of what the average person likes is as large as what people differ in."""
        rng = np.random.default_rng(seed)
        width, n = 24 if rank else 12, users + strangers
        x = rng.normal(size=(items, width))
        taste = 1.5 * rng.normal(size=width) / np.sqrt(width)
        directions = rng.normal(size=(width, rank)) / np.sqrt(width)
        truth = (taste + rng.normal(size=(n, rank)) @ directions.T) @ x.T
        who = np.repeat(np.arange(n), each)
        a = rng.integers(items, size=len(who))
        b = (a + rng.integers(1, items, size=len(who))) % items
        likes = rng.random(len(who)) < 1 / (1 + np.exp(truth[who, b] - truth[who, a]))
        likes ^= rng.random(len(who)) < flips
        ones = np.ones(len(who))
        votes = Votes(
            items=Items(np.arange(items, dtype=np.uint64), x.astype(np.float32)),
            chosen=np.where(likes, a, b),
            rejected=np.where(likes, b, a),
            user=who,
            names=tuple(f"user-{i:04d}" for i in range(n)),
            y=ones,
            weight=ones,
            first=0 * ones,
            pair=(np.minimum(a, b) * items + np.maximum(a, b)).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15),
        )
        known, new = (votes.take(part).of_users(votes.names[s]) for part, s in _halves(who, users))
        return cls(known, new, truth)


def _halves(who: npt.NDArray[np.int64], users: int) -> list[tuple[npt.NDArray[np.bool_], slice]]:
    return [(who < users, slice(0, users)), (who >= users, slice(users, None))]


def asked(world: World, people: npt.NDArray[np.int64], seed: int) -> tuple[npt.NDArray[np.int64], ...]:
    """New pairs `a`, `b`, a row of `people` each, and the true margins."""
    rng = np.random.default_rng(seed + 1000)
    m = world.truth.shape[1]
    a = rng.integers(m, size=ROWS)
    b = (a + rng.integers(1, m, size=ROWS)) % m
    who = rng.integers(len(people), size=ROWS)
    return a, b, who, world.truth[people[who], a] - world.truth[people[who], b]


def measured(model: VectorReward, world: World, states: States, first: int, seed: int) -> tuple[float, float]:
    """Accuracy against the true sign, and coverage of 90 % intervals."""
    a, b, who, margin = asked(world, np.arange(first, first + len(states)), seed)
    found = model.reward(world.known.items, a, b, states, who)
    inside = np.abs(found.mean - margin) < 1.6449 * np.sqrt(found.variance)
    return float((np.sign(found.mean) == np.sign(margin)).mean()), float(inside.mean())


def people(seeds: int, flips: float, size: dict[str, int]) -> list[dict[str, Any]]:
    """One row a number of votes; a cell is the mean over seeds with the least and the most."""
    found: dict[str, list[tuple[float, float]]] = {}
    chosen, start = [], time.process_time()
    for seed in range(seeds):
        world = World.draw(seed, **size, rank=3, flips=flips)
        users, strangers = len(world.known.names), len(world.new.names)
        model = fit_reward(Factor(), world.known, seed=seed)
        chosen.append((model.rank, model.flips))
        own = model.users.states.take(np.arange(1, users + 1))
        found.setdefault(f"learned from, {size['each']} votes", []).append(measured(model, world, own, 0, seed))
        for count in [c for c in COUNTS if c <= size["each"]]:
            first = np.concatenate([np.flatnonzero(world.new.user == person)[:count] for person in range(strangers)])
            states = model.states_of(world.new.take(first))
            found.setdefault(f"met, {count} votes", []).append(measured(model, world, states, users, seed))
    said = f"rank {', '.join(str(r) for r, _ in chosen)}; flipped {', '.join(f'{f:.2f}' for _, f in chosen)}"
    print(f"{said}; {(time.process_time() - start) / seeds:.0f} CPU seconds a seed", flush=True)
    name = "one vote in ten flipped" if flips else "three directions"
    rows = []
    for who, values in found.items():
        table = np.array(values)
        cells = [[*map(float, (c.mean(), c.min(), c.max()))] for c in table.T]
        rows.append({"table": f"{name}: {said}", "people": who, "accuracy": cells[0], "coverage of 90 %": cells[1]})
    return rows


def consensus(seeds: int, size: dict[str, int]) -> list[dict[str, Any]]:
    """How often nothing personal is found where there is nothing, and how accurate that is beside Bradley-Terry."""
    none, ours, pooled = 0, [], []
    for seed in range(seeds):
        world = World.draw(seed, **size, rank=0, flips=0.0)
        model, bt = fit_reward(Factor(), world.known), fit_reward(Bt(), world.known)
        none += model.rank == 0
        for kept, fitted in ((ours, model), (pooled, bt)):
            generic = fitted.users.states.take(np.zeros(len(world.known.names), np.int64))
            kept.append(measured(fitted, world, generic, 0, seed)[0])
    name = "everybody is the same"
    row = {"table": name, "draws": seeds, "rank 0": none, "accuracy": float(np.mean(ours))}
    return [
        {**row, "bt's": float(np.mean(pooled)), "largest difference": float(np.abs(np.subtract(ours, pooled)).max())}
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    logging.disable(logging.INFO)
    alike = {"users": 60, "strangers": 1, "each": 50, "items": 500}
    differ = {"users": 200, "strangers": 100, "each": 200, "items": 2000}
    draws = 20
    if given.quick:
        given.seeds, draws = 1, 2
        alike = {"users": 15, "strangers": 1, "each": 20, "items": 500}
        differ = {"users": 30, "strangers": 10, "each": 40, "items": 1000}
    rows: list[dict[str, Any]] = []
    for part in given.only.split(","):
        if part == "consensus":
            rows += consensus(draws, alike)
        else:
            rows += people(given.seeds, 0.1 if part == "flips" else 0.0, differ)
    for row in rows:
        print("  ".join(f"{key}: {number(value)}" for key, value in row.items()), flush=True)
    write(given.json, "reward_planted", machine(), vars(given), rows)


if __name__ == "__main__":
    main()
