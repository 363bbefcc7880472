"""Two processes do what one does: every loss of the first twenty steps, every weight, every row and its state."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from two_processes import run

from prlhf.training.callbacks import last_checkpoint

STEPS = 20
CASES = {
    # 41 = 5 x 8 + 1 comparisons an epoch: one of the processes has none of the last batch
    "individual": {"objective": {"type": "dpo", "ties": 0.5}, "kind": "ties", "count": 41, "alpha": 0.7},
    # 45 = 5 x 8 + 5: one process has three of the last batch, the other two
    "low_rank": {
        "objective": {"type": "kto"}, "kind": "thumbs", "user_model": {"type": "low_rank", "rank": 3},
        "training": {"max_steps": 12},
    },
    "cluster": {"user_model": {"type": "cluster", "clusters": 2}, "training": {"branches": "sampled", "max_steps": 12}},
    "fsdp": {
        "fsdp": True, "test": 0.2, "training": {"max_steps": 6, "eval_steps": 3, "gradient_checkpointing": True},
    },
}  # fmt: skip
RESUMED = {"training": {"max_steps": 8, "save_steps": 4}}  # an epoch is six steps


def job(name: str, base: str, processes: int, **more) -> dict:
    """A run with a global batch of eight: 8 at a time, or 2 at a time in each of two processes, twice."""
    case = CASES.get(name, {}) | more
    training = {
        "batch_size": 8 if processes == 1 else 2, "gradient_accumulation_steps": 1 if processes == 1 else 2,
        "learning_rate": 1e-3, "user_l2": 0.1, "max_steps": STEPS, "eval_steps": 0, "save_steps": 0, "device": "cpu",
    } | case.pop("training", {})  # fmt: skip
    if processes == 2 and name in ("individual", "cluster"):
        training["tokens_at_once"] = 100  # other parts, and other numbers of them, in each process
    user_model = {"type": "individual"} | case.pop("user_model", {}) | {"tokens": 2}
    config = {
        "data": {"split": {"test": case.pop("test", 0.0)}},
        "model": {"base": base, "tuning": {"type": "lora", "r": 2}},
        "training": training, "user_model": user_model, "objective": case.pop("objective", {"type": "dpo"}),
        "alpha": case.pop("alpha", 0.5),
    }  # fmt: skip
    return {"name": name, "config": config} | case


def launch(jobs: list[dict], folder: Path) -> subprocess.Popen:
    """Run jobs in two processes, started as a user would start them."""
    (folder / "jobs").write_text(json.dumps(jobs))
    recipe = Path(__file__).parents[2] / "recipes" / "accelerate" / "cpu2.yaml"
    script = Path(__file__).with_name("two_processes.py")
    return subprocess.Popen(
        [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(recipe), "--main_process_port", "0",
         str(script), str(folder / "jobs")],
        env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(base_folder, tmp_path_factory):
    """All runs, by one process and, in one launch, by two: `NAME` is of two, `NAME alone` of one."""
    made, base = tmp_path_factory.mktemp("processes"), base_folder(dtype=torch.float64)
    run(job("1 to 2", base, 1, stop=4, **RESUMED), made)
    two = [job(name, base, 2) for name in CASES]
    two += [job("1 to 2", base, 1, resume=True, **RESUMED), job("2 to 1", base, 2, stop=4, **RESUMED)]
    launched = launch(two, made)
    try:
        for name in CASES:
            run(job(name, base, 1, output=f"{name} alone") | {"name": f"{name} alone", "fsdp": False}, made)
        run(job("whole", base, 1, **RESUMED), made)
        _, errors = launched.communicate(timeout=300)
    finally:
        launched.kill()
    assert launched.returncode == 0, errors[-3000:]
    run(job("2 to 1", base, 2, resume=True, **RESUMED), made)
    return made


def found(folder: Path, name: str) -> list[dict]:
    """What each process of a run did."""
    return [torch.load(path) for path in sorted(folder.glob(f"{name}.?.pt"))]


def same(some: list[dict], one: dict, within: float = 1e-9) -> None:
    """What each of some processes holds at the end is what one process holds, and they hold the same bits."""
    for key in ("trained", "state"):
        for each in some:
            assert each[key].keys() == one[key].keys()
            for name, value in one[key].items():
                assert value.dtype == torch.float64 or name.endswith("step")
                torch.testing.assert_close(each[key][name], value, rtol=within, atol=within, msg=f"{key} {name}")
                assert torch.equal(each[key][name], some[0][key][name])


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_two_processes_do_what_one_does(folder, name):
    two, [one] = found(folder, name), found(folder, f"{name} alone")
    assert len(two) == 2 and len(one["losses"]) == CASES[name].get("training", {}).get("max_steps", STEPS)
    mean = [sum(losses) / 2 for losses in zip(*(each["losses"] for each in two), strict=True)]
    assert mean == pytest.approx(one["losses"], rel=1e-9)
    same(two, one)
    assert [each["metrics"] for each in two] == [
        name == "fsdp",
        False,
    ]  # only the first measures, where there is a side


@pytest.mark.slow
def test_fsdp_spreads_the_layers_and_nothing_else(folder):
    for each in found(folder, "fsdp"):
        assert each["spread"] and all(".layers." in name and "lora_" not in name for name in each["spread"])
        assert set(each["spread"].values()) == {0.5}
    assert not found(folder, "individual")[0]["spread"]
    held = json.loads((folder / "fsdp" / "evaluation.json").read_text())
    alone = json.loads((folder / "fsdp alone" / "evaluation.json").read_text())
    assert held["all"] == alone["all"] if "all" in held else held == alone


@pytest.mark.slow
@pytest.mark.parametrize(("name", "processes"), [("1 to 2", 2), ("2 to 1", 1)])
def test_a_run_goes_on_with_another_number_of_processes(folder, name, processes):
    rest, [whole] = found(folder, name), found(folder, "whole")
    same(rest[:processes], whole)
    mean = [sum(losses) / processes for losses in zip(*(each["losses"] for each in rest[:processes]), strict=True)]
    assert mean[-4:] == pytest.approx(whole["losses"][-4:], rel=1e-9)  # of steps 5 to 8
    checkpoint = last_checkpoint(folder / name / "checkpoints")
    assert checkpoint is not None and checkpoint.name == "checkpoint-8"
