"""Many users: a training step, memory, checkpoints and lookups, from a hundred users to ten million.

    python benchmarks/user_scale.py [--quick] [--models low_rank,…] [--sizes 1e2,1e4,1e6,1e7] [--json FILE]

The bundled model (width 128) with its LoRA, trained by the package's own trainer on comparisons of users drawn at
random. Every point is a process of its own, for its peak memory; all sizes of a user model are there at once and take
their steps in turn, a different one first each time, and the ratio is the median over turns. A step is everything from
the end of one to the end of the next: the next batch, both branches forward and backward, the optimiser, the Trainer's
own bookkeeping. Needs Linux. `individual` is left out at ten million users.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import resource
import shutil
import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from figures import add_options, machine, write
from table import number
from transformers import TrainerCallback, TrainingArguments
from transformers.utils import logging as transformers_logging

from prlhf import PersonalizedLM
from prlhf.config import Cluster, Individual, LowRank, ModelConfig, RunConfig
from prlhf.data.planted import World
from prlhf.objectives import make_objective
from prlhf.training.branches import Branches
from prlhf.training.train import prepare
from prlhf.training.trainer import PreferenceTrainer
from prlhf.users import load_users

MODELS = ("individual", "cluster", "low_rank")
GB, MB = 1e9, 1e6


@dataclass(frozen=True)
class Point:
    """One user model with so many users, and what is done with it."""

    model: str
    users: int
    tokens: int
    k: int
    batch: int
    steps: int
    """Of which the first three are not counted."""
    folder: Path

    @property
    def config(self) -> Any:
        """The user model's options."""
        own = {"individual": {}, "cluster": {"clusters": self.k}, "low_rank": {"rank": self.k}}[self.model]
        return {"individual": Individual, "cluster": Cluster, "low_rank": LowRank}[self.model](
            tokens=self.tokens, **own
        )


def ids_of(users: int) -> pa.Array:
    """`user-00000000`, …: no Python object per user."""
    numbers = pc.utf8_lpad(pc.cast(pa.array(np.arange(users)), pa.string()), 8, "0")
    return pc.binary_join_element_wise("user", numbers, "-")


def peak() -> int:
    """Largest resident memory of this process so far, in bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def size(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


class Turns(TrainerCallback):
    """Takes a step when it is told to, and says how long it took; then the same for a checkpoint of the training."""

    def __init__(self, pipe: Connection) -> None:
        self.pipe = pipe
        self.start = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Wait for the first turn."""
        self._wait(control)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Tell the time and wait for the next."""
        self.pipe.send(time.perf_counter() - self.start)
        self._wait(control)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Tell the time of a checkpoint."""
        self.pipe.send(time.perf_counter() - self.start)
        self._wait(control)

    def _wait(self, control: Any) -> None:
        order = self.pipe.recv()
        control.should_save, control.should_training_stop = order == "save", order == "stop"
        self.start = time.perf_counter()


def trainer_of(point: Point, lm: PersonalizedLM, pipe: Connection) -> tuple[PreferenceTrainer, np.ndarray]:
    """The trainer on as many comparisons as all steps take, and the rows of their users."""
    votes = [replace(vote, user=None, user_text=None) for vote in World().log().comparisons[: 4 * point.batch]]
    data = prepare(lm, votes, RunConfig(), layout="auto", cache=None)
    count = point.batch * point.steps
    rows = 1 + np.random.default_rng(0).integers(0, point.users, count)
    tiled = {
        "encoded": [data.encoded[i % len(data)] for i in range(count)],
        "rows": rows,
        "ids": [f"vote {i}" for i in range(count)],
        **{name: np.resize(getattr(data, name), count) for name in ("weight", "prior", "ties")},
        "reference": data.reference[np.arange(count) % len(data)],
    }
    arguments = TrainingArguments(
        str(point.folder / "training"), learning_rate=1e-4, max_grad_norm=0.0, report_to="none", disable_tqdm=True,
        use_cpu=True, num_train_epochs=1, per_device_train_batch_size=point.batch, save_strategy="no",
        lr_scheduler_type="constant", remove_unused_columns=False, dataloader_pin_memory=False,
    )  # fmt: skip
    trainer = PreferenceTrainer(
        lm, arguments, replace(data, **tiled), objective=make_objective(RunConfig().objective), branches=Branches(0.5),
        layout=data.layout, user_learning_rate=1e-2, user_l2=0.1, max_grad_norm=1.0, callbacks=[Turns(pipe)],
    )  # fmt: skip
    return trainer, rows


