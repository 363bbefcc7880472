"""What a text about the user is worth beside the votes, and for somebody who never voted.

    python benchmarks/user_text.py --output runs/user_text [--epochs 2] [--set KEY=VALUE …] [--quick] [--json FILE]

Planted users of whom a text states half of the profile (`told = "half"`); a fifth of them does not vote. Three runs on
the same votes with the same options: the text and a state of one's own, the text alone (pooled DPO that reads it), and
the state alone. Each is asked on the tests of those who voted and of those who did not, who get the generic row. The
same text stands in both branches.
"""

import argparse

from figures import machine, write
from runs import Runs, add_run_options, runs_of

from prlhf.config import RunConfig, load_config
from prlhf.evaluation.metrics import summarise
from prlhf.evaluation.paired import paired_difference
from prlhf.evaluation.scores import Scores

HALF = 'data.options={told = "half", unseen = 12}'
BETA = 1.0  # of no importance for accuracies
NONE = "data.options={unseen = 12}"
SYSTEMS = {
    "text and state": [HALF],
    "text alone": [HALF, "user_model.type=uniform", "user_model.tokens=0", "alpha=0"],
    "state alone": [NONE],
}


def scores(name: str, runs: Runs, settings: list[str]) -> Scores:
    """The margins of a run on all tests; it is trained unless it is there."""
    config = load_config(RunConfig, "recipes/planted.toml", [*SYSTEMS[name], *settings])
    return Scores.load(runs.trained(config, name.replace(" ", "_")) / "scores.parquet")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=float, default=2.0)
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="KEY=VALUE")
    add_run_options(parser)
    args = parser.parse_args()
    print(machine(), flush=True)
    settings = [f"training.epochs={args.epochs}", "data.max_comparisons=null", *args.settings]
    with runs_of(args) as runs:
        found = {name: scores(name, runs, settings) for name in SYSTEMS}
    seen = found["state alone"].seen  # all runs have the same comparisons in the same order
    lines = []
    for side, rows, figure in (("voted", seen, "accuracy_seen"), ("never voted", ~seen, "accuracy_generic")):
        first = found["text and state"].select(rows)
        for name, every in found.items():
            own = every.select(rows)
            accuracy = getattr(summarise(own, BETA).overall, figure)
            gap = paired_difference(first, own).overall.accuracy
            lines.append({"users": side, "": name, "accuracy": str(accuracy), "text and state minus it": str(gap)})
            print(f"{side:12s} {name:15s} {accuracy}   text and state minus it: {gap}", flush=True)
    write(args.json, "user_text", machine(), vars(args), lines)


if __name__ == "__main__":
    main()
