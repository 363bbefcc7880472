"""Reward models: meeting one person or a million, choosing what to ask, and learning at the size of PRISM.

    python benchmarks/reward_speed.py [--quick] [--only one,million,suggest,prism] [--threads 2] [--json FILE]

`one` and `million`: `factor`'s fold-in at rank 16 with the pairs' loadings given, beside the same posterior's maximum
by scipy (BFGS) and by scikit-learn's logistic regression, one person after the other. `suggest`: the pair of 10⁵ (rank
16) whose answer is expected to tell most, once the pool is prepared, beside the same by 100 people drawn from the
posterior (as a committee, all pairs at once) and by Gauss-Hermite quadrature pair by pair; and what ten votes cost
from stored features to a state. `prism`: 1,400 people, 27,000 pairs and 4,096 features; `factor` beside our `bt`,
Bradley-Terry by 1,000 steps of Adam (LoRe with one reward) and LoRe, whose best step and setting of a grid are found on
the same validation votes; its time is that of the chosen setting alone, the whole search's is told beside it. Every fit
is a process of its own, for its peak memory.

The planted people of `prism` are none that `factor` assumes: they are in camps, cast very different numbers of votes,
and tastes are heavy-tailed weights of latent qualities that the features mix; pairs share a prompt, and a few features
are huge. Besides there is a world where all people are the same, and one with isotropic features.
CPU seconds are of all threads; they and wall clock differ where the machine is shared.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from figures import add_options, machine, write
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from table import number
from threadpoolctl import threadpool_limits

from prlhf.config.rewards import Bt, Factor, Lore
from prlhf.config.rewards.base import AnyReward
from prlhf.rewards import Items, States, UserTable, Votes, fit_reward
from prlhf.rewards.asking import RULES, Belief, Pool
from prlhf.rewards.asking.expectations import entropy
from prlhf.rewards.base import Loadings
from prlhf.rewards.factor import FactorReward
from prlhf.rewards.factor.posterior import Evidence, meet

PARTS = ("one", "million", "suggest", "prism")
RANK = 16
GB = 1e9


@dataclass(frozen=True)
class Size:
    """How much of everything; as promised, or so little that it takes seconds."""

    repeats: int = 500
    people: int = 1_000_000
    at_once: int = 100_000
    alternative: int = 200
    questions: int = 100_000
    asked: int = 20
    users: int = 1_400
    pairs: int = 27_000
    features: int = 4_096
    held: int = 2_700
    """Validation votes; twice as many are test votes."""
    steps: int = 1_000
    temperatures: tuple[float, ...] = (100.0, 1000.0)
    decays: tuple[float, ...] = (10.0, 100.0)


QUICK = Size(20, 400, 200, 5, 500, 2, 8, 120, 12, 50, 20, (100.0,), (10.0,))


# -- meeting people ----------------------------------------------------------------------------------------------------


def evidence(people: int, each: int, seed: int) -> tuple[Evidence, np.ndarray]:
    """Votes of planted people in `RANK` directions, weaker and weaker, all chosen first."""
    rng = np.random.default_rng(seed)
    phi = rng.standard_normal((people * each, RANK)) * np.linspace(0.6, 0.1, RANK)
    who, offset = np.repeat(np.arange(people), each), rng.standard_normal(people * each)
    margin = offset + (phi * rng.standard_normal((people, RANK))[who]).sum(1)
    sign = np.where(rng.random(len(who)) < expit(margin), 1.0, -1.0)
    one = np.ones(len(who))
    return Evidence(phi * sign[:, None], np.full_like(phi, 0.01), offset * sign, 0.01 * one, one, one), who


def by_scipy(votes: Evidence) -> np.ndarray:
    """The maximum `[k]` of the posterior, without the doubt about loadings."""

    def loss(mean: np.ndarray) -> tuple[float, np.ndarray]:
        z = votes.offset + votes.phi @ mean
        return np.logaddexp(0, -z).sum() + mean @ mean / 2, mean - votes.phi.T @ expit(-z)

    return np.asarray(minimize(loss, np.zeros(RANK), jac=True, method="BFGS").x)


def by_sklearn(votes: Evidence) -> np.ndarray:
    """The same without the crowd's part, which it has no place for."""
    both, sides = np.concatenate([votes.phi, -votes.phi]), np.repeat([1, 0], len(votes.phi))
    model = LogisticRegression(C=0.5, fit_intercept=False).fit(both, sides)  # each vote is there twice
    return np.asarray(model.coef_[0])


