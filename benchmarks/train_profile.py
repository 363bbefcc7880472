"""Where the time of training goes: P-DPO's steps and its reference pass, by kind of work.

    python benchmarks/train_profile.py [--models small,large] [--workloads short,summarisation,chat] [--place start]

Shares of the time of some steps after a first one that PyTorch's own operations take, by its profiler; "between them"
is what is left: Python, autograd, the Trainer. The named alternative is a step without any of it: the products
of the useful token-passes at the rate of plain matrix products of the same shapes.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from figures import add_options, machine, write
from speed_contestants import Clock, matmul_rate, model, our_trainer, useful_flops
from speed_models import WORKLOADS, comparisons, make_model
from table import number
from torch.profiler import ProfilerActivity, profile

KINDS = {  # kind: parts of the names of operations
    "matrix products": ("mm", "aten::linear"),
    "attention": ("scaled_dot_product", "flash_attention"),
    "softmax over the vocabulary": ("softmax", "aten::exp", "aten::gather", "scatter"),
    "activations, norms, positions, sums": (
        "silu", "aten::mul", "aten::add", "aten::pow", "aten::rsqrt", "aten::mean", "aten::neg", "aten::cat",
        "aten::div", "aten::sum", "aten::sub", "aten::cos", "aten::sin",
    ),
    "copies and fills": ("aten::copy_", "aten::fill_", "aten::zero_", "aten::index", "aten::embedding", "aten::clone"),
}  # fmt: skip
OTHER = "other operations"


def kind_of(name: str) -> str:
    """The kind that an operation belongs to."""
    return next((kind for kind, parts in KINDS.items() if any(part in name for part in parts)), OTHER)


def measure(folder: Path, size: str, workload: str, args: argparse.Namespace) -> dict[str, Any]:
    """A line of the table: shares of the time of all steps."""
    work = {
        "name": f"P-DPO individual, {args.place}", "model": str(folder), "size": size, "workload": workload, "seed": 0,
        "batch": args.batch, "steps": args.steps, "bf16": False, "compile": "off", "attention": "auto",
    }  # fmt: skip
    log = comparisons(args.comparisons, WORKLOADS[workload], size, 0)
    lm, config = model(work, log)
    result: dict[str, Any] = {"reference_seconds": 0.0}
    with tempfile.TemporaryDirectory() as scratch:
        trainer = our_trainer(work, lm, config, log, scratch, Clock(), result)
        first = next(iter(trainer.get_train_dataloader()))
        trainer.model.train()
        trainer.compute_loss(trainer.model, trainer._prepare_inputs(first)).backward()
        trainer.model.zero_grad()
        begin, worked = time.perf_counter(), time.process_time()
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            trainer.train()
        seconds, worked = time.perf_counter() - begin, time.process_time() - worked
    times = dict.fromkeys([*KINDS, OTHER], 0.0)
    for event in profiler.key_averages():
        if event.key.startswith("aten::"):
            times[kind_of(event.key)] += event.self_cpu_time_total / 1e6
    passes = useful_flops(lm, trainer) / matmul_rate(lm, 100 * args.batch, False)
    line: dict[str, Any] = {"model": size, "workload": workload, "CPU seconds": worked}
    line |= {kind: f"{spent / seconds:.0%}" for kind, spent in times.items()}
    line["between them"] = f"{max(1 - sum(times.values()) / seconds, 0):.0%}"
    return line | {"products of useful token-passes alone, seconds": passes, "÷ that": worked / passes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="small")
    parser.add_argument("--workloads", default="short,summarisation,chat")
    parser.add_argument("--place", default="before_response")
    parser.add_argument("--comparisons", type=int, default=128)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--batch", type=int, default=8)
    add_options(parser)
    args = parser.parse_args()
    if args.quick:
        args.models, args.workloads, args.comparisons, args.steps, args.batch = "tiny", "tiny", 4, 1, 2
    os.environ["CLOCK"] = "cpu"
    torch.set_num_threads(1)
    print(machine(1), flush=True)
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for size in args.models.split(","):
            folder = make_model(Path(scratch) / size, size)
            for workload in args.workloads.split(","):
                rows.append(measure(folder, size, workload, args))
                print(", ".join(f"{name} {number(value)}" for name, value in rows[-1].items()), flush=True)
    write(args.json, "train_profile", machine(1), vars(args), rows)


if __name__ == "__main__":
    main()
