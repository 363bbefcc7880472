"""`prlhf evaluate` as a command; but for the last test the evaluation itself is replaced."""

import json
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from prlhf.cli.evaluate import BASELINES, SIDES
from prlhf.cli.main import app
from prlhf.config import DataConfig, Individual, RunConfig, TrainingConfig, Uniform
from prlhf.data.checks import Check
from prlhf.evaluation import Evaluation, Scores, baselines, paired_difference, per_user, rows, summarise
from prlhf.evaluation.result import Compared
from prlhf.training.pooled import pooled_config
from prlhf.types import Comparison

RUN = CliRunner()
WIDE = {"COLUMNS": "170"}


def compared(name, a, b):
    difference = paired_difference(a, b, rows="seen", bootstrap=10)
    return Compared(name, b, summarise(b, 0.1, bootstrap=10), difference, beta=0.1)


@pytest.fixture
def calls(monkeypatch):
    """What `prlhf evaluate` asks for; nothing is scored."""
    rng = np.random.default_rng(0)
    votes = [Comparison(f"{i}?", "a", "b", user=user, id=f"{user}{i}") for user in ("ann", "bob") for i in range(20)]
    seen = np.ones(40, bool)
    a, b = (
        Scores.of(votes, seen=seen, h_specific=rng.normal(size=40), h_generic=rng.normal(size=40)) for _ in range(2)
    )
    made = []

    def evaluate(run, data, **options):
        del options["progress"]
        made.append((run, data, options))
        return Evaluation(
            run=str(run),
            source=data.source,
            fingerprint="f",
            side="test",
            scores=a,
            metrics=summarise(a, beta=0.1, bootstrap=10),
            per_user=per_user(a, 0.1),
            baselines={
                **{n: compared(n, a, b) for n in ("length", "in_context_relative")},
                "oracle": Compared("oracle", missing="no truth"),
            },
            against={str(other): compared("another run", a, b) for other in options["against"]},
            checks=(Check("users permuted", "finding", "nobody is told apart"), Check.missing("context", "not asked")),
            notes=("something to know",),
            reading="40 comparisons from 40 rows.",
        )

    monkeypatch.setattr("prlhf.evaluation.run.evaluate", evaluate)
    return made


@pytest.fixture
def run(tmp_path):
    config = RunConfig(data=DataConfig(source="mine.jsonl", columns={"user_id": "worker"}))
    (tmp_path / "config.json").write_text(config.model_dump_json())
    return tmp_path


def test_by_default_the_data_of_the_run_and_every_baseline(calls, run):
    done = RUN.invoke(app, ["evaluate", str(run)], env=WIDE)
    assert done.exit_code == 0, done.output
    ((folder, data, options),) = calls
    assert folder == run and data == DataConfig(source="mine.jsonl", columns={"user_id": "worker"})
    assert options == {
        "split": None,
        "pooled": None,
        "against": [],
        "baselines": list(BASELINES),
        "bootstrap": 1000,
    }
    for text in (
        "own row, seen users",
        "length",
        "this run minus it",
        "not applicable, no truth",
        "something to know",
        "40 rows",
        "nobody is told apart",
        "1 with a finding: users permuted",
    ):
        assert text in done.stdout
    assert "against" not in done.stdout


@pytest.mark.parametrize("width", ["80", "100"])
def test_systems_have_their_names_on_narrow_terminals(calls, run, width):
    long = "runs/a_folder_with_a_name_that_does_not_end"
    out = RUN.invoke(
        app, ["evaluate", str(run), "--against", "runs/b", "--against", long], env={"COLUMNS": width}
    ).stdout
    for name in ("this run", "in_context_relative", "length", "against runs/b", "against"):
        assert any(line.startswith(f"{name} ") for line in out.splitlines()), out
    assert "…" not in out and "this run minus it" in out
    assert all(len(line) <= int(width) for line in out.splitlines())


def write_votes(path, **more):
    row = {"question": "why?", "chosen": "a", "rejected": "b", "user_id": "ann", **more}
    path.write_text(json.dumps(row) + "\n")
    return path


def test_other_data_are_read_as_the_run_s_where_that_fits(calls, tmp_path):
    own = DataConfig(source="x", columns={"user_id": "worker", "prompt": "question"}, rankings="comparison")
    (tmp_path / "config.json").write_text(RunConfig(data=own).model_dump_json())

    def asked(file, *options):
        done = RUN.invoke(app, ["evaluate", str(tmp_path), "--data", str(file), *options])
        assert done.exit_code == 0, done.output
        return calls[-1][1]

    file = write_votes(tmp_path / "a.jsonl")
    both = write_votes(tmp_path / "b.jsonl", worker="bob")
    assert asked(file) == DataConfig(source=str(file), columns={"prompt": "question"}, rankings="comparison")
    assert asked(both).columns == own.columns
    found = asked(both, "--set", "columns.user_id=user_id", "--set", "rankings=judgement", "--on-bad-row", "skip")
    assert found.columns == {"user_id": "user_id", "prompt": "question"}
    assert (found.rankings, found.on_bad_row) == ("judgement", "skip")
    assert asked("polis").columns == {}


def test_bad_rows_of_the_run_s_own_data_are_skipped_where_that_is_asked_for(calls, run):
    assert RUN.invoke(app, ["evaluate", str(run), "--on-bad-row", "skip"]).exit_code == 0
    assert calls[0][1].on_bad_row == "skip" and calls[0][1].source == "mine.jsonl"
    done = RUN.invoke(app, ["evaluate", str(run), "--on-bad-row", "skp"])
    assert done.exit_code == 2 and "did you mean skip?" in done.stderr


