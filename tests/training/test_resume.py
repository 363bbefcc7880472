"""`kill -9` at any moment, then resume: the bits of a run that was never stopped; and a folder that says what it is."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from prlhf.config import DataConfig, ModelConfig, RunConfig, TrainingConfig, Uniform
from prlhf.data import Log, split
from prlhf.errors import CheckpointError, ConfigError, DataError
from prlhf.lm import is_checkpoint
from prlhf.training.callbacks import COMPLETE, MetricsFile, last_checkpoint
from prlhf.training.run import LIBRARIES, Run, differences, settled
from prlhf.training.train import train
from prlhf.types import Comparison

KILLED = -signal.SIGKILL
SAVE_STEPS = 4
WORDS = ["red", "green as grass", "a blue sky", "no", "yes, of course", "perhaps tomorrow"]
ROWS = [
    {"prompt": f"question {i % 9}?", "chosen": WORDS[i % 6], "rejected": WORDS[(i + 1 + i % 4) % 6] + "!" * (i % 3),
     "user": ["ann", "bob", "cem", None][i % 4], "group": ["few", "many"][i % 2], "id": f"row {i}"}
    for i in range(64)
]  # fmt: skip
LOG = Log(tuple(Comparison(**row) for row in ROWS), "made up")


def config(base: str, **training) -> dict:
    """26 steps in two epochs, with everything that has a state: dropout, accumulation, schedule, evaluations."""
    options = {
        "batch_size": 2, "gradient_accumulation_steps": 2, "epochs": 2, "learning_rate": 1e-3, "user_l2": 0.01,
        "eval_steps": 5, "save_steps": SAVE_STEPS, "device": "cpu",
    }  # fmt: skip
    return {
        "data": {"split": {"test": 0.2}},
        "model": {"base": base, "tuning": {"type": "lora", "r": 2, "dropout": 0.2}},
        "user_model": {"type": "individual", "tokens": 2},
        "training": options | training,
    }


class Forks:
    """Runs in processes of their own that can be killed."""

    def __init__(self):
        script = Path(__file__).with_name("forked_runs.py")
        environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        self._server = subprocess.Popen(
            [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def start(self, tree: dict, output: Path, *, resume: bool, pause: dict | None = None) -> int:
        flag = output.with_suffix(".paused")
        flag.unlink(missing_ok=True)
        job = {"config": tree, "log": ROWS, "output": str(output), "cache": str(output.with_suffix(".cache"))}
        job |= {"resume": resume, "pause": pause, "paused": str(flag)}
        self._server.stdin.write(json.dumps(job) + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())

    def end(self) -> int:
        """What became of the run: 0, or minus the signal."""
        return int(self._server.stdout.readline())

    def killed_at(self, tree: dict, output: Path, *, resume: bool, **pause) -> None:
        """A run that is killed when it comes to `pause`."""
        pid = self.start(tree, output, resume=resume, pause={"when": "", "nth": 1} | pause)
        wait_for(output.with_suffix(".paused").exists)
        os.kill(pid, signal.SIGKILL)
        assert self.end() == KILLED

    def close(self):
        self._server.stdin.close()
        self._server.stdout.close()
        self._server.wait()


def wait_for(happened, seconds: float = 60.0, step: float = 0.002) -> bool:
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(step)
    return True


@pytest.fixture(scope="module")
def forks():
    made = Forks()
    yield made
    made.close()


@pytest.fixture(scope="module")
def uninterrupted(forks, base_folder, tmp_path_factory):
    """A run that nothing happens to."""
    output = tmp_path_factory.mktemp("whole") / "run"
    forks.start(config(base_folder()), output, resume=False)
    assert forks.end() == 0
    return output


def metrics(run: Path) -> list[dict]:
    """The lines of a run's metrics, without what the clock or the resume has a part in."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if not {"train_runtime", "loss"} & line.keys()]


def same_bits(run: Path, whole: Path) -> None:
    """The model, the users and the scores of two runs are the same bytes."""
    files = ["model/adapter_model.safetensors", "model/user_model/model.safetensors", "model/user_model/users.parquet"]
    for name in [*files, "evaluation.json", "split.json", "data.json", "config.json"]:
        assert (run / name).read_bytes() == (whole / name).read_bytes(), name
    assert metrics(run) == metrics(whole)


