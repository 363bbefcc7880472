"""P-DPO against pooled DPO on ConvArg: the same comparisons, the same budget, the same four-point grid.

    prlhf sft --recipe recipes/convarg_sft.toml --output runs/convarg_lm
    python benchmarks/convarg.py length --output runs/convarg_length_study
    python benchmarks/convarg.py votes --output runs/convarg_votes_study

`length`: simulated length preference of the 10 and the 40 busiest workers, and the variant with target lengths.
`votes`: the true votes of the 40 busiest workers, three seeds. Both tune (beta, learning rate) of either method on the
validation side with a part of the budget, then train with all of it. Finished runs are kept, so a second call goes on.
"""

from __future__ import annotations

import argparse
import json
import statistics
from itertools import product
from pathlib import Path

from figures import machine, write
from runs import Runs, add_run_options, runs_of

from prlhf import PersonalizedLM
from prlhf.config import RunConfig, load_config
from prlhf.evaluation.metrics import summarise
from prlhf.evaluation.paired import paired_difference
from prlhf.evaluation.scores import Scores
from prlhf.training.pooled import pooled_config

GRID = list(product((0.1, 0.3), (2.5e-4, 5e-4)))  # beta, learning rate; the recipes stand at one of the points
METHODS = ("P-DPO", "pooled")
# Name: options of the source, epochs, sft_weight. A worker of forty has a quarter of the votes of one of ten; in ten
# epochs the minority's answers lose their end unless the chosen response's likelihood holds it.
LENGTH_STUDIES = {
    "length, top 10": ({"top": 10}, 6, 0.0),
    "length, top 40": ({"top": 40}, 10, 0.03),
    "target length, top 10": ({"top": 10, "preference": "target_length"}, 6, 0.0),
}


def run(config: RunConfig, method: str, runs: Runs, name: str) -> Path:
    """Train one run unless its folder is complete."""
    return runs.trained(pooled_config(config) if method == "pooled" else config, f"{name}-{method}")


