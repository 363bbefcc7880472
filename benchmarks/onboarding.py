"""How fast somebody new is known: accuracy against the number of answers, for every rule of choosing what to ask.

    python benchmarks/onboarding.py [--quick] [--only planted,flips,polis] [--seeds 3] [--data FOLDER] [--picture FILE]

`planted`: the people of `reward_planted.py` with tastes along three directions. A factor model learns from 200 of them,
100 more are met: every rule chooses from the same 2,000 pairs, the person answers by the logistic of their true margin,
and accuracy is against the sign of the true margin of 300 other pairs. Random questions are asked in three orders, the
first of them on to 200 answers. `flips`: the same, and one vote in ten is turned round, in training too. `polis`: real
votes of people who are held out, replayed. A rule chooses among the pairs that the person really voted on, and accuracy
is on a third of their votes, which nobody may ask for; needs `polis_bowling_green.parquet` and its embeddings in the
folder `--data`. Intervals are the central 95 % over people of all seeds, drawn with replacement. The last tables say
where an interview would have ended by itself.
"""

from __future__ import annotations

import argparse
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from figures import add_options, machine, save_picture, write
from reward_planted import World
from table import number

from prlhf.config.rewards import Factor
from prlhf.config.rewards.features import Stored
from prlhf.data import load_comparisons
from prlhf.evaluation.bootstrap import COVERAGE, resample_sums
from prlhf.rewards import States, VectorReward, Votes, fit_reward
from prlhf.rewards.asking import DEFAULT, RULES, Belief, Pool, suggest
from prlhf.rewards.features import make_features

PARTS = ("planted", "flips", "polis")
FLIPS = {"planted": 0.0, "flips": 0.1}
LONG = 200
"""Random answers that the gap is counted to."""
SHOWN = (0, 1, 2, 3, 5, 7, 10, 15, 20, 30, 40)
LEAST = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3)
"""Nats of the best question, below which an interview may end."""
DRAWS = 2000

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Size:
    """How much of everything; as told at the head, or so little that it takes seconds."""

    users: int = 200
    strangers: int = 100
    each: int = 200
    items: int = 2000
    pairs: int = 2000
    tests: int = 300
    orders: int = 3
    answers: int = 40
    fewer_answers: int = 20
    """In the other parts than `planted`."""
    least_votes: int = 45
    """Of a participant who is replayed."""


QUICK = Size(40, 6, 50, 500, 200, 50, 1, 6, 3)


@dataclass(frozen=True)
class Person:
    """Somebody to be met: what may be asked, whether they prefer a in each, and how well a state knows them."""

    pool: Pool
    likes: npt.NDArray[np.bool_]
    accuracy: Callable[[States], float]


def followed(model: VectorReward, person: Person, rule: str, answers: int, seed: int = 0) -> tuple[Floats, Floats]:
    """Accuracy after 0, 1, …, `answers` answers; and the nats that each question was expected to tell."""
    state, told, nats = model.users.states.take(slice(0, 1)), [], []
    found = [person.accuracy(state)]
    keys = [f"{key:016x}" for key in person.pool.votes.pair.tolist()]
    order = np.random.default_rng(seed).permutation(len(keys)).tolist()
    for i in range(min(answers, len(keys))):
        if rule == "random":
            told.append(order[i])
        else:
            [one] = suggest(model, person.pool, state, 1, rule, [keys[place] for place in told])
            told.append(one.place)
            nats.append(one.nats)
        state = model.states_of(voted(person, np.array(told)))
        found.append(person.accuracy(state))
    return np.array(found), np.array(nats)


def voted(person: Person, places: Ints) -> Votes:
    """Their answers to these questions."""
    some, up = person.pool.votes.take(places), person.likes[places]
    chosen, rejected = np.where(up, some.chosen, some.rejected), np.where(up, some.rejected, some.chosen)
    nobody = np.zeros(len(places), np.int64)
    return replace(some, chosen=chosen, rejected=rejected, user=nobody, names=("new",)).compact()


# -- the worlds --------------------------------------------------------------------------------------------------------


def planted(seed: int, size: Size, flips: float) -> tuple[VectorReward, Iterator[Person], Callable[[Person], float]]:
    """A model, the people to be met, and how well 200 random answers tell one."""
    drawn = {"users": size.users, "strangers": size.strangers, "each": size.each, "items": size.items}
    world = World.draw(seed, **drawn, rank=3, flips=flips)
    model = fit_reward(Factor(), world.known, seed=seed)
    rng = np.random.default_rng(seed + 2000)
    pool, tests = (Pool.of_votes(model, _pairs(world.known, n, rng)) for n in (size.pairs, size.tests))

    def people() -> Iterator[Person]:
        for taste in world.truth[size.users :]:
            margin, truth = (taste[p.votes.chosen] - taste[p.votes.rejected] for p in (pool, tests))
            likes = rng.random(len(pool)) < 1 / (1 + np.exp(-margin))
            likes ^= rng.random(len(pool)) < flips
            yield Person(pool, likes, _accuracy(model, tests, truth > 0))

    def known(person: Person) -> float:
        order = np.random.default_rng(0).permutation(len(pool))[:LONG]
        return person.accuracy(model.states_of(voted(person, order)))

    return model, people(), known


