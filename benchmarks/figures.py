"""What every benchmark says of its machine, and the file that its figures go into (`table.py` makes docs of them)."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

__all__ = ["add_options", "machine", "save_picture", "write"]


class _Quick(argparse.Action):
    """Says what its figures are worth."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, *given: Any) -> None:
        setattr(namespace, self.dest, True)
        print("quick mode: it runs everything at toy size, and its figures mean nothing", flush=True)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that every benchmark has."""
    words = "toy size, in seconds: whether it works, not how fast"
    parser.add_argument("--quick", action=_Quick, nargs=0, default=False, help=words)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")


def machine(threads: int | None = None, *extra: str) -> str:
    """The machine in words: processor, cores, instruction set, threads of a process, GPU, torch; and what else is
    given."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    cores = f"{platform.machine()}, {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}"
    threads = torch.get_num_threads() if threads is None else threads
    used = f"{threads} thread{'s' * (threads != 1)}"
    return ", ".join([cores, used, gpu, f"torch {torch.__version__}", *extra])


def write(
    path: Path | None,
    benchmark: str,
    machine: str,
    options: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    remarks: Sequence[str] = (),
    details: Any = None,
) -> None:
    """Write the figures as JSON, where a path is given.

    A row is a line of a table: column -> number, text, or `[middle, low, high]`. The rows of a `table` (a column that
    is not shown) stand together. `details` are for other readers than the page.
    """
    if path is None:
        return
    told = {name: value for name, value in options.items() if not isinstance(value, Path) and name != "json"}
    found = {"benchmark": benchmark, "machine": machine, "options": told, "remarks": list(remarks), "rows": list(rows)}
    found |= {} if details is None else {"details": details}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf8")


def save_picture(drawn: Any, path: Path) -> None:
    """A matplotlib figure as PNG, in a folder that is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn.savefig(path, dpi=150)
