"""New users of a trained language model on the planted world: rows from 5 to 40 votes, against a run that had them.

    python benchmarks/adapt.py --output runs/adapt [--seeds 3] [--json FILE] [--picture FILE.png]

Of 72 users the last twelve never vote in the first run, and vote as all others do in the second (both by the demo's
recipe). Accuracy is on noise-free pairs of held-out topics; wins are of sampled answers, by the exact judge, against
those of the generic row of the first run. Shares are of the gap between that generic row and the rows that the second
run trained. Beside the fit: one without strengths by a user's own votes (accuracy alone); the row by ridge regression
of trained rows on the factors of a reward model (no pass through the language model); that of the trained user nearest
by these factors; the best of six mean rows of clusters. `refolded` are users of the first run who are met anew with all
their votes. Finished runs are kept, and what was measured of each seed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from figures import machine, save_picture, write
from runs import Runs, add_run_options, runs_of
from scipy.cluster.vq import kmeans2
from torch import Tensor

from prlhf import PersonalizedLM
from prlhf.config import RunConfig, load_config
from prlhf.config.rewards import Factor
from prlhf.config.rewards.features import TfIdf
from prlhf.data.planted import PlantedUser, World
from prlhf.evaluation.judge import judge_policies, policy_of
from prlhf.lm.adapting.ballots import Ballots
from prlhf.lm.adapting.fold_in import fold_in
from prlhf.lm.adapting.keep import keep_prior
from prlhf.lm.adapting.prior import Prior
from prlhf.lm.adapting.slopes import values_and_slopes
from prlhf.lm.adapting.states import UserStates, model_key
from prlhf.lm.adapting.tuning import tuned
from prlhf.rewards import Votes, fit_reward
from prlhf.rewards.features import make_features
from prlhf.types import Comparison

RECIPE = "src/prlhf/demo/demo.toml"
ALTERNATIVES = 10
"""Votes at which the other ways are measured."""
GENERIC, TRAINED = "generic row", "trained row (second run)"
FITTED, COMMON = "fitted row", "fitted row, one strength for all"
USERS, UNSEEN, TESTS = 72, 12, 40


@dataclass(frozen=True)
class Study:
    """A seed's world, its two runs, and who is new."""

    world: World
    config: RunConfig
    lm: PersonalizedLM
    full: PersonalizedLM
    quick: bool

    @cached_property
    def new(self) -> tuple[PlantedUser, ...]:
        return self.world.users[-self.world.unseen :]

    @cached_property
    def known(self) -> tuple[PlantedUser, ...]:
        return self.world.users[: -self.world.unseen]

    @cached_property
    def trained(self) -> list[Comparison]:
        return [vote for user in self.known for vote in self.world.votes_of(user)]

    def votes(self, count: int) -> list[Comparison]:
        return [vote for user in self.new for vote in self.world.votes_of(user)[:count]]

    def accuracy(self, lm: PersonalizedLM, rows: Tensor, users: Sequence[PlantedUser]) -> np.ndarray:
        """Of each user `[n]` with their row."""
        tests = [c for user in users for c in self.world.tests_of(user)]
        asked = Ballots.of(lm, tests, [user.id for user in users], self.config.objective)
        values, _ = values_and_slopes(lm, asked.encoded, rows[asked.who], asked.layout)
        h = values - asked.reference
        return (h[:, 0] > h[:, 1]).double().view(len(users), -1).mean(1).numpy()


def study(seed: int, runs: Runs) -> Study:
    """Both runs of a seed."""
    size = {"users": 8, "votes": 10, "test_pairs": 2} if runs.quick else {"users": USERS}
    unseen = 2 if runs.quick else UNSEEN
    models = []
    for name, left_out in (("adapted", unseen), ("full", 0)):
        options = ", ".join(f"{k} = {v}" for k, v in {**size, "unseen": left_out, "seed": seed}.items())
        overrides = [
            f"data.options={{{options}}}", f"seed={seed}", "training.eval_steps=0", "training.test_comparisons=480",
        ]  # fmt: skip
        config = load_config(RunConfig, RECIPE, overrides)
        models.append(PersonalizedLM.from_pretrained(runs.trained(config, f"{name}-{seed}")))
        if runs.quick:  # one step of two votes moves nobody
            torch.nn.init.normal_(models[-1].user_model.table.weight.data[1:], std=0.1)
    world = World(**{**size, "test_pairs": 2 if runs.quick else TESTS}, unseen=unseen, seed=seed)
    return Study(world, config, *models, runs.quick)


