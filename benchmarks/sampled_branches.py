"""One drawn branch of each comparison against both (training.branches): accuracy beside seconds, on planted users.

    python benchmarks/sampled_branches.py --output runs/sampled [--seeds 3] [--epochs 1] [--comparisons 1600]

Three runs a seed with the demo's recipe: both branches; one drawn, as many epochs; one drawn, twice as many, which is
about as much work as both. Differences in accuracy are paired, on the same held-out comparisons. Finished runs are
kept, so a second call goes on.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from figures import machine, write
from runs import Runs, add_run_options, runs_of

from prlhf.config import RunConfig, load_config
from prlhf.evaluation.paired import paired_difference
from prlhf.evaluation.scores import Scores

RECIPE = "src/prlhf/demo/demo.toml"
WAYS = {"both": ("both", 1), "one drawn": ("sampled", 1), "one drawn, twice the epochs": ("sampled", 2)}


def run(way: str, seed: int, args: argparse.Namespace, runs: Runs) -> Path:
    """Train one run unless its folder is complete."""
    branches, times = WAYS[way]
    name = f"{way.replace(' ', '-').replace(',', '')}-{seed}"
    overrides = [
        f"seed={seed}", f"training.branches={branches}", f"training.epochs={args.epochs * times}",
        f"data.max_comparisons={args.comparisons}", "training.eval_steps=0", f"model.user_tokens_at={args.place}",
    ]  # fmt: skip
    return runs.trained(load_config(RunConfig, RECIPE, overrides), name)


def seconds(folder: Path) -> float:
    """Of all steps, as the trainer logged them."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf8").splitlines()]
    return [line["train_runtime"] for line in lines if "train_runtime" in line][-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=float, default=1)
    parser.add_argument("--comparisons", type=int, default=1600)
    parser.add_argument("--place", default="start")
    add_run_options(parser)
    args = parser.parse_args()
    args.seeds = 1 if args.quick else args.seeds
    print(machine(), flush=True)
    with runs_of(args) as runs:
        folders = {way: [run(way, seed, args, runs) for seed in range(args.seeds)] for way in WAYS}
        scores = {way: [Scores.load(f / "scores.parquet") for f in found] for way, found in folders.items()}
        times = {way: statistics.median(map(seconds, found)) for way, found in folders.items()}
    lines = []
    for way, found in scores.items():
        accuracies = [float((s.h_specific[s.seen] > 0).mean()) for s in found]
        line: dict[str, Any] = {"": way, "seen": [statistics.mean(accuracies), min(accuracies), max(accuracies)]}
        differences = [paired_difference(a, b).overall.accuracy for a, b in zip(found, scores["both"], strict=True)]
        line["minus both, by seed"] = "; ".join(map(str, differences)) if way != "both" else None
        lines.append({**line, "seconds": times[way], "÷ both": times[way] / times["both"]})
        print(lines[-1], flush=True)
    write(args.json, "sampled_branches", machine(), vars(args), lines)


if __name__ == "__main__":
    main()