def changed_rows(table: torch.Tensor) -> np.ndarray:
    """Rows that are no longer zero, which all of them are at the start."""
    parts = [part.ne(0).any(1).nonzero()[:, 0] + 65536 * i for i, part in enumerate(table.detach().split(65536))]
    return torch.cat(parts).numpy()


def train_point(pipe: Connection, point: Point) -> None:
    """A process: make the table, take steps when told, then say what became of it and write the model."""
    torch.set_num_threads(1)
    logging.getLogger("prlhf").setLevel(logging.ERROR)
    transformers_logging.disable_progress_bar()
    start = time.perf_counter()
    lm = PersonalizedLM.create(ModelConfig(base="planted"), point.config, ids_of(point.users))
    made = time.perf_counter() - start
    trainer, rows = trainer_of(point, lm, pipe)
    pipe.send("ready")
    trainer.train()
    table, highest = lm.user_model.table.weight, peak()
    state = trainer.user_optimizer.state[table].values()
    taught = {*rows.tolist(), *([] if lm.user_model.pinned else [0])}
    start = time.perf_counter()
    lm.save_pretrained(point.folder / "model")
    saved = time.perf_counter() - start
    pipe.send(
        {
            "width": lm.user_model.width,
            "create_s": made,
            "save_s": saved,
            "peak_bytes": highest,
            "table_bytes": table.numel() * table.element_size(),
            "state_bytes": sum(value.numel() * value.element_size() for value in state),
            "ids_bytes": lm.users.nbytes,
            "training_checkpoint_bytes": size(point.folder / "training"),
            "model_bytes": size(point.folder / "model"),
            "user_model_bytes": size(point.folder / "model" / "user_model"),
            "rows_taught": len(taught),
            "only_the_batches_rows_changed": set(changed_rows(table).tolist()) == taught,
        }
    )


def open_point(pipe: Connection, point: Point) -> None:
    """A process: open the user model that was written, and look users up."""
    torch.set_num_threads(1)
    before, start = peak(), time.perf_counter()
    user_model, users = load_users(point.folder / "model" / "user_model")
    opened = time.perf_counter() - start
    rng, singles = np.random.default_rng(1), []
    for _ in range(20):
        asked = int(rng.integers(point.users))
        start = time.perf_counter()
        rows = users.rows([f"user-{asked:08d}"])
        user_model(torch.from_numpy(rows))
        singles.append(time.perf_counter() - start)
        assert rows.tolist() == [asked + 1]
    highest = peak() - before
    ids = [f"user-{i:08d}" for i in rng.integers(point.users, size=1000)]
    start = time.perf_counter()
    users.rows([*ids, *ids])  # more than there are row groups: from memory from here on
    whole = time.perf_counter() - start
    start = time.perf_counter()
    users.rows(ids)
    thousand = time.perf_counter() - start
    pipe.send(
        {
            "open_s": opened,
            "first_lookup_s": singles[0],
            "lookup_s": statistics.median(singles[1:]),
            "open_and_lookups_added_bytes": highest,
            "read_all_ids_s": whole,
            "lookup_of_1000_s": thousand,
        }
    )


def start(work: Any, point: Point) -> tuple[Any, Connection]:
    """A process that works on a point, and the pipe to it."""
    context = multiprocessing.get_context("fork")  # which has everything imported already
    here, there = context.Pipe()
    process = context.Process(target=work, args=(there, point), daemon=True)
    process.start()
    there.close()  # so that a process that dies is noticed
    return process, here