class Alternatives:
    """Rows of new users without a fit through the language model."""

    def __init__(self, study: Study):
        self.study = study
        self.features = make_features(TfIdf(), study.trained)
        self.reward = fit_reward(Factor(), Votes.of(study.trained, self.features))
        self.table = study.lm.user_model.table.weight.detach()[1:]
        names = study.lm.users.ids()
        self.factors = self.reward.users.states["l"][self.reward.users.rows(names)]

    def rows(self, votes: Sequence[Comparison]) -> dict[str, Tensor]:
        """By each way `[n, s]`."""
        met = self.reward.states_of(Votes.of(votes, self.features))["l"]
        x = np.c_[self.factors, np.ones(len(self.factors))]
        spread = self.factors.var(0).mean() if self.factors.shape[1] else 0.0
        inner = x.T @ x + np.diag([*[0.1 * spread * len(x)] * self.factors.shape[1], 1e-9])
        weights = np.linalg.solve(inner, x.T @ self.table.numpy())
        ridge = np.c_[met, np.ones(len(met))] @ weights
        distance = ((met[:, None] - self.factors[None]) ** 2).sum(-1)
        return {
            "ridge from reward": torch.from_numpy(ridge).float(),
            "nearest trained user": self.table[torch.from_numpy(distance.argmin(1))],
            "cluster mean": self._cluster(votes),
        }

    def _cluster(self, votes: Sequence[Comparison]) -> Tensor:
        s = self.study
        means, _ = kmeans2(self.table.double().numpy(), min(6, len(self.table)), seed=0, minit="++")
        asked = Ballots.of(s.lm, votes, [user.id for user in s.new], s.config.objective)
        nothing, found = torch.zeros(asked.n).double(), []
        for mean in torch.from_numpy(means).float():
            values, _ = values_and_slopes(s.lm, asked.encoded, mean.expand(len(asked), -1), asked.layout)
            found.append(asked.total(asked.losses(values, nothing)))
        return torch.from_numpy(means).float()[torch.stack(found).argmin(0)]


def wins(study: Study, found: dict[str, tuple[PersonalizedLM, Tensor]], questions: int) -> dict[str, np.ndarray]:
    """How often sampled answers with these rows beat the generic row's, of each new user `[n]`, ties half."""
    ids = [user.id for user in study.new]
    policies: dict[str, Any] = {"generic": policy_of(study.lm, "generic", generic=True)}
    for name, (lm, rows) in found.items():
        states = UserStates(tuple(ids), rows, np.zeros(len(ids), np.int64), model_key(lm.user_model))
        policies[name] = seated(lm, states, name)
    pairs = [(name, "generic") for name in found]
    judged = judge_policies(study.world, policies, prompts_per_user=questions, pairs=pairs, users=study.new)
    rates = {name: judged.verdicts[name, "generic"].rate.users for name in found}
    return {name: np.array([of[i].rate.value for i in ids]) for name, of in rates.items()}


def seated(lm: PersonalizedLM, states: UserStates, name: str) -> Any:
    """A policy whose users have these states while it answers."""

    def answer(prompts: Sequence[str], users: Sequence[PlantedUser]) -> Sequence[str]:
        before = lm.users, lm.user_model
        with lm.seating(_copy(lm)):
            lm.commit(states)
            found = policy_of(lm, name)(prompts, users)
        lm.users = before[0]
        return found

    return answer