def _pairs(votes: Votes, count: int, rng: np.random.Generator) -> Votes:
    """Pairs of the responses in `votes`, drawn."""
    m = len(votes.items)
    a = rng.integers(m, size=count)
    b = (a + rng.integers(1, m, size=count)) % m
    one = np.ones(count)
    key = (np.minimum(a, b) * m + np.maximum(a, b)).astype(np.uint64)
    nobody = np.full(count, -1)
    return Votes(votes.items, a, b, nobody, ("new",), one, one, 0 * one, key)


def _accuracy(model: VectorReward, tests: Pool, up: npt.NDArray[np.bool_]) -> Callable[[States], float]:
    return lambda state: float(((Belief.of(model, tests, state).margin > 0) == up).mean())


def polis(seed: int, size: Size, folder: Path) -> tuple[VectorReward, Iterator[Person], Callable[[Person], float]]:
    """The same of real participants; all that may be asked stands in the place of 200 random answers."""
    log = load_comparisons(str(folder / "polis_bowling_green.parquet"))
    stored = Stored(path=str(folder / "polis_bowling_green_embeddings.parquet"))
    rng = np.random.default_rng(seed)
    rows = list(log.comparisons)
    count = Counter(c.user for c in rows if c.user is not None)
    new = sorted(name for name, n in sorted(count.items()) if n >= size.least_votes and rng.random() < 0.4)[
        : size.strangers
    ]
    held = set(new)
    old = [c for c in rows if c.user not in held]
    features = make_features(stored, old)
    whole = Votes.of(rows, features)
    known = whole.take(np.array([c.user not in held for c in rows]))
    names = sorted({c.user for c in old if c.user is not None})
    model = fit_reward(Factor(), known.of_users(names).compact(), seed=seed)

    def people() -> Iterator[Person]:
        for name in new:
            own = whole.take(np.flatnonzero(whole.user == whole.names.index(name)))
            order = rng.permutation(len(own))
            cut = len(own) // 3
            tests, asked = (own.take(some) for some in (order[:cut], order[cut:]))
            right = _accuracy(model, Pool.of_votes(model, tests), np.ones(cut, bool))
            yield Person(Pool.of_votes(model, asked), np.ones(len(asked), bool), right)

    return model, people(), lambda p: p.accuracy(model.states_of(voted(p, np.arange(len(p.pool)))))


# -- measuring ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Curves:
    """Of n people of all seeds: accuracy by rule `[n, 1 + answers]`, with everything known `[n]`, and the nats of each
    question by the default rule `[n, answers]`."""

    by_rule: dict[str, Floats]
    known: Floats
    nats: Floats


def measured(part: str, seeds: int, size: Size, folder: Path) -> Curves:
    """Every rule on the same people."""
    answers = size.answers if part == "planted" else size.fewer_answers
    by_rule: dict[str, list[Floats]] = {rule: [] for rule in (*RULES, "random")}
    known, nats = [], []
    for seed in range(seeds):
        model, people, full = polis(seed, size, folder) if part == "polis" else planted(seed, size, FLIPS[part])
        for place, person in enumerate(people):
            for rule in RULES:
                found, told = followed(model, person, rule, answers)
                by_rule[rule].append(found)
                if rule == DEFAULT:
                    nats.append(told)
            orders = [followed(model, person, "random", answers, 7 * place + i)[0] for i in range(size.orders)]
            by_rule["random"].append(np.mean(orders, 0))
            known.append(full(person))
        print(f"{part}, seed {seed}: {len(known)} people so far", flush=True)
    return Curves({rule: np.array(found) for rule, found in by_rule.items()}, np.array(known), np.array(nats))


def interval(columns: Floats, of: Callable[[Floats], Floats] = lambda means: means[:, 0]) -> list[float]:
    """A function of the means over people of `columns` `[n, c]`, with its interval; `of`: `[draws, c]` -> `[draws]`."""
    drawn = of(resample_sums(columns, DRAWS, 0) / len(columns))
    middle = float(of(columns.mean(0, keepdims=True))[0])
    tail = (1 - COVERAGE) / 2
    return [middle, *(float(q) for q in np.nanquantile(drawn, [tail, 1 - tail]))]


def table(part: str, curves: Curves) -> list[dict[str, Any]]:
    """Accuracy of each rule after some answers."""
    long = "all that may be asked" if part == "polis" else f"{LONG} random"
    rows = []
    for rule, found in curves.by_rule.items():
        some = [k for k in SHOWN if k < found.shape[1]]
        row: dict[str, Any] = {"table": f"{part}: accuracy after so many answers", "": rule}
        row |= {str(k): interval(found[:, k : k + 1]) for k in some}
        rows.append(row | {long: interval(curves.known[:, None])})
    return rows


