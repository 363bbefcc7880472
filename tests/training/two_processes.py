"""One process of data-parallel runs: `accelerate launch two_processes.py JOBS`, a file of lines `[name, config, …]`.

Each run leaves `NAME.PROCESS.pt`: the loss of every step, what was trained, and the state of its optimiser.
"""

import json
import os
import sys
from pathlib import Path

import torch
from accelerate import PartialState

from prlhf.config import RunConfig
from prlhf.data import Log
from prlhf.training import train as training
from prlhf.training.callbacks import MarkComplete
from prlhf.training.sharding import sharded
from prlhf.training.trainer import PreferenceTrainer
from prlhf.types import Comparison, Thumb

WORDS = ["red", "green as grass", "a blue sky", "no", "yes, of course"]
PEOPLE = ["ann", "bob", "cem", None]


class Stop(Exception):
    """Thrown to end a run after a checkpoint."""


def made_up(count: int, kind: str) -> Log:
    """Comparisons of uneven weights and lengths, some of them ties, or thumbs; a quarter is nobody's."""
    made: list[Comparison | Thumb] = []
    for i in range(count):
        about = {"user": PEOPLE[i % 4], "weight": 1.0 + i % 3, "id": f"row {i}"}
        prompt, chosen = f"question {i}?", WORDS[i % 5]
        if kind == "thumbs":
            made.append(Thumb(prompt, chosen, i % 3 == 0, **about))
        else:
            rejected = WORDS[(i + 1 + i % 3) % 5] + "!" * (i % 3)
            made.append(Comparison(prompt, chosen, rejected, tie=kind == "ties" and i % 4 == 1, **about))
    split = {"comparisons": tuple(made)} if kind != "thumbs" else {"comparisons": (), "thumbs": tuple(made)}
    return Log(**split, source="made up")


def run(job: dict, folder: Path) -> None:
    """One run, and what it did."""
    steps, seen = [], {}

    class Seen(PreferenceTrainer):
        def training_step(self, *args, **kwargs):
            loss = super().training_step(*args, **kwargs)
            seen["trainer"] = self
            while len(steps) <= self.state.global_step - job.get("from", 0):
                steps.append(0.0)
            steps[-1] += loss.item()
            return loss

    class Stopping(MarkComplete):
        def on_save(self, args, state, control, **kwargs):
            super().on_save(args, state, control, **kwargs)
            if state.global_step == job.get("stop"):
                raise Stop

    training.PreferenceTrainer, training.MarkComplete = Seen, Stopping
    config, output = RunConfig.model_validate(job["config"]), folder / job.get("output", job["name"])
    log = made_up(job.get("count", 45), job.get("kind", "comparisons"))
    if job.get("fsdp"):
        os.environ.update({"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"})
    try:
        cache = output.with_suffix(".cache")
        result = training.train(config, output, log=log, resume=job.get("resume", False), cache=cache)
    except Stop:
        return
    finally:
        os.environ.pop("ACCELERATE_USE_FSDP", None)
        training.PreferenceTrainer, training.MarkComplete = PreferenceTrainer, MarkComplete
    lm, optimizer = result.lm, seen["trainer"].user_optimizer
    trained = {name: p for name, p in lm.named_parameters() if p.requires_grad}
    state = {f"{name}.{key}": value for name, p in trained.items() for key, value in optimizer.state[p].items()}
    values = {name: p.detach() for name, p in trained.items()}
    found = {"losses": steps, "trained": values, "state": state, "metrics": result.metrics is not None}
    found["spread"] = {
        name: p.to_local().numel() / p.numel() for name, p in lm.named_parameters() if name in sharded(lm)
    }
    torch.save(found, folder / f"{job['name']}.{PartialState().process_index}.pt")


if __name__ == "__main__":
    jobs = Path(sys.argv[1])
    for line in json.loads(jobs.read_text()):
        run(line, jobs.parent)