def _copy(lm: PersonalizedLM) -> Any:
    from prlhf.users import subset

    return subset(lm.user_model, list(range(lm.user_model.n)))


def kept(seed: int, runs: Runs, args: argparse.Namespace) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """What `measured` finds, kept beside the runs."""
    place = runs.output / f"adapted-{seed}-{args.counts}-{args.questions}-{args.refolded}.json"
    if not place.exists():
        place.write_text(json.dumps(measured(seed, runs, args), default=np.ndarray.tolist), encoding="utf8")
    lines, facts = json.loads(place.read_text(encoding="utf8"))
    return [{**line, "right": np.array(line["right"]), "won": np.array(line["won"])} for line in lines], facts


def measured(seed: int, runs: Runs, args: argparse.Namespace) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """By way and count of votes: accuracy and wins `[n]` of the new users; and what else was measured."""
    s = study(seed, runs)
    start = time.process_time()
    prior = s.lm.prior or tuned(s.lm, s.trained, s.config.objective)
    tuning = time.process_time() - start
    keep_prior(runs.output / f"adapted-{seed}", prior)
    generic = s.lm.user_model.table.weight[:1].detach().expand(len(s.new), -1)
    trained = s.full.user_model.table.weight.detach()[s.full.users.rows([user.id for user in s.new])]
    found: dict[tuple[str, int], tuple[PersonalizedLM, Tensor]] = {
        (GENERIC, 0): (s.lm, generic),
        (TRAINED, 100): (s.full, trained),
    }
    other, costs = Alternatives(s), {}
    for count in map(int, args.counts.split(",")):
        start = time.process_time()
        fit = fold_in(s.lm, s.votes(count), prior, s.config.objective)
        costs[count] = (time.process_time() - start) / len(s.new)
        found[FITTED, count] = s.lm, fit.states.rows
        common = fold_in(s.lm, s.votes(count), prior, s.config.objective, own_strength=False)
        found[COMMON, count] = s.lm, common.states.rows
        if count == ALTERNATIVES:
            found |= {(name, count): (s.lm, rows) for name, rows in other.rows(s.votes(count)).items()}
    judged = {f"{name} {count}": value for (name, count), value in found.items() if name not in (GENERIC, COMMON)}
    won = wins(s, judged, args.questions)
    lines = []
    for (name, count), (lm, rows) in found.items():
        right = s.accuracy(lm, rows, s.new)
        won_by = won.get(f"{name} {count}", np.full(len(s.new), 0.5 if name == GENERIC else np.nan))
        lines.append({"seed": seed, "way": name, "votes": count, "right": right, "won": won_by})
        print(f"seed {seed}: {name}, {count} votes: accuracy {right.mean():.3f}, wins {won_by.mean():.3f}", flush=True)
    facts = {"seed": seed, "strength": prior.strength, "tuning, CPU s": tuning, "fit, CPU s a user": costs}
    return lines, facts | (refolded(s, prior, args.refolded) if args.refolded else {})


def refolded(s: Study, prior: Prior, count: int) -> dict[str, Any]:
    """Accuracy of trained users with their trained rows, and met anew with all their votes."""
    some = s.known[:count]
    names = [user.id for user in some]
    votes = [vote for user in some for vote in s.world.votes_of(user)]
    rows = s.lm.user_model.table.weight.detach()[s.lm.users.rows(names)]
    again = fold_in(s.lm, votes, prior, s.config.objective).states.rows
    by_name = {name: again[i] for i, name in enumerate(sorted(names))}
    after = s.accuracy(s.lm, torch.stack([by_name[name] for name in names]), some)
    return {"trained": s.accuracy(s.lm, rows, some).tolist(), "refolded": after.tolist()}


def interval(values: np.ndarray) -> list[float]:
    """Mean and its 95 % interval over users (bootstrap)."""
    drawn = np.random.default_rng(0).integers(len(values), size=(2000, len(values)))
    return [float(values.mean()), *map(float, np.quantile(values[drawn].mean(1), [0.025, 0.975]))]


