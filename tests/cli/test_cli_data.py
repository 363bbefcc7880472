"""`prlhf data inspect` as a person runs it."""

import json
import re
import shlex

import pytest
from typer.testing import CliRunner

from prlhf.cli.data import app
from prlhf.errors import ConfigError, DataError

ROW = {"prompt": "p", "chosen": "a longer text", "rejected": "b", "worker": "w1"}


@pytest.fixture
def run(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    runner = CliRunner()
    return lambda *words: runner.invoke(app, list(words))


@pytest.fixture
def votes(tmp_path):
    path = tmp_path / "votes.jsonl"
    path.write_text(
        "\n".join(json.dumps({**ROW, "prompt": f"p{i}", "worker": f"w{i % 3}"}) for i in range(30)) + "\noops"
    )
    return str(path)


def test_table_json_and_picture(run, votes, tmp_path):
    numbers, picture = tmp_path / "n.json", tmp_path / "n.png"
    words = ["inspect", votes, "--set", "columns.user_id=worker", "--on-bad-row", "skip"]
    done = run(*words, "--json", str(numbers), "--picture", str(picture))
    assert done.exit_code == 0, done.output
    assert "1 bad rows were skipped" in done.output and "comparisons per user" in done.output
    data = json.loads(numbers.read_text())
    assert (data["counts"]["users"], data["counts"]["comparisons"], data["counts"]["skipped"]) == (3, 30, 1)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_folders_of_what_is_written_are_made(run, votes, tmp_path):
    words = ["inspect", votes, "--on-bad-row", "skip"]
    numbers, picture = tmp_path / "no" / "dir" / "n.json", tmp_path / "other" / "n.svg"
    done = run(*words, "--json", str(numbers), "--picture", str(picture))
    assert done.exit_code == 0, (done.output, done.exception)
    assert json.loads(numbers.read_text())["counts"]["comparisons"] == 30 and "<svg" in picture.read_text()


@pytest.mark.parametrize(
    ("option", "name", "message"),
    [
        ("--picture", "x.foo", r"unknown suffix '\.foo' of a picture; expected one of .*\.png"),
        ("--picture", "x", r"unknown suffix '' of a picture"),
        ("--picture", "", r"--picture .*: found a folder, expected the name of a file"),
        ("--json", "", r"--json .*: found a folder, expected the name of a file"),
        ("--json", "votes.jsonl/n.json", r"--json .*votes\.jsonl.n\.json: its folder cannot be made"),
    ],
)
def test_places_that_cannot_be_written_are_told_at_once(run, votes, tmp_path, monkeypatch, option, name, message):
    monkeypatch.setattr("prlhf.data.load.convert", None)  # nothing is read
    done = run("inspect", votes, option, str(tmp_path / name))
    assert isinstance(done.exception, ConfigError)
    assert re.search(message, str(done.exception))


def test_source_with_options(run):
    done = run("inspect", "convarg", "-s", "options.top=2", "-s", "data.options.preference=length")
    assert done.exit_code == 0, done.output
    assert "4,527" in done.output and "The votes are simulated: length." in done.output


def test_errors_reach_the_main_command(run, votes):
    assert isinstance(run("inspect", votes).exception, DataError)
    assert isinstance(run("inspect", votes, "--set", "column.user_id=worker").exception, ConfigError)
    assert isinstance(run("inspect", votes, "--on-bad-row", "ignore").exception, ConfigError)


def test_the_error_about_a_column_says_what_to_type(run, tmp_path):
    """The options in the message, typed after the same command, are what was missing."""
    path = tmp_path / "votes.csv"
    path.write_text("question,better,worse,Worker ID\np,a longer text,b,w\n")
    message = str(run("inspect", str(path)).exception)
    words = shlex.split(message[message.index("--set") :])
    done = run("inspect", str(path), *words)
    assert done.exit_code == 0, (done.output, done.exception)
    assert "users" in done.output and "nobody" not in done.output