def is_whole(run: Path) -> None:
    """A complete run folder: every file, every logged step once, no leftovers."""
    names = {
        "config.json", "data.json", "split.json", "versions.json", "metrics.jsonl", "evaluation.json", "scores.parquet",
        "per_user.parquet", "model", "plots", "checkpoints",
    }  # fmt: skip
    assert {p.name for p in run.iterdir()} == names
    assert {p.name for p in (run / "plots").iterdir()} == {"learning_curves.png", "per_user.png"}
    assert all((p / COMPLETE).exists() for p in (run / "checkpoints").iterdir())
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for key in ("loss", "eval_accuracy_seen", "train_runtime"):
        steps = [line["step"] for line in lines if key in line]
        assert steps == sorted(set(steps)), key
    versions = json.loads((run / "versions.json").read_text())
    assert versions.keys() == {"python", "processes", *LIBRARIES}


def steps_saved(run: Path) -> int:
    last = last_checkpoint(run / "checkpoints")
    return 0 if last is None else int(last.name.rsplit("-", 1)[1])


def test_what_an_uninterrupted_run_leaves(uninterrupted, base_folder):
    is_whole(uninterrupted)
    assert steps_saved(uninterrupted) == 26
    evaluated = [line["step"] for line in metrics(uninterrupted) if "eval_accuracy_seen" in line]
    assert evaluated == [5, 10, 15, 20, 25, 26]
    assert RunConfig.model_validate_json((uninterrupted / "config.json").read_text()) == RunConfig.model_validate(
        config(base_folder())
    )


def test_killed_at_every_stage_of_one_run(forks, uninterrupted, base_folder, tmp_path):
    """Nine real kills in one run's life, each at another kind of moment."""
    tree, run = config(base_folder()), tmp_path / "run"
    forks.killed_at(tree, run, resume=False, target="os.replace", when="config.json")
    assert not (run / "config.json").exists()
    forks.killed_at(tree, run, resume=False, target="os.replace", when="data.json")
    assert (run / "split.json").exists() and not (run / "data.json").exists()
    forks.killed_at(tree, run, resume=True, target="os.replace", when="reference-")

    step = "prlhf.training.trainer.PreferenceTrainer.compute_loss"
    forks.killed_at(tree, run, resume=True, target=step, nth=6)  # the second half of step 3: nothing is saved yet
    assert steps_saved(run) == 0

    forks.killed_at(tree, run, resume=True, target="torch.save", when="checkpoint-8/optimizer.pt")
    half = run / "checkpoints" / "checkpoint-8"
    assert half.exists() and not (half / COMPLETE).exists()
    assert steps_saved(run) == 4  # a half-written save does not exist

    forks.killed_at(tree, run, resume=True, target=step, nth=2 * 7 + 1)  # in step 4 + 8
    assert 11 - SAVE_STEPS <= steps_saved(run) == 8

    forks.killed_at(tree, run, resume=True, target="pathlib.Path.touch", when="checkpoint-16/COMPLETE")
    assert steps_saved(run) == 12
    with (run / "metrics.jsonl").open("a") as f:
        f.write('{"step": 17, "lo')  # as a kill may leave it

    forks.killed_at(tree, run, resume=True, target="prlhf.training.train.finish")  # trained, but no model yet
    assert steps_saved(run) == 26 and not (run / "model").exists()
    forks.killed_at(tree, run, resume=True, target="prlhf.lm.checkpoint.replace_folder")
    assert not is_checkpoint(run / "model")

    forks.start(tree, run, resume=True)
    assert forks.end() == 0
    is_whole(run)
    same_bits(run, uninterrupted)


def test_killed_after_the_last_step_of_a_part_of_an_epoch(forks, base_folder, tmp_path):
    """With `max_steps` the Trainer itself would take one step more when it resumes at the end."""
    tree = config(base_folder(), max_steps=7)
    forks.start(tree, tmp_path / "whole", resume=False)
    assert forks.end() == 0
    forks.killed_at(tree, tmp_path / "run", resume=False, target="prlhf.training.train.finish")
    forks.start(tree, tmp_path / "run", resume=True)
    assert forks.end() == 0
    same_bits(tmp_path / "run", tmp_path / "whole")


