"""`kto` from thumbs against `dpo` from votes on the planted world: the same answers, the same epochs, the same grid.

    python benchmarks/thumbs.py --output runs/thumbs [--users 60 --votes 100 --epochs 4 --seeds 1]

Both learn from the same pairs of answers: `dpo` from which of them the user prefers, `kto` from a thumb for each,
with the same share of flips. A step of either sees 32 answers. Beta and learning rate of both are chosen on the
same grid, in a world of other users, and then measured on noise-free comparisons of the world that counts. Finished
runs are kept, so a second call goes on.
"""

from __future__ import annotations

import argparse
import platform
from itertools import product
from pathlib import Path

import torch

from prlhf.config import RunConfig, load_config
from prlhf.evaluation.metrics import summarise
from prlhf.evaluation.paired import paired_difference
from prlhf.evaluation.scores import Scores
from prlhf.lm import is_checkpoint
from prlhf.training.train import train

METHODS = {  # objective: feedback, items of a step
    "dpo": ("pairs", 16),
    "kto": ("thumbs", 32),
}
OTHER_USERS = 1000  # added to the seed of the world that is tuned on


def scores(method: str, world: dict[str, int], beta: float, rate: float, epochs: float, folder: Path) -> Scores:
    """Train one run, unless its folder is complete, and read its margins on the test side."""
    feedback, size = METHODS[method]
    options = ", ".join(f"{name} = {value}" for name, value in world.items())
    overrides = [
        f'data.options={{{options}, feedback = "{feedback}"}}',
        f"objective.type={method}", f"objective.beta={beta}",
        f"training.batch_size={size}", f"training.learning_rate={rate}", f"training.epochs={epochs}",
        "training.eval_steps=0", "training.save_steps=0", f"seed={world['seed'] % OTHER_USERS}",
    ]  # fmt: skip
    if not is_checkpoint(folder / "model"):
        train(
            load_config(RunConfig, "recipes/planted.toml", overrides), folder, resume=(folder / "config.json").exists()
        )
    return Scores.load(folder / "scores.parquet")


def tuned(method: str, args: argparse.Namespace) -> tuple[float, float]:
    """Beta and learning rate with the best accuracy among other users."""
    world = {"users": args.users, "votes": args.votes, "seed": OTHER_USERS}
    found = {}
    for beta, rate in product(args.betas, args.rates):
        folder = args.output / f"grid-{method}-{beta:g}-{rate:g}"
        found[beta, rate] = summarise(scores(method, world, beta, rate, args.grid_epochs, folder), beta, bootstrap=0)
        accuracy = found[beta, rate].overall.accuracy_seen.value
        print(f"grid {method} beta {beta:g} lr {rate:g}: seen {accuracy:.3f}", flush=True)
    return max(found, key=lambda point: found[point].overall.accuracy_seen.value)


def numbers(text: str) -> list[float]:
    """A list of numbers with commas between."""
    return [float(part) for part in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--users", type=int, default=60)
    parser.add_argument("--votes", type=int, default=100, help="of each user; twice as many thumbs")
    parser.add_argument("--epochs", type=float, default=4)
    parser.add_argument("--grid-epochs", type=float, default=2, help="epochs of the runs that are tuned with")
    parser.add_argument("--betas", type=numbers, default=[0.1, 0.3])
    parser.add_argument("--rates", type=numbers, default=[5e-4, 1e-3])
    parser.add_argument("--seeds", type=int, default=1)
    args = parser.parse_args()
    print(f"machine: {platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}", flush=True)
    best = {method: tuned(method, args) for method in METHODS}
    for seed in range(args.seeds):
        world = {"users": args.users, "votes": args.votes, "seed": seed}
        found = {}
        for method, (beta, rate) in best.items():
            found[method] = scores(method, world, beta, rate, args.epochs, args.output / f"{method}-{seed}")
            o = summarise(found[method], beta).overall
            print(
                f"seed {seed} {method} (beta {beta:g}, lr {rate:g}): seen {o.accuracy_seen}  worst tenth of users "
                f"{o.accuracy_worst_tenth.value:.3f}  generic {o.accuracy_generic.value:.3f}",
                flush=True,
            )
        difference = paired_difference(found["kto"], found["dpo"])
        print(f"seed {seed} kto - dpo: {difference.overall.accuracy}", flush=True)


if __name__ == "__main__":
    main()
