"""Best of n by a personal reward after ten votes, judged exactly in the planted world; guided decoding beside it.

    python benchmarks/best_of.py [--quick] [--parts features,pick,steer,guide] [--seeds 3] [--lm RUN] [--json FILE]

`factor` learns from the votes of some planted users. Users whom it never saw cast ten votes (one in ten flipped), which
are folded in; a language model that knows nobody writes candidates, the reward picks, and the planted judge compares
the pick with a single answer of the same language model at the same temperature, from another random stream (a tie is
half a win; intervals over users). The language model is the bundled base model, or with --lm the generic row of a run.

Candidates are drawn once for each question and picked from for every n, so that the seconds of `best of n` are those of
scoring and picking; all of them are drawn, but where a line says that the greedy answer is among them. The line
`prlhf best-of` is the library's own call, with the greedy answer. `features`: which features predict best for
further users, who are neither learned from nor judged; the best are used below. `pick`: n and votes. `steer`: beams of
partial answers beside best of n. `guide`: token-level guidance (guided.py), its weight chosen by the judge at the first
seed. "Generated", "read" (by the language model before it writes; what is shared counts once) and "scored" (given to
the reward model) are tokens by those of one plain answer; the total takes all three as alike.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from figures import add_options, machine, write
from guided import guided
from table import number

from prlhf.config.rewards import Factor, Hidden, TfIdf
from prlhf.data.planted import PlantedUser, World, utility
from prlhf.data.planted.draw import Draw
from prlhf.evaluation.winrate import WinRate, win_rate_of_utilities
from prlhf.generation import Pick, Picking, best_of, language_model
from prlhf.generation.picking import picked
from prlhf.lm import PersonalizedLM
from prlhf.lm.requests import Generation, GenerationOptions, Work, requests
from prlhf.rewards import RewardModel, Votes, fit_reward
from prlhf.rewards.features import make_features
from prlhf.types import Comparison

FEATURES: dict[str, Any] = {
    "tfidf": TfIdf(),
    "hidden, mean": Hidden(model="planted", pool="mean"),
    "hidden, mean of layer 0": Hidden(model="planted", pool="mean", layer=0),
}
"""All with surface features beside them."""
PARTS = ("features", "pick", "steer", "guide")
VOTES = 10
STEERING = f"ways to steer, {VOTES} votes"
WANTED = 0.75
WORK = Work(batch_size=64)
Answering = Callable[["Setting"], Sequence[Pick]]


@dataclass(frozen=True)
class Size:
    """How many people there are, how often they vote, and what each of the judged ones asks."""

    train: int = 60
    validation: int = 20
    judged: int = 30
    votes: int = 60
    prompts: int = 2
    model: Factor = field(default_factory=Factor)
    tokens: int = 64
    """The longest answer; the planted ones have about half of it."""


@dataclass
class Setting:
    """One seed: a world, a reward model of its first users, and the questions of its last ones."""

    world: World
    size: Size
    seed: int
    reward: RewardModel

    @cached_property
    def askers(self) -> list[PlantedUser]:
        return [u for u in self.world.users[-self.size.judged :] for _ in range(self.size.prompts)]

    @cached_property
    def prompts(self) -> list[str]:
        """Of held-out topics, drawn for each user."""
        people = self.world.users[-self.size.judged :]
        drawn = [Draw(self.seed, "best of", u.id).shuffled(self.world.test_prompts) for u in people]
        return [p for each in drawn for p in each[: self.size.prompts]]

    @property
    def ids(self) -> list[str]:
        return [u.id for u in self.askers]

    def first(self, votes: int) -> list[Comparison]:
        """The first votes of those who ask."""
        return [c for u in self.world.users[-self.size.judged :] for c in self.world.votes_of(u)[:votes]]

    def values(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([utility(u, text) for u, text in zip(self.askers, texts, strict=True)])


def world_of(size: Size, seed: int) -> World:
    return World(users=size.train + size.validation + size.judged, votes=size.votes, seed=seed)


def learned(world: World, size: Size, features: str, seed: int) -> RewardModel:
    """The reward model of the first users."""
    votes = [c for u in world.users[: size.train] for c in world.votes_of(u)]
    seen = make_features(FEATURES[features], votes)
    model = fit_reward(size.model, Votes.of(votes, seen), seed=seed)
    model.features = seen
    return model


def by_features(size: Size) -> list[dict[str, Any]]:
    """Accuracy for the validation users of seed 0."""
    world, rows = world_of(size, 0), []
    people = world.users[size.train : size.train + size.validation]
    parts = slice(0, VOTES), slice(VOTES, None)
    first, rest = ([c for u in people for c in world.votes_of(u)[part]] for part in parts)
    table = f"{len(people)} validation users of seed 0: accuracy on their further votes, a tenth of them flipped"
    for name in FEATURES:
        start = time.perf_counter()
        model = learned(world, size, name, 0)
        generic = float((model.margin(rest).mean > 0).mean())
        with model.meeting(first):
            met = float((model.margin(rest).mean > 0).mean())
        seconds = time.perf_counter() - start
        row = {"table": table, "features": name, "0 votes": generic, f"{VOTES} votes": met, "seconds": seconds}
        rows.append(told(row))
    return rows


def told(row: dict[str, Any]) -> dict[str, Any]:
    print("  ".join(f"{key}: {number(value)}" for key, value in row.items() if key != "table"), flush=True)
    return row


def rate(found: Sequence[tuple[Setting, Sequence[str], Sequence[str]]]) -> WinRate:
    """Of answers against others, over all seeds."""
    ours = np.concatenate([s.values(a) for s, a, _ in found])
    theirs = np.concatenate([s.values(b) for s, _, b in found])
    return win_rate_of_utilities(ours, theirs, [f"{s.seed}/{u}" for s, _, _ in found for u in s.ids])


def line(
    table: str, name: str, settings: Sequence[Setting], others: Sequence[Sequence[str]], votes: int, how: Answering
) -> dict[str, Any]:
    """A row of a table: how often the picks win, and what they took."""
    start, found, spent = time.perf_counter(), [], []
    for setting, other in zip(settings, others, strict=True):
        with setting.reward.meeting(setting.first(votes)):
            picks = how(setting)
        spent += [p.spent for p in picks]
        found.append((setting, [p.text for p in picks], other))
    seconds = (time.perf_counter() - start) / len(spent)
    single = float(np.mean([s.single for s in spent]))
    tokens = {n: float(np.mean([getattr(s, n) for s in spent])) / single for n in ("generated", "read", "scored")}
    wins = rate(found)
    row = {
        "table": table,
        "way": name,
        "votes": votes,
        "win rate": [wins.rate.value, wins.rate.low, wins.rate.high],
        "each seed": ", ".join(f"{rate([one]).rate.value:.2f}" for one in found),
        **tokens,
        "total": sum(tokens.values()),
        "seconds an answer": seconds,
    }
    return told(row)


class Sets:
    """Candidates of the generic user for each question, drawn once."""

    def __init__(self, lm: PersonalizedLM, settings: Sequence[Setting], most: int):
        self.lm = lm
        how: Any = {"temperature": 1.0, "batch_size": 64, "details": True}
        self.held: dict[int, list[list[Generation]]] = {}
        self.with_greedy: dict[int, list[list[Generation]]] = {}
        for s in settings:
            found = lm.generate(s.prompts, num_samples=most, max_new_tokens=s.size.tokens, seed=s.seed, **how)
            self.held[s.seed] = [found[k : k + most] for k in range(0, len(found), most)]
            greedy = lm.generate(s.prompts, max_new_tokens=s.size.tokens, batch_size=64, details=True)
            self.with_greedy[s.seed] = [[one, *some] for one, some in zip(greedy, self.held[s.seed], strict=True)]

    def best(self, n: int, greedy: bool = False, **picking: Any) -> Answering:
        """The best of the first n of each; with `greedy`, of the greedy answer and the first n - 1."""

        def answer(s: Setting) -> Sequence[Pick]:
            asked = [replace(r, user=u) for r, u in zip(requests(self.lm, s.prompts), s.ids, strict=True)]
            held = (self.with_greedy if greedy else self.held)[s.seed]
            return picked(self.lm, s.reward, asked, [one[:n] for one in held], Picking(n, greedy, **picking))

        return answer


def best(lm: PersonalizedLM, **picking: Any) -> Answering:
    """`best_of`, as the library has it."""

    def answer(setting: Setting) -> Sequence[Pick]:
        options = GenerationOptions(setting.size.tokens, 1.0, seed=setting.seed)
        how: Any = {"picking": Picking(**picking), "options": options, "work": WORK}
        return best_of(lm, setting.reward, setting.prompts, setting.ids, **how)

    return answer


def tokenwise(lm: PersonalizedLM, weight: float, top: int) -> Answering:
    """Token-level guidance."""
    return lambda s: guided(lm, s.reward, s.prompts, s.ids, weight=weight, top=top, most=s.size.tokens)


def plain(lm: PersonalizedLM, settings: Sequence[Setting], temperature: float = 1.0) -> list[list[str]]:
    """Single answers of the generic user."""
    how: Any = {"temperature": temperature, "batch_size": 64}
    return [lm.generate(s.prompts, seed=1000 + s.seed, max_new_tokens=s.size.tokens, **how) for s in settings]


def pick(lm: PersonalizedLM, settings: Sequence[Setting], sets: Sets, counts: Sequence[int]) -> list[dict[str, Any]]:
    """The curve over n and votes."""
    others, greedy = plain(lm, settings), plain(lm, settings, 0.0)
    table, most = "best of n against one plain answer", counts[-1]
    rows = [line(table, f"best of {n}", settings, others, v, sets.best(n)) for v in (0, VOTES) for n in counts]
    bound = sets.best(most, by="lcb")
    rows.append(line(table, f"best of {most}, mean - 1 sd", settings, others, VOTES, bound))
    rows.append(line(table, f"best of {most}, against a greedy answer", settings, greedy, VOTES, sets.best(most)))
    among = f"best of {most}, the greedy answer among them"
    for name, other in ((among, others), (f"{among}, against a greedy answer", greedy)):
        rows += [line(table, name, settings, other, v, sets.best(most, greedy=True)) for v in (0, VOTES)]
    rows.append(line(table, f"prlhf best-of, n = {most}", settings, others, VOTES, best(lm, n=most)))
    return rows


def steer(lm: PersonalizedLM, settings: Sequence[Setting], sets: Sets, quick: bool) -> list[dict[str, Any]]:
    """Best of n and beams, by what they take."""
    others, table = plain(lm, settings), STEERING
    ways = [(f"best of {n}", sets.best(n)) for n in ((2,) if quick else (4, 8, 16, 32, 64))]
    beams = ((4, 2, 8),) if quick else ((4, 1, 8), (8, 2, 8), (16, 4, 8), (16, 4, 16))
    ways += [
        (f"beams: {n} every {chunk} tokens, {keep} kept", best(lm, n=n, beams=keep, chunk=chunk))
        for n, keep, chunk in beams
    ]
    return [line(table, name, settings, others, VOTES, how) for name, how in ways]


def guide(lm: PersonalizedLM, settings: Sequence[Setting], quick: bool) -> list[dict[str, Any]]:
    """Token-level guidance, at the weight that is best at the first seed."""
    others = plain(lm, settings)
    weights, top = ((1.0,), 2) if quick else ((0.1, 0.3, 1.0, 3.0), 4)
    trial = f"weights of guidance by {top} tokens, seed {settings[0].seed} alone"
    tried = [line(trial, f"weight {w}", settings[:1], others[:1], VOTES, tokenwise(lm, w, top)) for w in weights]
    weight = weights[int(np.argmax([row["win rate"][0] for row in tried]))]
    name = f"guidance: {top} likeliest tokens, weight {weight}"
    return [line(STEERING, name, settings, others, VOTES, tokenwise(lm, weight, top)), *tried]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--parts", default=",".join(PARTS), help="with commas between")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--lm", default="planted", help="who writes: a run or a model; the generic user answers")
    parser.add_argument("--features", default=None, help=f"where they are not looked for: {', '.join(FEATURES)}")
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    size, counts = Size(), (1, 2, 4, 8, 16)
    if given.quick:
        fixed = Factor(rank=1, personal=1.0, nonlinear="off", flips=0.1)
        size, counts, given.seeds = Size(6, 2, 2, 12, 1, fixed, 16), (1, 2), 1
        for name in list(FEATURES)[1:]:
            del FEATURES[name]
    parts, rows = given.parts.split(","), []
    if "features" in parts and given.features is None:
        rows = by_features(size)
        given.features = max(rows, key=lambda row: row[f"{VOTES} votes"])["features"]
    given.features = given.features or next(iter(FEATURES))
    lm = language_model(given.lm)
    settings = []
    for seed in range(given.seeds):
        world = world_of(size, seed)
        settings.append(Setting(world, size, seed, learned(world, size, given.features, seed)))
    sets = Sets(lm, settings, 64 if "steer" in parts and not given.quick else counts[-1])
    remarks = [f"Wanted: a win rate of {WANTED} for the best of 16 after {VOTES} votes."]
    for part in parts:
        rows += pick(lm, settings, sets, counts) if part == "pick" else []
        rows += steer(lm, settings, sets, given.quick) if part == "steer" else []
        rows += guide(lm, settings, given.quick) if part == "guide" else []
        write(given.json, "best_of", machine(), vars(given), rows, remarks)


if __name__ == "__main__":
    main()
