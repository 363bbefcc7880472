"""Training runs of the benchmarks: each is made once, and kept; and tiny ones, for --quick."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from figures import add_options

from prlhf.config import RunConfig
from prlhf.lm import is_checkpoint
from prlhf.training.train import train

__all__ = ["Runs", "add_run_options", "runs_of"]

STEPS: dict[str, Any] = {
    "max_steps": 1, "batch_size": 2, "gradient_accumulation_steps": 1, "eval_steps": 1, "eval_comparisons": 4,
    "save_steps": 0,
}  # fmt: skip
WORLD = {"users": 8, "votes": 4, "test_pairs": 2}
LENGTHS = {"base": "planted", "adapter": None, "max_prompt_tokens": 16, "max_response_tokens": 8}


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """The options of a benchmark that trains."""
    parser.add_argument("--output", type=Path, help="folder of the runs; a second call goes on with what is there")
    add_options(parser)


@dataclass(frozen=True)
class Runs:
    """The runs of one benchmark, each in a folder of its own."""

    output: Path
    quick: bool = False

    def trained(self, config: RunConfig, name: str) -> Path:
        """The folder of the finished run `name` of this configuration: trained unless it is there, or gone on with."""
        folder = self.output / name
        if not is_checkpoint(folder / "model"):
            train(tiny(config) if self.quick else config, folder, resume=(folder / "config.json").exists())
        return folder


@contextmanager
def runs_of(args: argparse.Namespace) -> Iterator[Runs]:
    """In `--output`, or with --quick in a folder that is gone afterwards."""
    if args.output is not None:
        yield Runs(args.output, args.quick)
    elif args.quick:
        with tempfile.TemporaryDirectory() as scratch:
            yield Runs(Path(scratch), True)
    else:
        raise SystemExit("name a folder for the runs: --output FOLDER")


def tiny(config: RunConfig) -> RunConfig:
    """The same run with one step on a few words of a few votes, on the bundled model."""
    small: dict[str, Any] = WORLD if config.data.source == "planted" else {"top": 6}
    tests = None if config.data.source == "planted" else 8
    if "unseen" in config.data.options:
        small = {**small, "unseen": 2}
    data = config.data.model_copy(update={"options": {**config.data.options, **small}, "max_comparisons": 16})
    return config.model_copy(
        update={
            "data": data,
            "model": config.model.model_copy(update=LENGTHS),
            "training": config.training.model_copy(update={**STEPS, "test_comparisons": tests}),
        }
    )
