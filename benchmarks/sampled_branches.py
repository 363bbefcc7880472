"""One drawn branch of each comparison against both (training.branches): accuracy beside seconds, on planted users.

    python benchmarks/sampled_branches.py --output runs/sampled [--seeds 3] [--epochs 1] [--comparisons 1600]

Three runs a seed with the demo's recipe: both branches; one drawn, as many epochs; one drawn, twice as many, which is
about as much work as both. Differences in accuracy are paired, on the same held-out comparisons. Finished runs are
kept, so a second call goes on.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
from pathlib import Path

import torch

from prlhf.config import RunConfig, load_config
from prlhf.evaluation.paired import paired_difference
from prlhf.evaluation.scores import Scores
from prlhf.lm import is_checkpoint
from prlhf.training.train import train

RECIPE = "src/prlhf/demo/demo.toml"
WAYS = {"both": ("both", 1), "one drawn": ("sampled", 1), "one drawn, twice the epochs": ("sampled", 2)}


def run(way: str, seed: int, args: argparse.Namespace) -> Path:
    """Train one run unless its folder is complete."""
    branches, times = WAYS[way]
    folder = args.output / f"{way.replace(' ', '-').replace(',', '')}-{seed}"
    overrides = [
        f"seed={seed}", f"training.branches={branches}", f"training.epochs={args.epochs * times}",
        f"data.max_comparisons={args.comparisons}", "training.eval_steps=0", f"model.user_tokens_at={args.place}",
    ]  # fmt: skip
    if not is_checkpoint(folder / "model"):
        train(load_config(RunConfig, RECIPE, overrides), folder, resume=(folder / "config.json").exists())
    return folder


def seconds(folder: Path) -> float:
    """Of all steps, as the trainer logged them."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf8").splitlines()]
    return [line["train_runtime"] for line in lines if "train_runtime" in line][-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=float, default=1)
    parser.add_argument("--comparisons", type=int, default=1600)
    parser.add_argument("--place", default="start")
    args = parser.parse_args()
    print(f"machine: {platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}", flush=True)
    folders = {way: [run(way, seed, args) for seed in range(args.seeds)] for way in WAYS}
    scores = {way: [Scores.load(f / "scores.parquet") for f in found] for way, found in folders.items()}
    for way, found in folders.items():
        middle = statistics.median(seconds(f) for f in found)
        accuracies = [float((s.h_specific[s.seen] > 0).mean()) for s in scores[way]]
        print(f"{way:30s} seen {statistics.mean(accuracies):.3f}  ({min(accuracies):.3f} to {max(accuracies):.3f})  "
              f"{middle:.0f} s", end="")  # fmt: skip
        if way != "both":
            differences = [
                paired_difference(a, b).overall.accuracy for a, b in zip(scores[way], scores["both"], strict=True)
            ]
            print("  - both: " + "; ".join(str(d) for d in differences), end="")
        print(flush=True)


if __name__ == "__main__":
    main()
