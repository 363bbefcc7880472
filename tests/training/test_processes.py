"""Two processes do what one does: every loss of the first twenty steps, every weight, every row and its state."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from two_processes import run

STEPS = 20
CASES = {
    # rows and shared parts with everything that weighs, 45 = 5 x 8 + 5 comparisons an epoch
    "individual": {"objective": {"type": "dpo", "ties": 0.5}, "kind": "ties"},
    # a last batch of one comparison: one of the processes has none
    "last_of_one": {"objective": {"type": "dpo"}, "count": 41, "alpha": 0.7},
    "low_rank": {"objective": {"type": "kto"}, "kind": "thumbs", "user_model": {"type": "low_rank", "rank": 3}},
    "cluster": {"objective": {"type": "ipo"}, "user_model": {"type": "cluster", "clusters": 2}},
    "sampled": {"objective": {"type": "dpo"}, "branches": "sampled"},
    "fsdp": {"objective": {"type": "dpo"}, "fsdp": True},
}


def job(name: str, base: str, processes: int, **more) -> dict:
    """A run with a global batch of eight: 8 at a time, or 2 at a time in each of two processes, twice."""
    case = CASES.get(name, CASES["individual"]) | more
    training = {
        "batch_size": 8 if processes == 1 else 2, "gradient_accumulation_steps": 1 if processes == 1 else 2,
        "learning_rate": 1e-3, "user_l2": 0.1, "max_steps": STEPS, "eval_steps": 0, "save_steps": 0, "device": "cpu",
        "branches": case.pop("branches", "both"),
    } | case.pop("training", {})  # fmt: skip
    user_model = {"type": "individual"} | case.pop("user_model", {}) | {"tokens": 2}
    config = {
        "data": {"split": {"test": 0.0}}, "model": {"base": base, "tuning": {"type": "lora", "r": 2}},
        "training": training, "user_model": user_model, "objective": case.pop("objective"),
        "alpha": case.pop("alpha", 0.5),
    }  # fmt: skip
    return {"name": name, "config": config} | case


def launch(jobs: list[dict], folder: Path) -> Path:
    """Run jobs in two processes, as a user would start them."""
    (folder / "jobs").write_text(json.dumps(jobs))
    recipe = Path(__file__).parents[2] / "recipes" / "accelerate" / "cpu2.yaml"
    script = Path(__file__).with_name("two_processes.py")
    done = subprocess.run(
        [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(recipe), "--main_process_port", "0",
         str(script), str(folder / "jobs")],
        env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def found(folder: Path, name: str) -> list[dict]:
    """What each process of a run did."""
    return [torch.load(path) for path in sorted(folder.glob(f"{name}.?.pt"))]


def same(two: list[dict], one: dict, within: float) -> None:
    """The mean of the processes' losses, and what each of them holds at the end, is that of one process."""
    mean = [sum(losses) / len(two) for losses in zip(*(each["losses"] for each in two), strict=True)]
    assert mean == pytest.approx(one["losses"], rel=within)
    for key in ("trained", "state"):
        for each in two:
            assert each[key].keys() == one[key].keys()
            for name, value in one[key].items():
                torch.testing.assert_close(each[key][name], value, rtol=within, atol=within, msg=lambda m, n=name: f"{n}: {m}")
        assert all(torch.equal(two[0][key][name], two[1][key][name]) for name in one[key])


@pytest.fixture(scope="module")
def folders(base_folder, tmp_path_factory):
    """All runs of two processes, in one launch, and those of one."""
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    base = base_folder(dtype=torch.float64)
    launch([job(name, base, 2) for name in CASES], two)
    for name in CASES:
        run(job(name, base, 1) | {"fsdp": False}, one)
    return one, two


@pytest.mark.parametrize("name", CASES)
def test_two_processes_do_what_one_does(folders, name):
    [one] = found(folders[0], name)
    two = found(folders[1], name)
    assert len(one["losses"]) == STEPS and len(two) == 2
    assert all(value.dtype == torch.float64 for value in one["trained"].values())
    same(two, one, 1e-9)
    assert [each["metrics"] for each in two] == [False, False]  # nothing is held out