def share(part: np.ndarray, none: np.ndarray, whole: np.ndarray) -> list[float]:
    """Of the gap, with its 95 % interval over users."""
    if (whole - none).mean() <= 0:
        return []  # there is no gap
    drawn = np.random.default_rng(0).integers(len(part), size=(2000, len(part)))
    with np.errstate(divide="ignore", invalid="ignore"):  # a draw without a gap
        ratios = (part - none)[drawn].mean(1) / (whole - none)[drawn].mean(1)
    middle = (part - none).mean() / (whole - none).mean()
    return [float(middle), *map(float, np.quantile(ratios[np.isfinite(ratios)], [0.025, 0.975]))]


def table(lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The users of all seeds together."""
    joined = {
        key: [np.concatenate([x[what] for x in lines if (x["way"], x["votes"]) == key]) for what in ("right", "won")]
        for key in dict.fromkeys((x["way"], x["votes"]) for x in lines)
    }
    none, whole = joined[GENERIC, 0], joined[TRAINED, 100]
    found = []
    for (way, votes), (right, won) in joined.items():
        measured = {"accuracy": interval(right), "wins": None if np.isnan(won).any() else interval(won)}
        row: dict[str, Any] = {"row": way, "votes": votes, **measured}
        if way not in (GENERIC, TRAINED):
            row |= {"share of the gap": share(right, none[0], whole[0]) or None}
            row["share of wins"] = (row["wins"] and share(won, none[1], whole[1])) or None
        found.append(row)
    return found


def picture(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Accuracy and wins against votes, with intervals; the other ways where they were measured; `rows` of `table`."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(9, 3.6), layout="constrained")
    for axes, what in zip(drawn.subplots(1, 2), ("accuracy", "wins"), strict=True):
        none, whole, *measured = rows
        curve = [none, *(row for row in measured if row["row"] == FITTED)]
        at, values = [row["votes"] for row in curve], np.array([row[what] for row in curve])
        [line] = axes.plot(at, values[:, 0], ".-", linewidth=2, label=FITTED)
        axes.fill_between(at, values[:, 1], values[:, 2], alpha=0.15, color=line.get_color(), linewidth=0)
        for row, marker in zip((r for r in measured if r["row"] not in (FITTED, COMMON)), "sD^v", strict=False):
            axes.plot([row["votes"]], [row[what][0]], marker, markersize=5, label=row["row"])
        for row in (none, whole):
            axes.axhline(row[what][0], color="grey", linestyle=":", linewidth=1)
        axes.annotate(
            f"{whole['row']}, {whole['votes']} votes", (0, whole[what][0]), fontsize=8, color="grey", va="bottom"
        )
        axes.set(xlabel="votes", ylabel=f"{what} of new users", xticks=at)
    drawn.axes[0].legend(frameon=False, fontsize=8, loc="center right")
    save_picture(drawn, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--counts", default="5,10,20,40", help="votes of a new user, with commas")
    parser.add_argument("--questions", type=int, default=10, help="held-out questions that every user asks")
    parser.add_argument("--refolded", type=int, default=6, help="trained users who are met anew with all their votes")
    parser.add_argument("--picture", type=Path, metavar="FILE.png")
    add_run_options(parser)
    args = parser.parse_args()
    if args.quick:
        args.seeds, args.questions, args.refolded = 1, 1, 2
    print(machine(), flush=True)
    lines: list[dict[str, Any]] = []
    facts = []
    with runs_of(args) as runs:
        for seed in range(args.seeds):
            more, fact = kept(seed, runs, args)
            lines, facts = lines + more, [*facts, fact]
            print(fact, flush=True)
    rows = table(lines)
    for row in rows:
        print({k: [round(x, 3) for x in v] if isinstance(v, list) else v for k, v in row.items()}, flush=True)
    if args.picture is not None:
        picture(args.picture, rows)
    write(args.json, "adapt", machine(), vars(args), rows, details=facts)


if __name__ == "__main__":
    main()
