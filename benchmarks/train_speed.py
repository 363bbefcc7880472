"""P-DPO (both branches) against TRL's plain DPO (one branch): comparisons per second of one epoch.

    python benchmarks/train_speed.py --models small,large --workloads short,summarisation,chat --json speed.json
    python benchmarks/train_speed.py --quick

Every contestant trains the same model (random weights, LoRA r=8 on q, k, v) on the same texts, in batches of the same
size and in a process of its own; they take turns, round after round, each round with texts of its own. "TRL" is its
DPOTrainer as it comes, but without gradient checkpointing, which costs it time; "TRL at its best" also has batches of
like lengths and a reference that is computed once, in larger batches. Our one-off reference pass counts as theirs
does. Before the clock starts each has made one step. The peak of memory is what the process takes at most, less what
it held once the model was loaded. "Of matmul" is the arithmetic of useful token-passes (forward, and backward to the
activations, of tokens that are no padding; attention left out), by the rate of plain matrix products of the same
shapes. A line at the start says how far our loss in the uniform case is from TRL's.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import speed_contestants
from speed_models import WORKLOADS, make_model

TARGETS: dict[tuple[str, str], tuple[float | None, float | None]] = {  # P-DPO by TRL as it comes, by TRL at its best
    ("small", "short"): (2.5, 1.7), ("small", "summarisation"): (3.0, 2.0), ("small", "chat"): (2.0, 1.5),
    ("large", "short"): (None, 1.0), ("large", "summarisation"): (None, 1.3), ("large", "chat"): (None, 1.0),
}  # fmt: skip


def measure(name: str, folder: Path, args: argparse.Namespace, size: str, workload: str, turn: int) -> dict[str, Any]:
    """One contestant's epoch in a process of its own."""
    work = {"name": name, "model": str(folder), "size": size, "workload": workload, "seed": turn}
    work |= {"comparisons": args.comparisons, "batch": args.batch, "bf16": args.bf16, "compile": args.compile}
    if args.quick:  # a process each would take longer than all the work
        return speed_contestants.run(work)
    environment = os.environ | {"CLOCK": args.clock, "OMP_NUM_THREADS": str(args.threads), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, speed_contestants.__file__, json.dumps(work)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def summary(found: list[dict[str, Any]], against: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Medians over the rounds, and ratios to the contestants of TRL, round by round."""
    middle = {key: statistics.median(f[key] for f in found) for key in found[0] if key != "loss_gap"}
    middle["speed"] = statistics.median(f["comparisons"] / f["seconds"] for f in found)
    middle["speed_steps"] = statistics.median(f["comparisons"] / f["step_seconds"] for f in found)
    for other, theirs in against.items():
        ratios = [t["seconds"] / f["seconds"] for f, t in zip(found, theirs, strict=True)]
        middle[f"to {other}"] = [statistics.median(ratios), min(ratios), max(ratios)]
    return middle


def show(name: str, row: dict[str, Any]) -> None:
    """A line of the table."""
    ratios = "  ".join(f"{m:5.2f} [{low:.2f}, {high:.2f}]" for key, (m, low, high) in (
        (k, v) for k, v in row.items() if k.startswith("to ")))  # fmt: skip
    figures = f"{row['speed']:8.2f} {row['speed_steps']:8.2f} {row['peak_mb']:8.0f} {row['of_matmul']:6.0%}"
    print(f"{name:36s} {figures}  {ratios}", flush=True)


def compare(args: argparse.Namespace, folder: Path, size: str, workload: str) -> dict[str, Any]:
    """All contestants on one model and workload, in turns."""
    names = speed_contestants.names(args.users)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for turn in range(args.rounds):
        for name in names:
            found[name].append(measure(name, folder, args, size, workload, turn))
    theirs = {name: found[name] for name in speed_contestants.THEIRS}
    rows = {name: summary(results, theirs) for name, results in found.items()}
    gap = max(f["loss_gap"] for f in found[speed_contestants.UNIFORM])
    w = WORKLOADS[workload]
    print(f"\n{size}, {workload} ({w.prompt}/{w.response} tokens), {args.comparisons} comparisons, batch {args.batch}")
    print(f"uniform case: our loss is {gap:.1e} of TRL's away from it")
    print(f"{'':36s} {'/s':>8s} {'/s steps':>8s} {'peak MB':>8s} matmul  to {'  to '.join(theirs)}")
    for name, row in rows.items():
        show(name, row)
    best = max((n for n in names if n not in (*theirs, speed_contestants.UNIFORM)), key=lambda n: rows[n]["speed"])
    peak = min(rows[n]["peak_mb"] for n in theirs)
    print(f"best: {best}; its peak is {rows[best]['peak_mb'] / peak:.2f} of TRL's")
    for other, least in zip(theirs, TARGETS.get((size, workload), (None, None)), strict=True):
        if least is not None:
            print(f"  to {other}: {rows[best][f'to {other}'][0]:.2f} (wanted: {least})")
    return {"size": size, "workload": workload, "loss_gap": gap, "best": best, "rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="small", help="small, large (or gpu), with commas between")
    parser.add_argument("--workloads", default="short", help=f"{', '.join(WORKLOADS)}, with commas between")
    parser.add_argument("--users", default="individual", help="user models at every place, or `all`")
    parser.add_argument("--comparisons", type=int, default=64)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument(
        "--clock",
        choices=["wall", "cpu"],
        default="wall",
        help="cpu: seconds that the CPU worked, for a machine with other work",
    )
    parser.add_argument("--bf16", action="store_true", help="autocast, for all contestants")
    parser.add_argument("--compile", default="off", help="backend of torch.compile, for ours and theirs")
    parser.add_argument("--quick", action="store_true", help="a tiny model and few steps: runs, measures nothing")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.quick:
        args.models, args.workloads, args.comparisons, args.batch, args.rounds = "tiny", "tiny", 8, 4, 1
    print(
        f"machine: {platform.machine()}, {args.threads} threads, {'bf16' if args.bf16 else 'fp32'}, {args.clock} clock",
        flush=True,
    )
    results = []
    with tempfile.TemporaryDirectory() as scratch:
        for size in args.models.split(","):
            folder = make_model(Path(scratch) / size, size)
            results += [compare(args, folder, size, workload) for workload in args.workloads.split(",")]
    if args.json:
        args.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf8")


if __name__ == "__main__":
    main()