def by_us(votes: Evidence, flips: float = 0.0) -> np.ndarray:
    """`factor`'s fold-in."""
    return meet(votes, np.zeros(len(votes.phi), np.int64), np.zeros((1, RANK)), flips)[0][0]


def check(votes: Evidence) -> None:
    """One person's posterior is where scipy's is, and its covariance is Laplace's."""
    sure = votes._replace(phi_variance=0 * votes.phi, unsure=0 * votes.offset)
    [mean], [covariance] = meet(sure, np.zeros(len(sure.phi), np.int64), np.zeros((1, RANK)), 0.0)
    p = expit(sure.offset + sure.phi @ mean)
    expected = np.linalg.inv((sure.phi.T * (p * (1 - p))) @ sure.phi + np.eye(RANK))
    assert np.allclose(covariance, expected, atol=1e-8), "the covariance is not Laplace's"
    assert np.abs(mean - by_scipy(sure)).max() < 0.15, "the mean is far from the maximum"


def one(size: Size) -> tuple[list[dict[str, Any]], list[str]]:
    """One person with 10 votes: CPU milliseconds each way, the median of many people."""
    people = [evidence(1, 10, seed)[0] for seed in range(size.repeats)]
    check(people[0])
    ways: dict[str, Callable[[Evidence], np.ndarray]] = {
        "factor": by_us,
        "factor, 5 % of votes flipped": lambda votes: by_us(votes, 0.05),
        "scipy, BFGS, without covariance": by_scipy,
        "scikit-learn, without covariance": by_sklearn,
    }
    found = {name: [1e3 * timed(way, votes)[1] for votes in people] for name, way in ways.items()}
    middle = {name: statistics.median(times) for name, times in found.items()}
    rows = [
        {
            "table": "one person, 10 votes, rank 16",
            "": name,
            "CPU, ms": [middle[name], *(float(q) for q in np.quantile(times, [0.25, 0.75]))],
            "x factor": middle[name] / middle["factor"],
        }
        for name, times in found.items()
    ]
    return rows, [f"one person: {middle['factor']:.3f} ms CPU (promised <= 1)"]


