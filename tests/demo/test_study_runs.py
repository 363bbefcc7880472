import shutil
from types import SimpleNamespace

import pytest

from prlhf.demo.runs import StudyRun, check_output
from prlhf.demo.study import run_study
from prlhf.errors import ConfigError


def test_an_unfinished_run_goes_on(tiny_study, tiny_config, tmp_path, monkeypatch):
    study, _ = tiny_study
    run = StudyRun(tmp_path / "personal", tiny_config)
    shutil.copytree(study.folder / "personal", run.folder, ignore=shutil.ignore_patterns("model"))
    asked = []

    def train(config, output, *, log, resume):
        asked.append((config, output, log, resume))
        return SimpleNamespace(lm="the model")

    monkeypatch.setattr("prlhf.demo.runs.train", train)
    check_output(tmp_path, [run])
    assert run.state == " (goes on)" and run.result("log") == "the model"
    assert asked == [(tiny_config, run.folder, "log", True)]


def test_a_killed_study_ends_as_an_undisturbed_one(tiny_study, tiny_config, tmp_path):
    study, _ = tiny_study
    output = tmp_path / "study"
    shutil.copytree(study.folder / "pooled", output / "pooled")
    ours = output / "personal"
    shutil.copytree(
        study.folder / "personal", ours, ignore=shutil.ignore_patterns("model", "checkpoint-2", "*.parquet")
    )
    again = run_study(tiny_config, output, questions=1, say=lambda _: None)
    assert again.metrics.values() == study.metrics.values()
    assert again.examples == study.examples


def test_folders_with_something_else_are_refused(tiny_config, tmp_path):
    run = StudyRun(tmp_path / "personal", tiny_config)
    (tmp_path / ".DS_Store").touch()
    check_output(tmp_path, [run])
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ConfigError, match=r"thesis\.tex.*another --output"):
        check_output(tmp_path, [run])
    with pytest.raises(ConfigError, match="is a file"):
        check_output(tmp_path / "thesis.tex", [run])
    (tmp_path / "thesis.tex").unlink()
    run.folder.mkdir()
    check_output(tmp_path, [run])  # killed before its first file
    (run.folder / "letter.txt").touch()
    with pytest.raises(ConfigError, match=r"personal is no run"):
        check_output(tmp_path, [run])


def test_another_configuration_is_refused_by_name(tiny_study, tiny_config):
    study, _ = tiny_study
    other = tiny_config.model_copy(update={"objective": tiny_config.objective.model_copy(update={"beta": 0.1})})
    with pytest.raises(ConfigError, match=r"another configuration \(objective\.beta is 0\.5 there and 0\.1 here\)"):
        run_study(other, study.folder, questions=1)
