"""P-RM `soft_prompt` beside P-DPO on the planted world: accuracy for seen users at equal steps, each at its best rate.

    python benchmarks/reward_soft_prompt.py --output runs/soft_prompt [--comparisons 3000] [--rates 5e-4,2e-3]

All have the demo's recipe: the same votes in the same order, the same language model, LoRA and user tokens, as many
steps; "the paper's soft prompt" reads the last state alone, by one head for all that starts random. Each is trained at
every learning rate; half of each user's held-out votes choose the rate, the other half give the accuracies and their
paired difference (all of them where there is one rate). Finished runs are kept, so a second call goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from figures import machine, write
from runs import Runs, add_run_options, runs_of
from sampled_branches import RECIPE, seconds

from prlhf.config import RunConfig, load_config
from prlhf.config.rewards import SoftPrompt
from prlhf.evaluation.metrics import credit, summarise
from prlhf.evaluation.paired import paired_difference
from prlhf.evaluation.scores import Scores

PAPER = ["reads=last", "tastes=0", "start=random"]
KINDS: dict[str, tuple[type[RunConfig], float, list[str]]] = {  # beta, and options
    "P-DPO": (RunConfig, 0.5, []),
    "P-RM soft_prompt": (SoftPrompt, 1.0, []),
    "the paper's soft prompt": (SoftPrompt, 1.0, PAPER),
}
NEAR = -0.03


def run(name: str, rate: str, args: argparse.Namespace, runs: Runs) -> Path:
    """Train one run unless its folder is complete."""
    kind, beta, options = KINDS[name]
    overrides = [
        f"seed={args.seed}", f"training.epochs={args.epochs}", f"training.learning_rate={rate}",
        "training.eval_steps=0", f"training.test_comparisons={args.tests}", f"objective.beta={beta}",
        f"data.max_comparisons={args.comparisons}", *options,
    ]  # fmt: skip
    folder = f"{name.replace(' ', '-')}-{rate}-{args.seed}"
    return runs.trained(load_config(kind, RECIPE, overrides), folder)


def halves(scores: Scores) -> tuple[Scores, Scores]:
    """Of each user's held-out votes every other one, and the rest."""
    place = np.zeros(len(scores), np.int64)
    for user in set(scores.user):
        rows = np.flatnonzero(scores.user == user)
        place[rows] = np.arange(len(rows))
    return scores.select(place % 2 == 0), scores.select(place % 2 == 1)


def measured(name: str, args: argparse.Namespace, runs: Runs) -> tuple[dict[str, Any], Scores]:
    """The line of a model at the rate that is best on one half, and its scores of the other."""
    found = {rate: run(name, rate, args, runs) for rate in args.rates.split(",")}
    parts = {rate: halves(Scores.load(folder / "scores.parquet")) for rate, folder in found.items()}
    chosen = {rate: float(credit(choosing.h).mean()) for rate, (choosing, _) in parts.items()}
    best = max(chosen, key=lambda rate: chosen[rate])
    scores = parts[best][1] if len(found) > 1 else Scores.load(found[best] / "scores.parquet")
    seen = summarise(scores, beta=KINDS[name][1]).overall
    accuracy, permuted = seen.accuracy_seen, seen.accuracy_permuted
    line = {
        "": name,
        "learning rate": best,
        "at the others": "; ".join(f"{rate}: {value:.3f}" for rate, value in chosen.items() if rate != best),
        "seen": [accuracy.value, accuracy.low, accuracy.high],
        "somebody else's row": permuted.value,
        "generic row": seen.accuracy_generic.value,
        "log-loss": seen.log_loss_seen.value,
        "seconds": seconds(found[best]),
    }
    return line, scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=float, default=1)
    parser.add_argument("--comparisons", type=int, default=3000)
    parser.add_argument("--tests", default="null", help="held-out votes, at most")
    parser.add_argument("--rates", default="5e-4,2e-3", help="learning rates, with commas")
    parser.add_argument("--models", default=";".join(KINDS), help="which, with semicolons")
    parser.add_argument("--seed", type=int, default=0)
    add_run_options(parser)
    args = parser.parse_args()
    args.rates = args.rates.split(",")[0] if args.quick else args.rates
    print(machine(), flush=True)
    with runs_of(args) as runs:
        found = {name: measured(name, args, runs) for name in args.models.split(";")}
    lines, remarks = [], []
    for name, (line, scores) in found.items():
        if name != "P-DPO" and "P-DPO" in found:
            difference = paired_difference(scores, found["P-DPO"][1], rows="seen").overall.accuracy
            line["minus P-DPO, paired"] = [difference.value, difference.low, difference.high]
            reached = "yes" if difference.value >= NEAR else "no"
            remarks.append(f"{name} - P-DPO, paired by users: {difference}; wanted: at least {NEAR}: {reached}")
        lines.append(line)
        print(line, flush=True)
    print("\n".join(remarks))
    write(args.json, "reward_soft_prompt", machine(), vars(args), lines, remarks)


if __name__ == "__main__":
    main()
