"""`kto` from thumbs against `dpo` from votes on the planted world: the same answers, the same epochs, the same grid.

    python benchmarks/thumbs.py --output runs/thumbs [--users 60 --votes 100 --epochs 4 --seeds 1]

Both learn from the same pairs of answers: `dpo` from which of them the user prefers, `kto` from a thumb for each,
with the same share of flips. A step of either sees 32 answers. Beta and learning rate of both are chosen on the
same grid, in a world of other users, and then measured on noise-free comparisons of the world that counts. Finished
runs are kept, so a second call goes on.
"""

from __future__ import annotations

import argparse
from itertools import product

from figures import machine, write
from runs import Runs, add_run_options, runs_of

from prlhf.config import RunConfig, load_config
from prlhf.evaluation.metrics import summarise
from prlhf.evaluation.paired import paired_difference
from prlhf.evaluation.scores import Scores

METHODS = {  # objective: feedback, items of a step
    "dpo": ("pairs", 16),
    "kto": ("thumbs", 32),
}
OTHER_USERS = 1000  # added to the seed of the world that is tuned on


def scores(
    method: str, world: dict[str, int], beta: float, rate: float, epochs: float, runs: Runs, name: str
) -> Scores:
    """Train one run, unless its folder is complete, and read its margins on the test side."""
    feedback, size = METHODS[method]
    options = ", ".join(f"{name} = {value}" for name, value in world.items())
    overrides = [
        f'data.options={{{options}, feedback = "{feedback}"}}',
        f"objective.type={method}", f"objective.beta={beta}",
        f"training.batch_size={size}", f"training.learning_rate={rate}", f"training.epochs={epochs}",
        "training.eval_steps=0", "training.save_steps=0", f"seed={world['seed'] % OTHER_USERS}",
    ]  # fmt: skip
    folder = runs.trained(load_config(RunConfig, "recipes/planted.toml", overrides), name)
    return Scores.load(folder / "scores.parquet")


def tuned(method: str, args: argparse.Namespace, runs: Runs) -> tuple[float, float]:
    """Beta and learning rate with the best accuracy among other users."""
    world = {"users": args.users, "votes": args.votes, "seed": OTHER_USERS}
    found = {}
    for beta, rate in product(args.betas, args.rates):
        run = scores(method, world, beta, rate, args.grid_epochs, runs, f"grid-{method}-{beta:g}-{rate:g}")
        found[beta, rate] = summarise(run, beta, bootstrap=0)
        accuracy = found[beta, rate].overall.accuracy_seen.value
        print(f"grid {method} beta {beta:g} lr {rate:g}: seen {accuracy:.3f}", flush=True)
    return max(found, key=lambda point: found[point].overall.accuracy_seen.value)


def numbers(text: str) -> list[float]:
    """A list of numbers with commas between."""
    return [float(part) for part in text.split(",")]


def compare(seed: int, best: dict[str, tuple[float, float]], args: argparse.Namespace, runs: Runs) -> list[dict]:
    """Both methods on the world of one seed: lines of the table."""
    world = {"users": args.users, "votes": args.votes, "seed": seed}
    found, lines = {}, []
    for method, (beta, rate) in best.items():
        found[method] = scores(method, world, beta, rate, args.epochs, runs, f"{method}-{seed}")
        o, minus = summarise(found[method], beta).overall, paired_difference(found[method], found["dpo"])
        lines.append({
            "seed": seed, "objective": method, "beta": beta, "learning rate": rate, "seen": str(o.accuracy_seen),
            "worst tenth of users": o.accuracy_worst_tenth.value, "generic": o.accuracy_generic.value,
            "minus dpo": str(minus.overall.accuracy) if method != "dpo" else None,
        })  # fmt: skip
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=60)
    parser.add_argument("--votes", type=int, default=100, help="of each user; twice as many thumbs")
    parser.add_argument("--epochs", type=float, default=4)
    parser.add_argument("--grid-epochs", type=float, default=2, help="epochs of the runs that are tuned with")
    parser.add_argument("--betas", type=numbers, default=[0.1, 0.3])
    parser.add_argument("--rates", type=numbers, default=[5e-4, 1e-3])
    parser.add_argument("--seeds", type=int, default=1)
    add_run_options(parser)
    args = parser.parse_args()
    if args.quick:
        args.betas, args.rates = args.betas[:1], args.rates[:1]
    print(machine(), flush=True)
    with runs_of(args) as runs:
        best = {method: tuned(method, args, runs) for method in METHODS}
        lines = [line for seed in range(args.seeds) for line in compare(seed, best, args, runs)]
    write(args.json, "thumbs", machine(), vars(args), lines)


if __name__ == "__main__":
    main()