def measure(points: list[Point]) -> list[dict[str, Any]]:
    """All sizes of one user model, their steps in turn."""
    workers = [start(train_point, point) for point in points]
    for _, pipe in workers:
        assert pipe.recv() == "ready"
    steps: list[list[float]] = [[] for _ in points]
    for turn in range(points[0].steps):
        for i in range(len(points)):
            k = (i + turn) % len(points)
            workers[k][1].send("step")
            steps[k].append(workers[k][1].recv())
    saves = []
    for _, pipe in workers:
        pipe.send("save")
        saves.append(pipe.recv())
        pipe.send("stop")
    found = []
    for point, (process, pipe), own, save in zip(points, workers, steps, saves, strict=True):
        figures = pipe.recv()
        process.join()
        process, pipe = start(open_point, point)
        figures |= pipe.recv()
        process.join()
        shutil.rmtree(point.folder)
        about = {"model": point.model, "users": point.users, "tokens": point.tokens, "k": point.k, "batch": point.batch}
        found.append({**about, "steps_s": own[3:], "training_checkpoint_s": save, **figures})
    return found


def line(p: dict[str, Any]) -> dict[str, Any]:
    """A line of the table."""
    low, middle, high = (1e3 * s for s in np.quantile(p["steps_s"], [0.25, 0.5, 0.75]))
    return {
        "user model": p["model"], "users": p["users"], "step, ms": [middle, low, high],
        "peak of the process, GB": p["peak_bytes"] / GB, "table, MB": p["table_bytes"] / MB,
        "state, MB": p["state_bytes"] / MB, "ids, MB": p["ids_bytes"] / MB, "model, MB": p["model_bytes"] / MB,
        "to save it, s": p["save_s"], "training checkpoint, MB": p["training_checkpoint_bytes"] / MB,
        "to save that, s": p["training_checkpoint_s"], "to open the model, s": p["open_s"],
        "first lookup, s": p["first_lookup_s"], "next lookup, ms": 1e3 * p["lookup_s"],
    }  # fmt: skip


def verdicts(points: list[dict[str, Any]]) -> list[str]:
    """What was promised, and what was found; timings are this machine's at this moment."""
    lines = []
    for model in dict.fromkeys(p["model"] for p in points):
        own = [p for p in points if p["model"] == model]
        small, large = own[0], max((p for p in own if p["users"] <= 10**6), key=lambda p: p["users"])
        ratios = np.array(large["steps_s"]) / np.array(small["steps_s"])
        low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
        lines.append(
            f"{model}: a step at {large['users']:,} users costs {middle:.3f} x one at {small['users']:,} (quartiles of "
            f"{len(ratios)} turns {low:.3f} to {high:.3f}; promised <= 1.10)"
        )
    touched = all(p["only_the_batches_rows_changed"] for p in points)
    lines.append(f"only the rows of the batches changed: {touched}")
    for p in points:
        if p["model"] == "low_rank" and p["users"] == max(q["users"] for q in points):
            held = p["table_bytes"] + p["state_bytes"] + p["ids_bytes"]
            lines.append(
                f"low_rank, K = {p['k']}, {p['users']:,} users: table, training state and ids hold {held / GB:.3f} GB "
                f"(promised <= 2 at ten million); opened and the first user found in "
                f"{p['open_s'] + p['first_lookup_s']:.3f} s (promised <= 2)"
            )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--sizes", default="1e2,1e4,1e6,1e7", help="numbers of users")
    parser.add_argument("--tokens", type=int, default=4, help="T_u")
    parser.add_argument("--k", type=int, default=16, help="K, clusters or factors")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=43, help="of which three warm up")
    add_options(parser)
    args = parser.parse_args()
    if args.quick:
        args.models, args.sizes, args.steps, args.batch = "individual,low_rank", "1e2,1e4", 4, 2
    sizes = [int(float(size)) for size in args.sizes.split(",")]
    steps, batch = args.steps, args.batch
    about = machine(1)
    print(f"machine: {about}; T_u = {args.tokens}, K = {args.k}, batch {batch}", flush=True)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for model in args.models.split(","):
            points = [
                Point(model, n, args.tokens, args.k, batch, steps, Path(folder) / f"{model}-{n}")
                for n in sizes
                if model != "individual" or n <= 10**6
            ]
            measured = measure(points)
            found += measured
            print("\n".join(", ".join(f"{k} {number(v)}" for k, v in line(p).items()) for p in measured), flush=True)
    print(f"width {found[0]['width']}")
    summary = verdicts(found)
    print("\n".join(summary))
    write(args.json, "user_scale", about, vars(args), [line(p) for p in found], summary, found)


if __name__ == "__main__":
    main()