def test_other_data_other_run_and_files(calls, run):
    out = run / "out"
    files = ["--json", str(out / "f.json"), "--report", str(out / "r.html")]
    other = run / "other.csv"
    other.write_text("question,chosen,rejected\n?,a,b\n")
    more = [
        "--data",
        str(other),
        "--split",
        "all",
        "--against",
        "runs/b",
        "--against",
        "runs/c",
        "--set",
        "columns.prompt=question",
    ]
    few = ["--baselines", "length, oracle", "--bootstrap", "20"]
    done = RUN.invoke(app, ["evaluate", str(run), *files, *more, *few], env=WIDE)
    assert done.exit_code == 0, done.output
    _, data, options = calls[0]
    assert data == DataConfig(source=str(other), columns={"prompt": "question"})
    assert "split" not in data.model_fields_set  # so that the split options of the run hold
    assert (options["split"], options["against"]) == ("all", [Path("runs/b"), Path("runs/c")])
    assert options["bootstrap"] == 20
    assert options["baselines"] == ["length", "oracle"]
    assert "against runs/b" in done.stdout and "against runs/c" in done.stdout
    made = json.loads((out / "f.json").read_text())
    assert list(made["against"]) == ["runs/b", "runs/c"] and made["baselines"]["oracle"]["missing"] == "no truth"
    table = pq.read_table(out / "f.users.parquet")
    assert table["user"].to_pylist() == ["ann", "bob"] and "accuracy_length" in table.column_names
    assert (out / "r.html").read_text().startswith("<!doctype html>")


def test_the_users_where_they_are_wanted_and_no_baselines(calls, run):
    done = RUN.invoke(app, ["evaluate", str(run), "--per-user", str(run / "u.parquet"), "--baselines", "none"])
    assert done.exit_code == 0, done.output
    assert (run / "u.parquet").exists() and calls[0][2]["baselines"] == []


def test_refusals(calls, run, tmp_path_factory):
    def refused(*options):
        done = RUN.invoke(app, ["evaluate", *options])
        assert done.exit_code == 2 and not calls
        return done.stderr

    assert "test, unseen, validation, train, context, all" in refused(str(run), "--split", "tset")
    assert "found 'lenght', expected none or some of pooled" in refused(str(run), "--baselines", "lenght")
    assert "give one of them" in refused(str(run), "--pooled", "x", "--train-pooled")
    empty = tmp_path_factory.mktemp("empty")
    assert "not a run folder" in refused(str(empty))
    (empty / "config.json").write_text('{"architectures": ["LlamaForCausalLM"], "model_type": "llama"}')
    (line,) = refused(str(empty)).splitlines()
    assert line.startswith(f"error: {empty} is not a run folder of `prlhf train` (config.json: unknown option")


@pytest.mark.parametrize("option", ["--json", "--per-user", "--report"])
def test_a_place_that_cannot_be_written_is_refused_before_the_scoring(calls, run, option):
    (run / "file").write_text("")
    for place, reason in (("file/out", "its folder cannot be made"), (".", "found a folder, expected the name of a")):
        done = RUN.invoke(app, ["evaluate", str(run), option, str(run / place)])
        assert done.exit_code == 2 and not calls
        assert f"error: {option} {run / place}: {reason}" in done.stderr


def test_no_permission_to_write(calls, run, monkeypatch):
    access = os.access  # the superuser always may, and typer looks whether RUN can be read
    monkeypatch.setattr("os.access", lambda path, mode: mode != os.W_OK and access(path, mode))
    done = RUN.invoke(app, ["evaluate", str(run), "--report", str(run / "r.html")])
    assert done.exit_code == 2 and not calls and "--report" in done.stderr and "no permission" in done.stderr


def test_the_names_are_those_of_the_evaluation():
    assert baselines.BASELINES == BASELINES
    assert rows.CHOICES == SIDES


def test_pooled_dpo_has_the_same_budget():
    config = RunConfig(alpha=0.7, seed=3, training=TrainingConfig(max_steps=5))
    pooled = pooled_config(config)
    assert pooled.alpha == 0 and pooled.user_model == Uniform(tokens=0)
    assert pooled.training == config.training and pooled.seed == 3 and config.alpha == 0.7


def test_train_evaluate_and_train_the_pooled_baseline(tmp_path):
    from prlhf.training.train import train

    config = RunConfig(
        data=DataConfig(source="planted", options={"users": 6, "votes": 4, "test_pairs": 2}),
        user_model=Individual(tokens=2),
        training=TrainingConfig(max_steps=2, batch_size=4, eval_steps=0, save_steps=0, device="cpu"),
    )
    train(config, tmp_path / "run")
    out = tmp_path / "out.json"
    options = ["--train-pooled", "--baselines", "pooled,length", "--json", str(out)]
    done = RUN.invoke(app, ["evaluate", str(tmp_path / "run"), *options], env=WIDE)
    assert done.exit_code == 0, (done.output, done.exception)
    made = json.loads(out.read_text())
    assert made["metrics"]["comparisons"] == 12 and set(made["baselines"]) == {"pooled", "length"}
    assert made["baselines"]["pooled"]["metrics"]["comparisons"] == 12
    kept = json.loads((tmp_path / "run" / "pooled" / "config.json").read_text())
    assert kept["alpha"] == 0 and kept["training"]["max_steps"] == 2
    written = (tmp_path / "run" / "pooled" / "model" / "prlhf.json").stat().st_mtime_ns
    again = RUN.invoke(app, ["evaluate", str(tmp_path / "run"), *options], env=WIDE)
    assert again.exit_code == 0 and "is there" in again.stdout
    assert (tmp_path / "run" / "pooled" / "model" / "prlhf.json").stat().st_mtime_ns == written