def test_full_fine_tuning_resumes_too(forks, base_folder, tmp_path):
    tree = config(base_folder(), max_steps=8)
    tree["model"]["tuning"] = {"type": "full"}
    forks.start(tree, tmp_path / "whole", resume=False)
    assert forks.end() == 0
    forks.killed_at(tree, tmp_path / "run", resume=False, target="torch.save", when="checkpoint-8/optimizer.pt")
    forks.start(tree, tmp_path / "run", resume=True)
    assert forks.end() == 0
    for name in ("model/model.safetensors", "model/user_model/model.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_killed_again_and_again(forks, uninterrupted, base_folder, tmp_path, seed):
    """At random moments, and every second time in the middle of a save: at least 5 kills a run, 20 in all."""
    tree, run, rng, kills, in_save = config(base_folder()), tmp_path / "run", random.Random(seed), 0, 0
    patience = 0.3
    while not is_checkpoint(run / "model"):
        before = steps_saved(run)
        pid = forks.start(tree, run, resume=(run / "config.json").exists())
        if kills % 2:
            in_save += half_saved(run, pid)
        else:
            time.sleep(rng.uniform(0, patience))
            patience += 0.2  # in the end it gets through
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        kills += forks.end() == KILLED
        assert steps_saved(run) >= before
    same_bits(run, uninterrupted)
    is_whole(run)
    assert kills >= 5 and in_save >= 1


def half_saved(run: Path, pid: int) -> bool:
    """Wait until a save has begun and not ended; False where the process ends first."""

    def begun() -> set[int]:
        with suppress(OSError):  # what is looked at may be renamed or removed meanwhile
            folders = list((run / "checkpoints").iterdir()) if (run / "checkpoints").exists() else []
            return {p.stat().st_ino for p in folders if not (p / COMPLETE).exists()}
        return set()

    def alive() -> bool:
        with suppress(ProcessLookupError):
            os.kill(pid, 0)
            return True
        return False

    before = begun()  # of an earlier kill
    wait_for(lambda: begun() - before or not alive(), step=0.0005)
    return bool(begun() - before)


# --- what is refused ---


def made(config_tree: dict, output: Path, **options):
    return train(RunConfig.model_validate(config_tree), output, log=options.pop("log", LOG), **options)


def test_a_folder_that_is_not_empty(base_folder, tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ConfigError, match=r"is not empty; choose another output folder$"):
        made(config(base_folder()), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_a_finished_run_is_not_gone_on_with(uninterrupted):
    with pytest.raises(ConfigError, match=r"holds a finished run; choose another output folder$"):
        Run(uninterrupted).open(RunConfig(), resume=False)


def test_nothing_to_resume(base_folder, tmp_path):
    with pytest.raises(CheckpointError, match="nothing to resume"):
        made(config(base_folder()), tmp_path / "run", resume=True)
    assert not (tmp_path / "run").exists()


def test_a_complete_run(uninterrupted, base_folder):
    with pytest.raises(ConfigError, match="is complete; there is nothing to resume"):
        made(config(base_folder()), uninterrupted, resume=True)


@pytest.fixture
def started(base_folder, tmp_path):
    """A run that was stopped before its first step."""
    tree, run = RunConfig.model_validate(config(base_folder())), Run(tmp_path / "run")
    run.open(tree, resume=False)
    run.fix_split(LOG, lambda: split(LOG, tree.data.split))
    return tmp_path / "run"


def test_another_configuration(started, base_folder):
    with pytest.raises(ConfigError) as caught:
        made(config(base_folder(), learning_rate=2e-3, max_steps=5), started, resume=True)
    assert "training.learning_rate is 0.001 there and 0.002 here" in str(caught.value)
    assert "training.max_steps is -1 there and 5 here" in str(caught.value)
    assert str(caught.value).endswith(f"prlhf train --output {started} --resume")


def test_differences_by_name():
    assert differences(RunConfig(), RunConfig()) == []
    other = RunConfig(user_model=Uniform(), data=DataConfig(options={"top": 3}))
    assert set(differences(RunConfig(), other)) == {
        "data.options.top is not set there and 3 here",
        'user_model.type is "individual" there and "uniform" here',
        "user_model.tokens is 10 there and 0 here",
        "user_model.common is true there and not set here",
        'user_model.start is "generic" there and not set here',
    }
    many = TrainingConfig(epochs=2, max_steps=3, batch_size=4, learning_rate=1, user_l2=1, save_steps=3, eval_steps=3)
    assert differences(RunConfig(), RunConfig(seed=1, alpha=1, training=many))[-1] == "and 1 more"


def test_other_data(started, base_folder):
    other = Log((*LOG.comparisons[:-1], Comparison("new", "a", "b", id="row 63")), "made up")
    with pytest.raises(DataError, match="has changed since"):
        made(config(base_folder()), started, resume=True, log=other)


def test_the_split_is_read_not_made_again(started):
    run = Run(started)
    saved = json.loads((started / "split.json").read_text())
    sides = run.fix_split(LOG, lambda: pytest.fail("made again"))
    assert [LOG.comparisons[i].id for i in sides.test] == saved["sides"]["test"]


def test_other_versions_are_said(started, base_folder, caplog):
    path = started / "versions.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"torch": "1.0"}))
    Run(started).open(RunConfig.model_validate(config(base_folder())), resume=True)
    assert "torch 1.0 -> " in caplog.text and "peft" not in caplog.text
    assert json.loads(path.read_text())["torch"] == "1.0"


def test_training_state_is_read_with_weights_only(forks, base_folder, tmp_path, monkeypatch):
    tree = config(base_folder(), max_steps=5)
    forks.killed_at(tree, tmp_path / "run", resume=False, target="torch.save", when="checkpoint-5/optimizer.pt")
    loads, original = [], torch.load

    def spy(*args, **kwargs):
        loads.append((Path(args[0]).name, kwargs.get("weights_only")))
        return original(*args, **kwargs)

    monkeypatch.setattr(torch, "load", spy)
    made(tree, tmp_path / "run", resume=True, cache=tmp_path / "cache")
    assert {name for name, _ in loads} == {"optimizer.pt", "scheduler.pt", "rng_state.pth"}
    assert all(only is True for _, only in loads)
    assert not [p for p in (tmp_path / "run" / "model").rglob("*") if p.suffix in (".bin", ".pt", ".pth", ".pkl")]


def test_the_metrics_file_goes_back_to_the_step_it_resumes_from(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2, "a": 1}\n{"step": 2}\n{"step": 3}\n{"st')
    MetricsFile(path, 2)
    assert path.read_text() == '{"step": 1}\n{"step": 2, "a": 1}\n{"step": 2}\n'
    MetricsFile(path, 0)
    assert path.read_text() == ""
    MetricsFile(tmp_path / "none", 0)
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_a_failed_start_does_not_block_its_folder(tmp_path):
    folder = tmp_path / "run"
    Run(folder).open(RunConfig(), resume=False)
    (folder / "versions.json").write_text('{"python": "2"}')
    (folder / "split.json").write_text("{}")
    other = RunConfig(seed=1)
    Run(folder).open(other, resume=False)  # the corrected command
    assert RunConfig.model_validate_json((folder / "config.json").read_text()) == other
    assert json.loads((folder / "versions.json").read_text())["python"] != "2"
    assert not (folder / "split.json").exists()
    (folder / "data.json").write_text("{}")
    (folder / "checkpoints").mkdir()
    Run(folder).open(other, resume=False)  # the data were known, but no step was made
    assert not (folder / "data.json").exists()
    for made in ("metrics.jsonl", "checkpoints/checkpoint-4", "model"):
        (folder / made).mkdir()
        with pytest.raises(ConfigError, match=f"is not empty; .*prlhf train --output {folder} --resume"):
            Run(folder).open(other, resume=False)
        (folder / made).rmdir()
    (folder / "data.json").write_text("{}")
    with pytest.raises(ConfigError, match="is not empty"):  # a file where the folder should be
        Run(folder / "data.json").open(other, resume=False)


@pytest.mark.parametrize("held", ["notes.txt", "split.json"])
def test_files_of_others_are_not_taken_for_a_failed_start(tmp_path, held):
    (tmp_path / held).write_text("{}")
    with pytest.raises(ConfigError, match="is not empty"):
        Run(tmp_path).open(RunConfig(), resume=False)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(ConfigError, match="is not empty"):
        Run(tmp_path).open(RunConfig(), resume=False)
    assert (tmp_path / held).read_text() == "{}"


def test_data_that_are_not_there_can_be_corrected(tmp_path, base_folder):
    tree = config(base_folder())
    tree["data"] = {"source": str(tmp_path / "nothing.jsonl")}
    with pytest.raises(DataError):
        train(RunConfig.model_validate(tree), tmp_path / "run")
    Run(tmp_path / "run").open(RunConfig.model_validate(config(base_folder())), resume=False)


def test_a_base_that_cannot_be_loaded_can_be_corrected(tmp_path, base_folder):
    tree = config(base_folder())
    tree["model"] = {"base": str(tmp_path / "nothing")}
    with pytest.raises(CheckpointError):
        made(tree, tmp_path / "run")
    assert (tmp_path / "run" / "data.json").exists()
    Run(tmp_path / "run").open(RunConfig.model_validate(config(base_folder())), resume=False)


def test_a_run_can_be_used_from_another_folder(base_folder, tmp_path, monkeypatch):
    shutil.copytree(base_folder(), tmp_path / "base")
    monkeypatch.chdir(tmp_path)
    config = RunConfig(model=ModelConfig(base="base"), data=DataConfig(source="planted"))
    written = settled(config)
    assert written.model.base == str(tmp_path / "base")
    assert written.data.source == "planted"
    assert settled(RunConfig(model=ModelConfig(base="org/model"))).model.base == "org/model"
    assert settled(RunConfig(model=ModelConfig(base="planted"))).model.base == "planted"
    (tmp_path / "prism").mkdir()
    for given, path in (("prism", str(tmp_path / "prism")), ("owner/prism", "owner/prism")):
        data = DataConfig(source="prism", options={"path": given, "seed": 1})
        assert settled(RunConfig(data=data)).data == DataConfig(source="prism", options={"path": path, "seed": 1})
