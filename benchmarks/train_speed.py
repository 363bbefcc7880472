"""P-DPO (both branches) against TRL's plain DPO (one branch): comparisons per second of one epoch.

    python benchmarks/train_speed.py --models small,large --workloads short,summarisation,chat --json speed.json
    python benchmarks/train_speed.py --models small --workloads chat --comparisons 256 --steps 16
    python benchmarks/train_speed.py --models gpu --workloads summarisation,chat,long --bf16 --peak 989    # on an H200
    python benchmarks/train_speed.py --quick

Every contestant trains the same model (random weights, LoRA r=8 on q, k, v) on the same texts, in batches of the same
size and in a process of its own; they take turns, round after round, each round with texts of its own. "TRL" is its
DPOTrainer as it comes, but without gradient checkpointing, which costs it time; "TRL at its best" also has batches of
like lengths and a reference that is computed once, in batches as large (larger ones are slower on a CPU). Our one-off
reference pass counts as theirs does; where only some steps of the epoch are made, the share of it that they need.
Batches of like lengths take a long epoch to choose from, ours and those of TRL at its best: with 64 comparisons a fifth
of the tokens is padding, with 512 a thirtieth. (TRL then sorts stretches of a quarter of the epoch, of up to 50
batches, from long to short: make whole stretches.) Before the clock starts each has made one step. The peak of memory
is what the process takes at most, less what it held once the model was loaded.
"Of the matmul rate" is the arithmetic of useful token-passes (forward, and
backward to the activations, of tokens that are no padding; attention left out), by the rate of plain matrix products of
the same shapes. TRL's `padding_free` is not among the contestants: its version 1.16 has it switched off.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import speed_contestants
from figures import add_options, machine, write
from speed_models import WORKLOADS, make_model
from table import number

TARGETS: dict[tuple[str, str], tuple[float | None, float | None]] = {  # P-DPO by TRL as it comes, by TRL at its best
    ("small", "short"): (2.5, 1.7), ("small", "summarisation"): (3.0, 2.0), ("small", "chat"): (2.0, 1.5),
    ("large", "short"): (None, 1.0), ("large", "summarisation"): (None, 1.3), ("large", "chat"): (None, 1.0),
}  # fmt: skip


def measure(name: str, folder: Path, args: argparse.Namespace, size: str, workload: str, turn: int) -> dict[str, Any]:
    """One contestant's epoch in a process of its own."""
    work = {"name": name, "model": str(folder), "size": size, "workload": workload, "seed": turn}
    work |= {name: getattr(args, name) for name in ("comparisons", "batch", "steps", "bf16", "compile", "attention")}
    if args.quick:  # a process each would take longer than all the work
        return speed_contestants.run(work)
    environment = os.environ | {"CLOCK": args.clock, "OMP_NUM_THREADS": str(args.threads), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, speed_contestants.__file__, json.dumps(work)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def summary(found: list[dict[str, Any]], against: dict[str, list[dict[str, Any]]], peak: float = 0) -> dict[str, Any]:
    """A line of the table: medians over the rounds, and ratios to the contestants of TRL, round by round."""

    def middle(of: Callable[[dict[str, Any]], float]) -> float:
        return statistics.median(map(of, found))

    line: dict[str, Any] = {
        "comparisons/s": middle(lambda f: f["comparisons"] / f["seconds"]),
        "steps alone": middle(lambda f: f["comparisons"] / f["step_seconds"]),
        "peak, MB": middle(lambda f: f["peak_mb"]),
        "of the matmul rate": middle(lambda f: f["of_matmul"]) or None,
    }
    if peak:
        line["MFU"] = middle(lambda f: f["flops"]) / peak / 1e12 or None
    for other, theirs in against.items():
        ratios = [t["seconds"] / f["seconds"] for f, t in zip(found, theirs, strict=True)]
        line[f"÷ {other}"] = [statistics.median(ratios), min(ratios), max(ratios)]
    return line


def show(lines: Sequence[dict[str, Any]]) -> None:
    """The table."""
    columns = [name for name in lines[0] if name != "table"]
    print("".join(f"{name:>22s}" if i else f"{name:32s}" for i, name in enumerate(columns)))
    for line in lines:
        cells = [number(line[name]) for name in columns]
        print("".join(f"{cell:>22s}" if i else f"{cell:32s}" for i, cell in enumerate(cells)), flush=True)


def compare(args: argparse.Namespace, folder: Path, size: str, workload: str) -> tuple[list[dict[str, Any]], str]:
    """All contestants on one model and workload, in turns: the table and what is to be said of it."""
    left_out = tuple(filter(None, args.without.split(",")))
    names = [n for n in speed_contestants.names(args.users) if not any(fnmatchcase(n, part) for part in left_out)]
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for turn in range(args.rounds):
        for k in range(len(names)):  # another one first in each round
            name = names[(k + turn) % len(names)]
            found[name].append(measure(name, folder, args, size, workload, turn))
    theirs = {name: found[name] for name in speed_contestants.THEIRS if name in found}
    w = WORKLOADS[workload]
    title = f"{size}, {workload} ({w.prompt}/{w.response} tokens)"
    lines = {name: {"table": title, "": name, **summary(results, theirs, args.peak)} for name, results in found.items()}
    print(f"\n{title}, {args.comparisons} comparisons, batch {args.batch}, {args.rounds} rounds")
    show(list(lines.values()))
    told = verdict(size, workload, lines, theirs)
    if speed_contestants.UNIFORM in found and not args.bf16:
        gap = max(f["loss_gap"] for f in found[speed_contestants.UNIFORM])
        told += f" Uniform case: our loss is {gap:.1e} of TRL's away from it."
    print(told, flush=True)
    return list(lines.values()), f"{title}: {told}"


def verdict(size: str, workload: str, lines: dict[str, dict[str, Any]], theirs: Collection[str]) -> str:
    """The best of ours against the figures that are wanted."""
    best = max(
        (n for n in lines if n not in (*theirs, speed_contestants.UNIFORM)), key=lambda n: lines[n]["comparisons/s"]
    )
    told = f"Best: {best}"
    for other, least in zip(speed_contestants.THEIRS, TARGETS.get((size, workload), (None, None)), strict=True):
        if other in theirs:
            told += f"; {lines[best][f'÷ {other}'][0]:.2f} of {other}" + (f" (wanted {least})" if least else "")
    peak = min((lines[n]["peak, MB"] for n in theirs), default=None)
    return told + (f"; peak {lines[best]['peak, MB'] / peak:.2f} of theirs (wanted 1)." if peak else ".")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="small", help="small, large, gpu, gpu_toy, with commas between")
    parser.add_argument("--workloads", default="short", help=f"{', '.join(WORKLOADS)}, with commas between")
    parser.add_argument("--users", default="individual", help="user models at every place, or `all`")
    parser.add_argument("--without", default="", help="contestants that are left out, as `TRL,*uniform*`")
    parser.add_argument("--comparisons", type=int, default=512, help="of an epoch")
    parser.add_argument("--steps", type=int, default=0, help="of it that are made; 0: all")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    clock = "cpu: seconds that the CPU worked, for a machine with other work"
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall", help=clock)
    parser.add_argument("--bf16", action="store_true", help="autocast, for all contestants")
    parser.add_argument("--attention", default="auto", help="implementation, as in model.attention; for all")
    parser.add_argument("--peak", type=float, default=0, help="TFLOP/s that the GPU is sold with, for a column MFU")
    parser.add_argument("--compile", default="off", help="backend of torch.compile, for ours and theirs")
    add_options(parser)
    args = parser.parse_args()
    if args.quick:
        args.models, args.workloads, args.comparisons, args.batch, args.rounds = "tiny", "tiny", 4, 2, 1
    about = machine(args.threads, "bf16" if args.bf16 else "fp32", f"{args.clock} clock")
    print(about, flush=True)
    rows: list[dict[str, Any]] = []
    remarks = []
    with tempfile.TemporaryDirectory() as scratch:
        for size in args.models.split(","):
            folder = make_model(Path(scratch) / size, size)
            for workload in args.workloads.split(","):
                lines, told = compare(args, folder, size, workload)
                rows, remarks = [*rows, *lines], [*remarks, told]
                write(args.json, "train_speed", about, vars(args), rows, remarks)


if __name__ == "__main__":
    main()
