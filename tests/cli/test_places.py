"""Places to write, and folders that are no run, are told before anything is loaded."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from prlhf.cli.main import app
from prlhf.cli.places import check_new_folder, check_places
from prlhf.errors import ConfigError


def test_folders_are_made_and_what_is_not_given_is_passed_over(tmp_path):
    check_places({"--json": tmp_path / "a" / "b" / "out.json", "--report": None})
    assert (tmp_path / "a" / "b").is_dir() and not (tmp_path / "a" / "b" / "out.json").exists()


@pytest.mark.parametrize(("place", "reason"), [("", "found a folder"), ("file/out", "its folder cannot be made")])
def test_what_cannot_be_written_is_named_with_its_option(tmp_path, place, reason):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=f"^--json {tmp_path}.*: {reason}"):
        check_places({"--report": None, "--json": tmp_path / place})


def test_generate_refuses_a_folder_before_it_looks_for_the_model(tmp_path):
    done = CliRunner().invoke(app, ["generate", "no/run", "--prompts", "no.txt", "--output", str(tmp_path)])
    assert done.exit_code == 2 and f"--output {tmp_path}: found a folder" in done.stderr.replace("\n", "")


def test_what_is_read_is_not_written_over(tmp_path):
    (tmp_path / "in.jsonl").write_text("{}")
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "in.jsonl")
    (tmp_path / "old.jsonl").touch()
    read = {"--votes": None, "--data": [str(tmp_path / "in.jsonl"), "polis"]}
    for name in ("in.jsonl", "link.jsonl"):
        with pytest.raises(
            ConfigError, match=f"^--output {tmp_path / name}: that is what --data reads; write to another"
        ):
            check_places({"--output": tmp_path / name}, read)
    check_places({"--output": tmp_path / "new.jsonl", "--json": tmp_path / "old.jsonl"}, read)


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["evaluate", "nothere"], "is not a run folder"),
        (["reward", "train", "--output", "new", "--data", "votes.jsonl"], "no columns 'chosen', 'rejected'"),
        (["reward", "compare", "--output", "new", "--data", "votes.jsonl", "--models", "bt"], "no columns 'chosen'"),
        (["best-of", "planted", "?", "--reward", "nothere"], "no reward model"),
    ],
)
def test_mistakes_are_told_without_torch(tmp_path, command, told):
    (tmp_path / "votes.jsonl").write_text('{"question": "?"}\n')
    code = (
        "import sys\nfrom prlhf.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as e:\n    assert e.code, e.code\nassert 'torch' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0 and told in done.stderr, done.stderr


def test_a_new_folder_is_one_that_is_not_there_yet(tmp_path):
    check_new_folder("--output", tmp_path / "a" / "new")
    assert not (tmp_path / "a" / "new").exists()
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    for place in (tmp_path, tmp_path / "gone"):
        with pytest.raises(ConfigError, match=f"^--output {place} exists, and nothing is overwritten"):
            check_new_folder("--output", place)
