"""What learns fastest at equal budget on the planted world: places of the user tokens, starts, user models.

    python benchmarks/learning.py --output runs/learning [--comparisons 3000] [--only place,start,model]

Every variant sees the same votes in the same order. Prints held-out accuracy with intervals over users, and training
speed relative to the first variant of its family in the same run. Finished runs are kept, so a second call goes on.
"""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path

import torch

from prlhf.config import RunConfig, load_config
from prlhf.evaluation.metrics import Metrics, summarise
from prlhf.evaluation.scores import Scores
from prlhf.lm import is_checkpoint
from prlhf.training.train import train

FAMILIES: dict[str, dict[str, list[str]]] = {
    "place": {
        "start": ["model.user_tokens_at=start"],
        "before_response": ["model.user_tokens_at=before_response"],
        "after_system (= start without a system message)": ["model.user_tokens_at=after_system"],
    },
    "start": {
        "individual, generic start": ["user_model.type=individual", "user_model.tokens=4"],
        "individual, vocabulary start (paper)": [
            "user_model.type=individual",
            "user_model.tokens=4",
            "user_model.start=vocabulary",
        ],
        "low_rank 6, generic start": ["user_model.type=low_rank", "user_model.tokens=4", "user_model.rank=6"],
        "low_rank 6, vocabulary start": [
            "user_model.type=low_rank",
            "user_model.tokens=4",
            "user_model.rank=6",
            "user_model.start=vocabulary",
        ],
    },
    "model": {
        "individual": ["user_model.type=individual", "user_model.tokens=4"],
        "individual, no common part": ["user_model.type=individual", "user_model.tokens=4", "user_model.common=false"],
        "cluster 6": ["user_model.type=cluster", "user_model.tokens=4", "user_model.clusters=6"],
        "individual, 1 token": ["user_model.type=individual", "user_model.tokens=1"],
        "individual, 10 tokens": ["user_model.type=individual", "user_model.tokens=10"],
    },
}


def measure(overrides: list[str], folder: Path) -> tuple[Metrics, float]:
    """Metrics and training comparisons per second of one variant."""
    if not is_checkpoint(folder / "model"):
        train(load_config(RunConfig, "recipes/planted.toml", overrides), folder)
    speeds = [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf8").splitlines()]
    speed = next(line["train_samples_per_second"] for line in speeds if "train_samples_per_second" in line)
    return summarise(Scores.load(folder / "scores.parquet"), beta=0.1), speed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--comparisons", type=int, default=3000, help="training comparisons of each variant")
    parser.add_argument("--only", default="place,start,model")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print(f"machine: {platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"{args.comparisons} comparisons each, batch 16, seed {args.seed}")
    for family in args.only.split(","):
        first = None
        for name, overrides in FAMILIES[family].items():
            budget = [f"training.max_steps={args.comparisons // 16}", "training.eval_steps=0", "training.save_steps=0"]
            place = args.output / f"{family}-{name.split(' (')[0].replace(', ', '-').replace(' ', '_')}-{args.seed}"
            metrics, speed = measure([*budget, f"seed={args.seed}", *overrides], place)
            first = first or speed
            o, minority = metrics.overall, metrics.groups["minority"].accuracy_seen
            print(
                f"{family:6s} {name:48s} seen {o.accuracy_seen}  minority {minority.value:.3f}"
                f"  generic {o.accuracy_generic.value:.3f}  permuted {o.accuracy_permuted.value:.3f}"
                f"  {speed:.1f}/s ({speed / first:.2f}x)",
                flush=True,
            )


if __name__ == "__main__":
    main()