def figures(part: str, curves: Curves) -> list[dict[str, Any]]:
    """What was wanted, for every rule."""
    rows, random = [], curves.by_rule["random"]
    ten, twenty = min(10, random.shape[1] - 1), min(20, random.shape[1] - 1)
    for rule, found in curves.by_rule.items():
        gap = np.stack([found[:, 0], found[:, ten], curves.known], 1)
        closed = interval(gap, _share)
        both = np.column_stack([random[:, twenty], found])
        enough = interval(both, lambda m: _first(m[:, 1:] >= m[:, :1]))
        ahead = np.stack([found[:, ten], curves.by_rule[DEFAULT][:, ten]], 1)
        row = {
            "table": f"{part}: wanted are a gap closed by 0.7 or more, and at most 10 answers",
            "": rule,
            f"gap closed by {ten} answers": closed,
        }
        row |= {f"answers to random's accuracy at {twenty}": enough}
        points = interval(100 * ahead, lambda m: m[:, 0] - m[:, 1])
        rows.append(row | {f"points above {DEFAULT} at {ten}": points})
    return rows


def _share(means: Floats) -> Floats:
    """(second - first) / (third - first), NaN where there is no gap `[draws]`."""
    start, now, end = means.T
    return np.divide(now - start, end - start, out=np.full(len(means), np.nan), where=end != start)


def _first(reached: npt.NDArray[np.bool_]) -> Floats:
    """The first column that is true, NaN where none is `[draws]`."""
    return np.where(reached.any(1), reached.argmax(1), np.nan)


def stops(part: str, curves: Curves) -> list[dict[str, Any]]:
    """Where interviews by the default rule end when they end by themselves."""
    found, rows = curves.by_rule[DEFAULT], []
    people = np.arange(len(found))
    for least in LEAST:
        below = curves.nats < least
        at = np.where(below.any(1), below.argmax(1), below.shape[1])
        gain = np.stack([found[:, 0], found[people, at], found[:, -1]], 1)
        row: dict[str, Any] = {"table": f"{part}: stop below so many nats", "": least}
        row |= {"answers, mean": float(at.mean()), "most": int(at.max()), "accuracy": interval(gain[:, 1:2])}
        share = interval(gain, _share)
        rows.append(row | {f"of the gain of {found.shape[1] - 1} answers": share})
    return rows


def picture(path: Path, rows: list[dict[str, Any]]) -> None:
    """Accuracy against answers, with intervals for the default rule and for random questions; `rows` of `table`."""
    from matplotlib.figure import Figure

    parts = [part for part in PARTS if any(row["table"].startswith(f"{part}: accuracy") for row in rows)]
    titles = {"planted": "planted people", "flips": "one vote in ten turned round", "polis": "Polis, replayed"}
    drawn = Figure(figsize=(4.2 * len(parts), 3.4), layout="constrained")
    for axes, part in zip(np.ravel(drawn.subplots(1, len(parts))), parts, strict=True):
        for row in (row for row in rows if row["table"].startswith(f"{part}: accuracy")):
            at = [int(key) for key in row if key.isdecimal()]
            values = np.array([row[str(k)] for k in at])
            bold = row[""] in (DEFAULT, "random")
            [line] = axes.plot(at, values[:, 0], ".-", label=row[""], linewidth=2 if bold else 1)
            if bold:
                axes.fill_between(at, values[:, 1], values[:, 2], alpha=0.15, color=line.get_color(), linewidth=0)
        long = next(key for key in row if key.startswith((str(LONG), "all")))
        axes.axhline(row[long][0], color="grey", linestyle=":", linewidth=1)
        name = long if long.startswith("all") else f"{long} answers"
        axes.annotate(name, (0, row[long][0]), fontsize=8, color="grey", va="bottom")
        axes.set(title=titles[part], xlabel="answers", ylabel="accuracy", xticks=range(0, at[-1] + 1, 5))
        axes.legend(frameon=False, fontsize=8, loc="lower right")
    save_picture(drawn, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data", type=Path, default=Path("shared/data"), help="of polis")
    parser.add_argument("--picture", type=Path, metavar="FILE.png")
    given = parser.parse_args()
    logging.disable(logging.INFO)
    size = QUICK if given.quick else Size()
    given.seeds = 1 if given.quick else given.seeds
    rows: list[dict[str, Any]] = []
    found = {part: measured(part, given.seeds, size, given.data) for part in given.only.split(",")}
    for part, curves in found.items():
        rows += [*table(part, curves), *figures(part, curves), *stops(part, curves)]
    for row in rows:
        print("  ".join(f"{key}: {number(value)}" for key, value in row.items()), flush=True)
    if given.picture is not None:
        picture(given.picture, rows)
    write(given.json, "onboarding", machine(), vars(given), rows)


if __name__ == "__main__":
    main()