def million(size: Size) -> tuple[list[dict[str, Any]], list[str]]:
    """Many people with 20 votes each, in chunks."""
    rows = []
    for name, flips in (("factor", 0.0), ("factor, 5 % of votes flipped", 0.05)):
        cpu = wall = 0.0
        for chunk in range(size.people // size.at_once):
            votes, who = evidence(size.at_once, 20, chunk)
            nobody = np.zeros((size.at_once, RANK))
            (mean, _), used, took = timed(meet, votes, who, nobody, flips)
            alone = by_us(Evidence(*(column[:20] for column in votes)), flips)
            assert np.abs(mean[0] - alone).max() < 1e-3, "together and alone are not the same"
            cpu, wall = cpu + used, wall + took
        rows.append(line(name, size.people, cpu, wall))
    votes, who = evidence(size.alternative, 20, 0)
    start, clock = time.process_time(), time.perf_counter()
    for person in range(size.alternative):
        by_scipy(Evidence(*(column[who == person] for column in votes)))
    cpu, wall = time.process_time() - start, time.perf_counter() - clock
    rows.append(line("scipy, BFGS, without covariance", size.alternative, cpu, wall))
    whole = f"{rows[0]['for 10⁶: CPU, s']:.0f} s CPU and {rows[0]['wall, s']:.0f} s of wall clock"
    return rows, [f"10⁶ people with 20 votes, one process and thread: {whole} (promised <= 300 s on 2 cores)"]


def line(name: str, people: int, cpu: float, wall: float) -> dict[str, Any]:
    """Of `million`, brought to 10⁶ people."""
    times = 1e6 / people
    return {
        "table": "a million people, 20 votes each, rank 16", "": name, "people really met": people,
        "for 10⁶: CPU, s": cpu * times, "wall, s": wall * times, "peak of the process, GB": peak() / GB,
    }  # fmt: skip


# -- choosing what to ask ----------------------------------------------------------------------------------------------


def pool_of(pairs: int, seed: int = 0) -> tuple[Pool, FactorReward]:
    """Pairs whose margins depend on people in `RANK` directions, weaker and weaker; a model to ask with."""
    rng = np.random.default_rng(seed)
    phi = rng.standard_normal((pairs, RANK)) * np.linspace(0.6, 0.1, RANK)
    common = rng.standard_normal(pairs)
    items = Items(np.arange(2 * pairs, dtype=np.uint64), np.zeros((2 * pairs, 0), np.float32))
    a, one = np.arange(pairs), np.ones(pairs)
    keys = rng.integers(1 << 62, size=pairs).astype(np.uint64)
    votes = Votes(items, a, a + pairs, 0 * a, ("new",), one, one, 0 * one, keys)
    generic = States({"l": np.zeros((1, RANK)), "s": np.eye(RANK)[None]}, np.zeros(1, np.int64))
    flips = {"flips": np.zeros(1), "doubt": np.ones(1)}
    model = FactorReward(Factor(), flips, UserTable.of(generic, [], generic.take(slice(0, 0))))
    loadings = Loadings(common, 0.01 * one, phi, np.full_like(phi, 0.01))
    return Pool(votes, loadings, phi.T @ phi / pairs), model


def by_draws(pool: Pool, draws: int = 100) -> np.ndarray:
    """The mutual information of every pair `[m]`, by people drawn from N(0, 1); none of what is unsure besides."""
    assert pool.loadings is not None
    people = np.random.default_rng(0).standard_normal((RANK, draws))
    p = expit(pool.loadings.phi @ people + pool.loadings.common[:, None])
    return np.asarray(entropy(p.mean(1)) - entropy(p).mean(1))


def by_quadrature(pool: Pool, pairs: int) -> np.ndarray:
    """The same of the first `pairs`, one after the other."""
    assert pool.loadings is not None
    nodes, weights = np.polynomial.hermite_e.hermegauss(21)
    weights, found = weights / weights.sum(), np.empty(pairs)
    for i in range(pairs):
        phi = pool.loadings.phi[i]
        p = expit(pool.loadings.common[i] + np.sqrt(phi @ phi) * nodes)
        found[i] = entropy(np.array(p @ weights)) - entropy(p) @ weights
    return found


def questions(size: Size) -> tuple[list[dict[str, Any]], list[str]]:
    """CPU milliseconds to choose a question, each way, and what an answer costs."""
    (pool, model), part = pool_of(size.questions), max(size.questions // 20, 1)
    exact = by_quadrature(pool, part)
    start = Belief.of(model, pool, model.users.states)
    assert np.abs(start.information[:part] - exact).max() < 0.02, "the information is not the integral"
    asked = [f"{key:016x}" for key in pool.votes.pair[:20].tolist()]
    ways: dict[str, Callable[[], Any]] = {
        f"{rule}, n = {n}": lambda rule=rule, n=n: model.suggest(pool, None, n, rule, asked)
        for rule in RULES
        for n in (1, 10)
    }
    ways["100 people drawn, n = 1"] = lambda: by_draws(pool)
    rows = {name: [1e3 * timed(way)[1] for _ in range(size.asked)] for name, way in ways.items()}
    rows["quadrature pair by pair, n = 1"] = [1e3 * timed(by_quadrature, pool, part)[1] * size.questions / part]
    ours = statistics.median(rows["information, n = 1"])
    head = f"{size.questions:,} pairs, rank {RANK}, 20 of them asked"
    table = [spread_of(head, name, times, "x information, n = 1", ours) for name, times in rows.items()]
    answers = [1e3 * timed(*answered(seed))[1] for seed in range(size.repeats)]
    table.append(spread_of("an answer", "10 votes to a state, 384 features stored", answers, "", None))
    middle = statistics.median(answers)
    question = f"a question out of {size.questions:,} pairs: {ours:.1f} ms CPU (promised <= 100)"
    return table, [question, f"ten votes on stored features to a state: {middle:.2f} ms CPU (promised <= 1)"]


def spread_of(table: str, name: str, times: list[float], ratio: str, of: float | None) -> dict[str, Any]:
    """A row of median and quartiles."""
    middle = statistics.median(times)
    cpu = [middle, *(float(q) for q in np.quantile(times, [0.25, 0.75]))]
    return {"table": table, "": name, "CPU, ms": cpu, **({} if of is None else {ratio: middle / of})}


@cache
def taught(width: int) -> tuple[FactorReward, Votes]:
    """A factor model of `RANK` directions at most, and votes of nobody that it knows."""
    rng = np.random.default_rng(0)
    m, b, people = 500, 4000, 50
    x, user = rng.standard_normal((m, width)).astype(np.float32), np.repeat(np.arange(people), b // people)
    a, other = rng.integers(m, size=b), rng.integers(1, m, size=b)
    tastes = rng.standard_normal((people, RANK)) @ rng.standard_normal((RANK, width)) / width**0.5
    margin = ((x[a] - x[(a + other) % m]) * tastes[user]).sum(1)
    up, one = rng.random(b) < expit(margin), np.ones(b)
    c = np.where(up, a, (a + other) % m)
    r = np.where(up, (a + other) % m, a)
    names = tuple(f"{i:02d}" for i in range(people))
    votes = Votes(
        Items(np.arange(m, dtype=np.uint64), x), c, r, user, names, one, one, 0 * one, np.arange(b, dtype=np.uint64)
    )
    options: dict[str, Any] = {"personal": 1.0, "personal_items": 1.0, "rank": RANK, "nonlinear": "off", "flips": 0.0}
    model = fit_reward(Factor(**options, iterations=3), votes)
    assert isinstance(model, FactorReward)
    return model, votes


def answered(seed: int) -> tuple[Callable[[Votes], Any], Votes]:
    """Meeting somebody by ten votes, of which the features are known."""
    model, votes = taught(384)
    some = votes.take(np.random.default_rng(seed).choice(len(votes), 10, replace=False))
    return model.states_of, replace(some, user=np.zeros(10, np.int64), names=("new",)).compact()


# -- learning ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class World:
    """Planted people; `rank` tastes in which they differ."""

    name: str
    rank: int
    isotropic: bool = False


WORLDS = (World("camps", 6), World("all the same", 0), World("isotropic", 4, isotropic=True))


def plant(world: World, size: Size, folder: Path) -> None:
    """Write `x.npy` and the votes of each part: training, validation, test."""
    rng = np.random.default_rng(0)
    latent = size.features if world.isotropic else min(256, size.features)
    falling = np.ones(latent) if world.isotropic else np.arange(1, latent + 1) ** -0.5
    mix = None if world.isotropic else rng.standard_normal((latent, size.features)).astype(np.float32)
    tastes = rng.standard_t(3, (latent, 1 + world.rank)) * falling[:, None]
    camps = rng.standard_normal((5, world.rank))
    people = camps[rng.integers(5, size=size.users)] + 0.5 * rng.standard_normal((size.users, world.rank))
    busy = rng.lognormal(0, 0.8, size.users)
    scale = None
    for part, count in (("train", size.pairs), ("validation", size.held), ("test", 2 * size.held)):
        user = rng.choice(size.users, count, p=busy / busy.sum())
        x = np.empty((2 * count, size.features), np.float32)
        margins = np.empty((count, 1 + world.rank))
        for start in range(0, count, 2000):
            some = slice(start, min(start + 2000, count))
            t = rng.standard_normal((some.stop - start, 2, latent)) * falling
            margins[some] = (t[:, 0] - t[:, 1]) @ tastes
            if mix is not None:
                prompt = 2 * rng.standard_normal((len(t), 1, latent)) * falling
                shown = np.tanh(t + prompt).astype(np.float32) @ mix
                shown += 0.05 * rng.standard_normal(shown.shape, np.float32)
                shown[:, :, :3] = 30 * shown[:, :, :3] + 500  # as hidden states have them
                t = shown
            x[2 * start : 2 * some.stop] = t.reshape(-1, size.features)
        scale = margins.std(0) if scale is None else scale
        margins = margins / scale
        margin = 1.2 * margins[:, 0] + (people[user] * margins[:, 1:]).sum(1) / max(world.rank, 1) ** 0.5
        up = rng.random(count) < expit(margin)
        np.save(folder / f"{part}-x.npy", x)
        np.savez(folder / f"{part}.npz", user=user, up=up, margin=np.where(up, margin, -margin))


def votes_of(part: str, size: Size, folder: Path) -> tuple[Votes, np.ndarray]:
    """The votes of a part, and the true margin of each."""
    x, held = np.load(folder / f"{part}-x.npy"), np.load(folder / f"{part}.npz")
    places, start = np.arange(len(x)).reshape(-1, 2), {"train": 0, "validation": 1 << 40, "test": 2 << 40}[part]
    keys = np.random.default_rng(start).integers(1 << 62, size=len(x)).astype(np.uint64)
    chosen = np.where(held["up"], places[:, 0], places[:, 1])
    one = np.ones(len(chosen))
    names = tuple(f"user-{i:05d}" for i in range(size.users))
    votes = Votes(Items(keys, x), chosen, places.sum(1) - chosen, held["user"], names, one, one, 0 * one, keys[::2])
    return votes, held["margin"]


def learn(config: AnyReward, size: Size, folder: Path) -> dict[str, Any]:
    """A fit, its time and memory, and its log-loss on votes that it has not seen."""
    before = peak()
    votes, _ = votes_of("train", size, folder)
    data = votes.items.x.nbytes
    validation = votes_of("validation", size, folder)[0] if isinstance(config, Lore) else None
    model, cpu, wall = timed(lambda: fit_reward(config, votes, validation=validation))
    highest = peak()
    del votes
    told = {part: judged(model, part, size, folder) for part in ("validation", "test")}
    assert all(np.isfinite(value) for part in told.values() for value in part)
    return {
        "wall, s": wall, "CPU, s": cpu, "peak, GB": highest / GB, "of it data, GB": data / GB,
        "and the libraries, GB": before / GB, "log-loss": told["test"][0], "accuracy": told["test"][1],
        "validation": told["validation"][0], "directions": getattr(model, "rank", None),
    }  # fmt: skip


def judged(model: Any, part: str, size: Size, folder: Path) -> tuple[float, float]:
    """Log-loss, and how often the margin has the sign of the vote."""
    votes, _ = votes_of(part, size, folder)
    margin = model.margins(votes)
    p = np.clip(model.probability_of(margin), 1e-12, 1 - 1e-12)
    return float(-np.log(p).mean()), float((margin.mean > 0).mean())


def prism(size: Size, worlds: list[str], contestants: list[str], threads: int, quick: bool) -> tuple[list[Any], Any]:
    """Every contestant in every world."""
    rows, remarks = [], []
    for world in (w for w in WORLDS if w.name in worlds):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            apart(quick, threads, plant, world, size, folder)
            margin = np.load(folder / "test.npz")["margin"]
            truth = float(np.logaddexp(0, -margin).mean())
            found = {}
            for contestant in contestants:
                found[contestant] = tuned(contestant, size, folder, threads, quick)
                print(f"{world.name}, {contestant}: {told(found[contestant])}", flush=True)
        ours = found.get("factor")
        for contestant, figures in found.items():
            times = (
                {} if ours is None else {f"{c} x factor": figures[f"{c}, s"] / ours[f"{c}, s"] for c in ("wall", "CPU")}
            )
            rows.append({"table": f"{world.name}: {world.rank} tastes", "": contestant, **figures, **times})
        remarks.append(f"{world.name}: log-loss under the true margins {truth:.4f}")
        remarks += [] if ours is None else verdicts(world, ours, found)
    return rows, remarks


def tuned(contestant: str, size: Size, folder: Path, threads: int, quick: bool) -> dict[str, Any]:
    """The figures of a contestant's best setting by validation."""
    adam: dict[str, Any] = {"steps": size.steps}
    grid = [{"temperature": t, "weight_decay": d} for t in size.temperatures for d in size.decays]
    configs: list[AnyReward] = {
        "factor": [Factor(rank=RANK)],
        "bt": [Bt()],
        "bt by Adam": [Lore(bases=1, **adam, **grid[-1])],
        "lore": [Lore(**adam, **each) for each in grid],
    }[contestant]
    found = [apart(quick, threads, learn, config, size, folder) for config in configs]
    best = min(range(len(found)), key=lambda i: found[i]["validation"])
    search = sum(figures["CPU, s"] for figures in found)
    setting = " ".join(f"{k}={v:g}" for k, v in grid[best].items()) if contestant == "lore" else None
    return {**found[best], "setting": setting, "CPU of the search, s": search}


def verdicts(world: World, ours: dict[str, Any], found: dict[str, dict[str, Any]]) -> list[str]:
    """What was promised, and what was found."""
    head = (
        f"{world.name}: factor took {ours['wall, s']:.0f} s of wall clock, {ours['CPU, s']:.0f} s CPU (promised <= 90)"
    )
    lines = [
        f"{head} and {ours['peak, GB']:.2f} GB (promised <= 2, of which the data are {ours['of it data, GB']:.2f})"
    ]
    for name, theirs in found.items():
        if name != "factor":
            less, share = theirs["log-loss"] - ours["log-loss"], ours["CPU, s"] / theirs["CPU, s"]
            whole = ours["CPU, s"] / theirs["CPU of the search, s"]
            better = "lower" if less >= 0 else "HIGHER"
            lines.append(
                f"{world.name}: against {name} factor's log-loss is {abs(less):.4f} {better} (promised: not higher), "
                f"in {share:.2f} of its CPU time (promised <= 0.2), {whole:.2f} of that of its tuning; "
                "factor tunes itself"
            )
    return lines


# -- measuring ---------------------------------------------------------------------------------------------------------


def timed(work: Callable[..., Any], *given: Any) -> tuple[Any, float, float]:
    """What it gives, CPU seconds of all threads, seconds of wall clock."""
    cpu, wall = time.process_time(), time.perf_counter()
    found = work(*given)
    return found, time.process_time() - cpu, time.perf_counter() - wall


def peak() -> int:
    """Largest resident memory of this process so far, in bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def apart(here: bool, threads: int, work: Callable[..., Any], *given: Any) -> Any:
    """What it gives, in a process of its own unless `here`."""
    if here:
        return work(*given)
    context = multiprocessing.get_context("fork")  # which has everything imported already
    with context.Pool(1, initializer=limit, initargs=(threads,)) as pool:
        return pool.apply(work, given)


def limit(threads: int) -> None:
    """So many threads for every library."""
    torch.set_num_threads(threads)
    threadpool_limits(threads)


def told(row: dict[str, Any]) -> str:
    """A line of the table, as text."""
    return ", ".join(f"{k} {number(v)}".strip() for k, v in row.items() if v is not None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas")
    parser.add_argument("--worlds", default=",".join(world.name for world in WORLDS), help="of prism, with commas")
    parser.add_argument("--contestants", default="factor,bt,bt by Adam,lore", help="of prism, with commas")
    parser.add_argument("--people", type=int, default=Size.people, help="of million")
    parser.add_argument("--steps", type=int, default=Size.steps, help="of Adam")
    parser.add_argument("--threads", type=int, default=2, help="of a fit")
    add_options(parser)
    args = parser.parse_args()
    size = QUICK if args.quick else Size(people=args.people, steps=args.steps)
    args.worlds = args.worlds.removesuffix(",isotropic") if args.quick else args.worlds
    about, rows, remarks = machine(args.threads), [], []
    print(about, flush=True)
    for part in args.only.split(","):
        if part == "prism":
            found = prism(size, args.worlds.split(","), args.contestants.split(","), args.threads, args.quick)
        else:
            found = apart(args.quick, 1, {"one": one, "million": million, "suggest": questions}[part], size)
            print("\n".join(told(row) for row in found[0]), flush=True)
        rows, remarks = rows + found[0], remarks + found[1]
    print("\n".join(remarks))
    write(args.json, "reward_speed", about, vars(args), rows, remarks)


if __name__ == "__main__":
    main()