def validation_accuracy(folder: Path) -> float:
    """The last accuracy on the validation side that the run logged."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf8").splitlines()]
    return [line["eval_accuracy_seen"] for line in lines if "eval_accuracy_seen" in line][-1]


def tuned(config: RunConfig, method: str, runs: Runs, comparisons: int) -> RunConfig:
    """The grid point that is best on the validation side after two epochs over `comparisons` comparisons."""
    found = {}
    for beta, rate in GRID[: 1 if runs.quick else None]:
        small = at(config, beta, rate).model_copy(
            update={"data": config.data.model_copy(update={"max_comparisons": comparisons})}
        )
        training = small.training.model_copy(
            update={"epochs": 2, "test_comparisons": 1, "eval_steps": 0.5, "save_steps": 0}
        )
        folder = run(small.model_copy(update={"training": training}), method, runs, f"grid-{beta}-{rate}")
        found[beta, rate] = validation_accuracy(folder)
        print(f"grid {method:7s} beta {beta} lr {rate}: validation accuracy {found[beta, rate]:.3f}", flush=True)
    return at(config, *max(found, key=lambda point: found[point]))


def at(config: RunConfig, beta: float, rate: float) -> RunConfig:
    """The configuration at one grid point; the user learning rate stays."""
    return config.model_copy(
        update={
            "objective": config.objective.model_copy(update={"beta": beta}),
            "training": config.training.model_copy(update={"learning_rate": rate}),
        }
    )


def compare(personal: Path, pooled: Path, best: dict[str, RunConfig]) -> dict:
    """Both runs on the same test rows, each with the beta that was chosen for it, and the paired difference."""
    ours, theirs = Scores.load(personal / "scores.parquet"), Scores.load(pooled / "scores.parquet")
    a, b = (summarise(s, best[m].objective.beta) for s, m in zip((ours, theirs), METHODS, strict=True))
    gap = paired_difference(ours, theirs)
    row = {
        "test": len(ours),
        "P-DPO seen": str(a.overall.accuracy_seen),
        "P-DPO generic row": str(a.overall.accuracy_generic),
        "P-DPO permuted": str(a.overall.accuracy_permuted),
        "pooled": str(b.overall.accuracy_seen),
        "difference": str(gap.overall.accuracy),
        "per user": str(gap.overall.per_user),
    }
    for name in a.groups:
        row[f"P-DPO {name}"] = str(a.groups[name].accuracy_seen)
        row[f"pooled {name}"] = str(b.groups[name].accuracy_seen)
    return row


def lengths(folder: Path, prompts: int, tokens: int) -> dict:
    """Words of sampled answers for every worker, and the share of empty ones, by group."""
    lm = PersonalizedLM.from_pretrained(folder)
    scores = Scores.load(folder / "scores.parquet")
    group = dict(zip(scores.user, scores.group, strict=True))
    from prlhf.data import load_comparisons

    config = RunConfig.model_validate_json((folder / "config.json").read_text("utf8"))
    asked = sorted({str(c.prompt) for c in load_comparisons(config.data).comparisons})[:prompts]
    pairs = [(user, prompt) for user in sorted(group) for prompt in asked]
    answers = lm.generate(
        [p for _, p in pairs],
        users=[u for u, _ in pairs],
        temperature=1.0,
        max_new_tokens=tokens,
        batch_size=32,
        seed=0,
    )
    result = {}
    for name in sorted(set(group.values())):
        words = [len(a.split()) for (u, _), a in zip(pairs, answers, strict=True) if group[u] == name]
        result[f"{name} words (median)"] = statistics.median(words)
        result[f"{name} empty"] = sum(w == 0 for w in words) / len(words)
    return result


def option(config: RunConfig, **options: object) -> RunConfig:
    """The configuration with other options of the source."""
    data = config.data.model_copy(update={"options": {**config.data.options, **options}})
    return config.model_copy(update={"data": data})


def lasting(config: RunConfig, epochs: int, sft_weight: float) -> RunConfig:
    """The configuration with other epochs, a look at the validation side after each, and another `sft_weight`."""
    training = config.training.model_copy(update={"epochs": epochs, "eval_steps": 1 / epochs})
    objective = config.objective.model_copy(update={"sft_weight": sft_weight})
    return config.model_copy(update={"training": training, "objective": objective})


def length_study(config: RunConfig, runs: Runs, grid: int) -> list[dict]:
    """Top 10, top 40, and target lengths; tuned on top 10."""
    best = {m: tuned(config, m, runs, grid) for m in METHODS}
    table = []
    for name, (options, epochs, weight) in list(LENGTH_STUDIES.items())[: 1 if runs.quick else None]:
        place = name.replace(", ", "-").replace(" ", "_")
        configs = {m: lasting(option(best[m], **options), epochs, weight) for m in METHODS}
        folders = {m: run(configs[m], m, runs, place) for m in METHODS}
        row = {"study": name, **compare(folders["P-DPO"], folders["pooled"], best)}
        table.append({**row, **lengths(folders["P-DPO"], *((1, 8) if runs.quick else (12, 160)))})
        print(json.dumps(table[-1], indent=1), flush=True)
    return table


def vote_study(config: RunConfig, runs: Runs, grid: int, seeds: int) -> list[dict]:
    """True votes: tuned with seed 0 on the validation side, then several seeds of split, sample and start."""
    best = {m: tuned(config, m, runs, grid) for m in METHODS}
    table = []
    for seed in range(seeds):
        folders = {}
        for m in METHODS:
            split = best[m].data.split.model_copy(update={"seed": seed})
            data = best[m].data.model_copy(update={"split": split})
            folders[m] = run(best[m].model_copy(update={"seed": seed, "data": data}), m, runs, f"votes-{seed}")
        row = compare(folders["P-DPO"], folders["pooled"], best)
        table.append({"study": f"true votes, top 40, seed {seed}", **row})
        print(json.dumps(table[-1], indent=1), flush=True)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=["length", "votes"])
    parser.add_argument("--grid", type=int, default=1500, help="training comparisons of each grid run")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    add_run_options(parser)
    args = parser.parse_args()
    args.seeds = 1 if args.quick else args.seeds
    recipe = {"length": "recipes/convarg_length.toml", "votes": "recipes/convarg.toml"}[args.study]
    config = load_config(RunConfig, recipe, args.overrides)
    print(machine(), flush=True)
    with runs_of(args) as runs:
        if args.study == "length":
            table = length_study(config, runs, args.grid)
        else:
            table = vote_study(config, runs, args.grid, args.seeds)
    write(args.json, "convarg", machine(), vars(args), table)


if __name__ == "__main__":
    main()
