"""`prlhf evaluate` as a command; the evaluation itself is replaced."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from prlhf.cli.main import app
from prlhf.config import DataConfig, RunConfig
from prlhf.evaluation import Scores, per_user, summarise
from prlhf.evaluation.result import Evaluation
from prlhf.types import Comparison

RUN = CliRunner(env={"COLUMNS": "150"})


@pytest.fixture
def calls(monkeypatch):
    """What `prlhf evaluate` asks for; nothing is scored."""
    import prlhf.evaluation.run as module

    rng = np.random.default_rng(0)
    votes = [Comparison(f"{i}?", "a", "b", user=user, id=f"{user}{i}") for user in ("ann", "bob") for i in range(20)]
    h = rng.normal(size=(2, 40))
    scores = Scores.of(votes, seen=np.ones(40, bool), h_specific=h[0], h_generic=h[1])
    made = []

    def measure(run, data, **options):
        made.append((run, data, options))
        return Evaluation(
            run=str(run),
            source=data.source,
            fingerprint="f",
            side="test",
            scores=scores,
            metrics=summarise(scores, beta=0.1, bootstrap=10),
            per_user=per_user(scores, 0.1),
            notes=("all of it was trained on",),
        )

    monkeypatch.setattr(module, "evaluate", measure)
    return made


@pytest.fixture
def run(tmp_path):
    config = RunConfig(data=DataConfig(source="mine.jsonl", columns={"user_id": "worker"}))
    (tmp_path / "config.json").write_text(config.model_dump_json())
    return tmp_path


def test_by_default_the_data_of_the_run(calls, run):
    done = RUN.invoke(app, ["evaluate", str(run)])
    assert done.exit_code == 0, done.output
    folder, data, options = calls[0]
    assert (folder, data) == (run, DataConfig(source="mine.jsonl", columns={"user_id": "worker"}))
    assert options["split"] is options["pooled"] is options["against"] is None
    assert "own row, seen users" in done.stdout and "all of it was trained on" in done.stdout


def test_other_data_other_run_and_files(calls, run):
    files = ["--json", str(run / "f.json"), "--per-user", str(run / "u.parquet"), "--report", str(run / "r.html")]
    more = ["--data", "other.csv", "--split", "all", "--against", "runs/b", "--set", "columns.prompt=question"]
    done = RUN.invoke(app, ["evaluate", str(run), *files, *more])
    assert done.exit_code == 0, done.output
    _, data, options = calls[0]
    assert data == DataConfig(source="other.csv", columns={"prompt": "question"})
    assert (options["split"], str(options["against"])) == ("all", "runs/b")
    assert "metrics" in json.loads((run / "f.json").read_text())
    assert (run / "u.parquet").exists() and (run / "r.html").exists()


def test_refusals(calls, run, tmp_path_factory):
    done = RUN.invoke(app, ["evaluate", str(run), "--split", "tset"])
    assert done.exit_code == 2 and "expected one of test, " in done.stderr
    done = RUN.invoke(app, ["evaluate", str(tmp_path_factory.mktemp("empty"))])
    assert done.exit_code == 2 and "not a run folder" in done.stderr
    assert not calls
