"""Data-parallel training: two processes do what one does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from prlhf.config import RunConfig
from prlhf.data import Log
from prlhf.training.train import train
from prlhf.types import Comparison

WORDS = ["red", "green as grass", "a blue sky", "no", "yes, of course"]
ROWS = [
    {"prompt": f"question {i}?", "chosen": WORDS[i % 5], "rejected": WORDS[(i + 1 + i % 3) % 5] + "!" * (i % 3),
     "user": ["ann", "bob", "cem", None][i % 4], "weight": 1.0 + i % 2, "id": f"row {i}"}
    for i in range(40)
]  # fmt: skip


def config(base: str, objective: str, batch_size: int, accumulation: int = 1) -> RunConfig:
    training = {
        "batch_size": batch_size, "gradient_accumulation_steps": accumulation, "learning_rate": 1e-3, "user_l2": 0.1,
        "epochs": 2, "eval_steps": 4, "save_steps": 4, "device": "cpu",
    }  # fmt: skip
    tree = {"data": {"split": {"test": 0.2}}, "model": {"base": base}, "training": training}
    tree["objective"] = {"type": objective}
    return RunConfig.model_validate({**tree, "user_model": {"type": "individual", "tokens": 2}})


def launch(made: RunConfig, folder: Path) -> Path:
    (folder / "config").write_text(made.model_dump_json())
    (folder / "log").write_text(json.dumps(ROWS))
    arguments = [folder / name for name in ("config", "log", "run", "cache")]
    script = Path(__file__).with_name("two_processes.py")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node=2",
            str(script),
            *map(str, arguments),
        ],
        env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "run"


def losses(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["dpo", "kto"])  # the second has a number of the whole batch in each loss
def test_two_processes_do_what_one_does(base_folder, tmp_path, objective):
    log = Log(tuple(Comparison(**row) for row in ROWS), "made up")
    one = train(config(base_folder(), objective, 8), tmp_path / "one", log=log).folder
    two = launch(config(base_folder(), objective, 2, accumulation=2), tmp_path)
    assert losses(two) == pytest.approx(losses(one), abs=1e-5)
    for name in ("adapter_model.safetensors", "user_model/model.safetensors"):
        a, b = load_file(one / "model" / name), load_file(two / "model" / name)
        assert a.keys() == b.keys()
        for key in a:
            assert (a[key] - b[key]).abs().max() < 2e-4, key
    assert {p.name for p in two.iterdir()} == {p.name for p in one.iterdir()}
    assert sorted(Path(f"{two}.metrics").read_text().split()) == ["no", "yes"]  # only the first measures
    evaluations = [
        e["step"]
        for e in map(json.loads, (two / "metrics.jsonl").read_text().splitlines())
        if "eval_accuracy_seen" in e
    ]
    assert evaluations == sorted(set(evaluations))
    last = max((two / "checkpoints").iterdir(), key=lambda p: int(p.name.rsplit("-", 1)[1]))
    assert {"COMPLETE", "rng_state_0.pth", "rng_state_1.pth"} <= {p.name for p in last.iterdir()}
