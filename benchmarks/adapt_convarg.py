"""Workers of ConvArg whom a policy never met: their rows from 20 votes against the generic row, on their other votes.

    prlhf sft --recipe recipes/convarg_sft.toml --output runs/convarg_lm
    python benchmarks/adapt_convarg.py --base runs/convarg_lm --output runs/adapt [--seeds 3]

A quarter of the 40 busiest workers is left out of training (another quarter for each seed); who of them has at least 40
votes is met with 20 drawn ones. Others may have voted on the same pairs in training, which helps both rows alike.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch
from adapt import interval
from figures import machine, write
from runs import Runs, add_run_options, runs_of

from prlhf import PersonalizedLM
from prlhf.config import RunConfig, load_config
from prlhf.data import Split, decided, load_comparisons
from prlhf.lm.adapting.ballots import Ballots
from prlhf.lm.adapting.fold_in import fold_in
from prlhf.lm.adapting.slopes import values_and_slopes
from prlhf.lm.adapting.tuning import tuned
from prlhf.types import Comparison, Feedback

VOTES = 20
WANTED = -0.01
"""The lower end of the difference."""


def met(votes: list[Feedback], count: int, seed: int) -> tuple[list[Comparison], list[Comparison], list[str]]:
    """Of each worker with twice `count` votes or more: so many drawn ones, the others; and who they are."""
    by_worker: dict[str, list[Comparison]] = {}
    for vote in votes:
        if isinstance(vote, Comparison) and vote.user is not None and decided(vote):
            by_worker.setdefault(vote.user, []).append(vote)
    able = {name: own for name, own in sorted(by_worker.items()) if len(own) >= 2 * count}
    asked: list[Comparison] = []
    tests: list[Comparison] = []
    for name, own in able.items():
        order = np.random.default_rng(seed).permutation(len(able[name]))
        asked += [own[i] for i in order[:count]]
        tests += [own[i] for i in order[count:]]
    return asked, tests, list(able)


def measured(seed: int, base: str, runs: Runs, overrides: list[str]) -> tuple[dict[str, Any], np.ndarray]:
    """A seed's line, and the difference of each worker `[n]`."""
    options = [
        f"model.base={base}", "data.split.users=0.25", f"data.split.seed={seed}", f"seed={seed}",
        "training.eval_steps=0", "training.test_comparisons=200", *overrides,
    ]  # fmt: skip
    config = load_config(RunConfig, "recipes/convarg.toml", options)
    folder = runs.trained(config, f"convarg-adapted-{seed}")
    lm = PersonalizedLM.from_pretrained(folder)
    log = load_comparisons(RunConfig.model_validate_json((folder / "config.json").read_text("utf8")).data)
    sides = Split.load(folder / "split.json", log)
    if runs.quick:
        torch.nn.init.normal_(lm.user_model.table.weight.data[1:], std=0.1)
    asked, tests, workers = met([log.items[i] for i in sides.unseen], 2 if runs.quick else VOTES, seed)
    prior = tuned(lm, [log.items[i] for i in (() if runs.quick else sides.train)], config.objective)
    rows = fold_in(lm, asked, prior, config.objective).states.rows
    ballots = Ballots.of(lm, tests[:20] if runs.quick else tests, workers, config.objective)
    generic = lm.user_model.table.weight[:1].detach().expand(len(rows), -1)
    right = []
    for table in (generic, rows):
        values, _ = values_and_slopes(lm, ballots.encoded, table[ballots.who], ballots.layout)
        h = values - ballots.reference
        count = torch.bincount(ballots.who, minlength=ballots.n).clamp(min=1)
        hits = (h[:, 0] > h[:, 1]).double()
        right.append((torch.zeros(ballots.n).double().index_add(0, ballots.who, hits) / count).numpy())
    line = {
        "study": f"seed {seed}", "workers": len(workers), "votes measured": len(ballots), "strength": prior.strength,
        "generic row": float(right[0].mean()), "fitted row": float(right[1].mean()),
        "difference, paired by worker": interval(right[1] - right[0]),
    }  # fmt: skip
    print(line, flush=True)
    return line, right[1] - right[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="runs/convarg_lm")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    add_run_options(parser)
    args = parser.parse_args()
    seeds, base = (1, "planted") if args.quick else (args.seeds, args.base)
    print(machine(), flush=True)
    with runs_of(args) as runs:
        lines, differences = zip(*(measured(seed, base, runs, args.overrides) for seed in range(seeds)), strict=True)
    whole = interval(np.concatenate(differences))
    reached = "yes" if whole[1] >= WANTED else "no"
    print(f"all seeds: {whole}; wanted: lower end at least {WANTED}: {reached}")
    rows = [*lines, {"study": "all seeds", "difference, paired by worker": whole}]
    write(args.json, "adapt_convarg", machine(), vars(args), rows)


if __name__ == "__main__":
    main()
