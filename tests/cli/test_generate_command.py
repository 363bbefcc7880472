"""`prlhf generate` as a person runs it."""

import json

import pytest
import torch
import typer
from typer.testing import CliRunner

from prlhf.cli.generate import generate
from prlhf.config import Individual, ModelConfig
from prlhf.errors import ConfigError
from prlhf.lm import PersonalizedLM


@pytest.fixture
def folder(base_folder, tmp_path):
    lm = PersonalizedLM.create(ModelConfig(base=base_folder()), Individual(tokens=3), ["ann", "bob"], seed=1)
    with torch.no_grad():
        lm.user_model.table.weight[1:] = torch.randn(2, 96, generator=torch.Generator().manual_seed(5))
    return str(lm.save_pretrained(tmp_path / "run" / "model").parent)


@pytest.fixture
def run(monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr("prlhf.cli.generate.no_loading_bars", lambda: None)
    app = typer.Typer()
    app.command()(generate)
    return lambda *words: CliRunner().invoke(app, [*words, "-n", "6"])


def test_one_prompt(run, folder):
    lm = PersonalizedLM.from_pretrained(folder)
    for words, options in (
        (["--user", "bob"], {"users": "bob"}),
        ([], {}),
        (["--reference"], {"reference": True}),
        (
            ["--user", "ann", "-t", "1", "--seed", "3", "--top-k", "9"],
            {"users": "ann", "temperature": 1.0, "seed": 3, "top_k": 9},
        ),
    ):
        done = run(folder, "hi", *words)
        assert done.exit_code == 0, done.output
        assert done.stdout == lm.generate(["hi"], max_new_tokens=6, **options)[0] + "\n"
        assert "note" not in done.stderr


def test_unknown_users_are_noted(run, folder):
    done = run(folder, "hi", "--user", "zoe")
    assert "note: 'zoe' is not in the user table: the generic user answers" in done.stderr
    assert done.stdout == run(folder, "hi").stdout


def test_side_by_side(run, folder):
    done = run(folder, "hi", "--compare", "ann,zoe,generic")
    assert done.exit_code == 0, done.output
    for title in (" ann ", " zoe (unknown: generic) ", " generic "):
        assert title in done.stdout
    assert "'zoe'" in done.stderr


def test_each_of_several_users_has_a_text(run, folder, tmp_path):
    lm = PersonalizedLM.from_pretrained(folder)
    ann, bob = lm.generate(["hi"] * 2, ["ann", "bob"], user_texts=["a sailor", "a cook"], max_new_tokens=6)
    about = ["--user-text", "a sailor", "--user-text", "a cook"]
    done = run(folder, "hi", "--compare", "ann,bob", *about)
    assert ann.strip() in done.stdout and bob.strip() in done.stdout and "same text" not in done.stderr
    assert "all are told the same text" in run(folder, "hi", "--compare", "ann,bob", *about[:2]).stderr
    prompts, users = tmp_path / "p.txt", tmp_path / "u.txt"
    prompts.write_text("hi\n")
    users.write_text("ann\nbob\n")
    done = run(folder, "--prompts", str(prompts), "--users", str(users), "--each-user", *about[:2])
    assert "note: the same text is told about 2 users" in done.stderr


def test_files_and_going_on(run, folder, tmp_path):
    prompts, users, out = tmp_path / "p.txt", tmp_path / "u.txt", tmp_path / "o.jsonl"
    prompts.write_text("hi\nwhy?\n")
    users.write_text("ann\nzoe\n")
    words = [folder, "--prompts", str(prompts), "--users", str(users), "--output", str(out), "--batch-size", "1"]
    done = run(*words)
    assert done.exit_code == 0, done.output
    assert "2 answers written" in done.stdout
    assert "note: 1 user is not in the user table: the generic user answers ('zoe')" in done.stderr
    users.write_text("yan\nzoe\n")
    strangers = run(folder, "--prompts", str(prompts), "--users", str(users))
    assert "note: 2 users are not in the user table: the generic user answers ('yan', 'zoe')" in strangers.stderr
    users.write_text("ann\nzoe\n")
    whole = out.read_text()
    out.write_text(whole[:-9])
    again = run(*words)
    assert "1 answer written (1 were there)" in again.stdout
    assert out.read_text() == whole
    shown = run(folder, "--prompts", str(prompts), "--users", str(users), "--each-user")
    records = [json.loads(line) for line in shown.stdout.splitlines()]
    assert [(r["line"], r["user"], r["known"]) for r in records] == [
        (1, "ann", True),
        (1, "zoe", False),
        (2, "ann", True),
        (2, "zoe", False),
    ]
    assert records[0]["response"] == json.loads(whole.splitlines()[0])["response"]


def test_each_user_of_the_run(run, folder, tmp_path):
    """As the recipe of P-SOUPS has it."""
    prompts, out = tmp_path / "koala_eval_50.json", tmp_path / "koala.jsonl"
    prompts.write_text(json.dumps([{"prompt": "hi"}, {"prompt": "why?"}]))
    done = run(folder, "--prompts", str(prompts), "--each-user", "--output", str(out))
    assert done.exit_code == 0, done.output
    records = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(r["prompt"], r["user"], r["known"]) for r in records] == [
        ("hi", "ann", True),
        ("hi", "bob", True),
        ("why?", "ann", True),
        ("why?", "bob", True),
    ]


def test_each_user_of_a_run_without_users(run, base_folder, tmp_path):
    lm = PersonalizedLM.create(ModelConfig(base=base_folder()), Individual(tokens=3), [], seed=1)
    nobody = str(lm.save_pretrained(tmp_path / "run" / "model").parent)
    (tmp_path / "p.txt").write_text("hi\n")
    done = run(nobody, "--prompts", str(tmp_path / "p.txt"), "--each-user")
    assert isinstance(done.exception, ConfigError) and "has no users" in str(done.exception)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give a PROMPT"),
        (["hi", "--prompts", "p.txt"], "give a PROMPT"),
        (["hi", "--output", "o"], "belong to --prompts"),
        (["--prompts", "p.txt", "--each-user", "--user", "x"], "--user or --each-user, not both"),
        (["--prompts", "p.txt", "--users", "u", "--user", "x"], "not both"),
        (["hi", "--compare", "a,b", "--user", "x"], "one PROMPT alone"),
        (["hi", "--user-text", "x", "--user-text", "y"], "found 2, expected one"),
        (["hi", "--temperature", "-1"], "temperature: found -1"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_anything_is_loaded(run, words, message):
    done = run("no-such-run", *words)
    assert isinstance(done.exception, ConfigError)
    assert message in str(done.exception)
