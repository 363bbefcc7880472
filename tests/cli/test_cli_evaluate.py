"""`prlhf evaluate` as a command; the evaluation itself is replaced."""

import json
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from prlhf.cli.main import app
from prlhf.config import DataConfig, RunConfig
from prlhf.evaluation import Scores, paired_difference, per_user, summarise
from prlhf.types import Comparison

RUN = CliRunner()


@pytest.fixture
def calls(monkeypatch):
    """What `prlhf evaluate` asks for; nothing is scored."""
    rng = np.random.default_rng(0)
    votes = [Comparison(f"{i}?", "a", "b", user=user, id=f"{user}{i}") for user in ("ann", "bob") for i in range(20)]
    seen = np.ones(40, bool)
    a, b = (
        Scores.of(votes, seen=seen, h_specific=rng.normal(size=40), h_generic=rng.normal(size=40)) for _ in range(2)
    )
    metrics = summarise(a, beta=0.1, bootstrap=10)
    made = []

    def evaluate_run(run, data, *, split, pooled, against):
        made.append((run, data, split, pooled, against))
        return SimpleNamespace(
            metrics=metrics,
            baselines={"pooled": summarise(b, beta=0.1, bootstrap=10)},
            against=paired_difference(a, b, bootstrap=10) if against else None,
            per_user=per_user(a, 0.1),
            as_dict=lambda: {"metrics": metrics.as_dict()},
            report=lambda: SimpleNamespace(save=lambda path: (path.write_text("<html>"), path)[1]),
        )

    module = ModuleType("prlhf.evaluation.evaluate")
    module.evaluate_run = evaluate_run
    monkeypatch.setitem(sys.modules, "prlhf.evaluation.evaluate", module)
    return made


@pytest.fixture
def run(tmp_path):
    config = RunConfig(data=DataConfig(source="mine.jsonl", columns={"user_id": "worker"}))
    (tmp_path / "config.json").write_text(config.model_dump_json())
    return tmp_path


def test_by_default_the_data_of_the_run(calls, run):
    done = RUN.invoke(app, ["evaluate", str(run)], env={"COLUMNS": "150"})
    assert done.exit_code == 0, done.output
    assert calls == [(run, DataConfig(source="mine.jsonl", columns={"user_id": "worker"}), None, None, None)]
    assert "own row, seen users" in done.stdout and "pooled" in done.stdout


def test_other_data_other_run_and_files(calls, run):
    out = run / "out"
    out.mkdir()
    files = ["--json", str(out / "f.json"), "--per-user", str(out / "u.parquet"), "--report", str(out / "r.html")]
    more = ["--data", "other.csv", "--split", "all", "--against", "runs/b", "--set", "columns.prompt=question"]
    done = RUN.invoke(app, ["evaluate", str(run), *files, *more], env={"COLUMNS": "150"})
    assert done.exit_code == 0, done.output
    _, data, split, pooled, against = calls[0]
    assert data == DataConfig(source="other.csv", columns={"prompt": "question"})
    assert (split, pooled, str(against)) == ("all", None, "runs/b")
    assert "paired over users" in done.stdout
    assert "metrics" in json.loads((out / "f.json").read_text())
    assert (out / "u.parquet").exists() and (out / "r.html").exists()


def test_refusals(calls, run, tmp_path_factory):
    done = RUN.invoke(app, ["evaluate", str(run), "--split", "tset"])
    assert done.exit_code == 2 and "test, train, validation, unseen, all" in done.stderr
    done = RUN.invoke(app, ["evaluate", str(tmp_path_factory.mktemp("empty"))])
    assert done.exit_code == 2 and "not a run folder" in done.stderr
    assert not calls
