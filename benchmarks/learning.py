"""What learns fastest at equal budget on the planted world: places of the user tokens, starts, user models.

    python benchmarks/learning.py --output runs/learning [--comparisons 2400] [--only place,told,start,model,beta]

Every variant sees the same votes in the same order. Prints held-out accuracy with intervals over users; how often the
variant's sampled answers are preferred to the SFT model's (ties half), and how many are no answers at all; and training
speed relative to the first variant of its family in the same run. Finished runs are kept, so a second call goes on.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from figures import machine, write
from runs import Runs, add_run_options, runs_of

from prlhf import PersonalizedLM
from prlhf.config import RunConfig, load_config
from prlhf.data.planted import World
from prlhf.evaluation.judge import judge_policies, policy_of, reference_of
from prlhf.evaluation.metrics import Metrics, summarise
from prlhf.evaluation.scores import Scores
from prlhf.evaluation.winrate import WinRate

FAMILIES: dict[str, dict[str, list[str]]] = {
    "place": {
        "start": ["model.user_tokens_at=start"],
        "before_response": ["model.user_tokens_at=before_response"],
        "after_system (= start without a system message)": ["model.user_tokens_at=after_system"],
    },
    "told": {  # every prompt begins with its user's profile in words: the place of a system message
        place: ["data.options={told=true}", f"model.user_tokens_at={place}"]
        for place in ("start", "after_system", "before_response")
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
        "cluster 6, user rate x10": [
            "user_model.type=cluster",
            "user_model.tokens=4",
            "user_model.clusters=6",
            "training.user_learning_rate=0.32",
        ],
        "individual, 1 token": ["user_model.type=individual", "user_model.tokens=1"],
        "individual, 10 tokens": ["user_model.type=individual", "user_model.tokens=10"],
    },
    "beta": {f"beta {beta}": [f"objective.beta={beta}"] for beta in (0.5, 0.1, 0.2, 1.0)},
}


def wins(folder: Path, world: World, questions: int) -> tuple[WinRate, float]:
    """Sampled answers against the SFT model's, and the share of the variant's answers that are none."""
    lm = PersonalizedLM.from_pretrained(folder)
    policies = {"sft": reference_of(lm), "personal": policy_of(lm, "personal", text_of=world.text_of)}
    judged = judge_policies(world, policies, prompts_per_user=questions, pairs=[("personal", "sft")])
    return judged.verdicts["personal", "sft"].rate, judged.answers["personal"].not_answers


def measure(folder: Path) -> tuple[Metrics, float]:
    """Metrics and training comparisons per second of one variant."""
    speeds = [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf8").splitlines()]
    speed = next(line["train_samples_per_second"] for line in speeds if "train_samples_per_second" in line)
    return summarise(Scores.load(folder / "scores.parquet"), beta=0.1), speed


def compare(family: str, runs: Runs, args: argparse.Namespace) -> list[dict]:
    """The variants of a family: lines of the table."""
    budget = [f"training.max_steps={args.comparisons // 16}", "training.eval_steps=0", "training.save_steps=0"]
    budget += ["objective.beta=0.5", "objective.sft_weight=0", f"seed={args.seed}"]
    world = World(told=family == "told")
    lines: list[dict] = []
    for name, overrides in list(FAMILIES[family].items())[: 2 if runs.quick else None]:
        place = f"{family}-{name.split(' (')[0].replace(', ', '-').replace(' ', '_')}-{args.seed}"
        folder = runs.trained(load_config(RunConfig, "recipes/planted.toml", [*budget, *overrides]), place)
        metrics, speed = measure(folder)
        rate, nothing = wins(folder, world, args.questions)
        o, minority = metrics.overall, metrics.groups["minority"].accuracy_seen
        lines.append({
            "table": family, "": name, "seen": str(o.accuracy_seen), "minority": minority.value,
            "generic": o.accuracy_generic.value, "permuted": o.accuracy_permuted.value,
            "wins against SFT": rate.per_user.value, "no answer": nothing, "comparisons/s": speed,
            "÷ first": speed / (lines[0]["comparisons/s"] if lines else speed),
        })  # fmt: skip
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comparisons", type=int, default=2400, help="training comparisons of each variant")
    parser.add_argument("--only", default="place,told,start,model,beta")
    parser.add_argument("--questions", type=int, default=3, help="held-out questions that every user asks")
    parser.add_argument("--seed", type=int, default=0)
    add_run_options(parser)
    args = parser.parse_args()
    if args.quick:
        args.only, args.questions = "place", 1
    print(machine(), flush=True)
    print(f"{args.comparisons} comparisons each, batch 16, beta 0.5 unless said, seed {args.seed}")
    with runs_of(args) as runs:
        lines = [line for family in args.only.split(",") for line in compare(family, runs, args)]
    write(args.json, "learning", machine(), vars(args), lines)


if __name__ == "__main__":
    main()
