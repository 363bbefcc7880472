"""`prlhf sft` as a command; the training itself is replaced."""

import pytest
from typer.testing import CliRunner

from prlhf.cli.main import app

RUN = CliRunner()


@pytest.fixture
def calls(monkeypatch):
    """What `prlhf sft` asks for; nothing is trained."""
    import prlhf.training.sft as module

    made = []
    monkeypatch.setattr(module, "sft", lambda config, output: made.append(config) or output)
    return made


def test_flags_win_over_the_recipe_and_set_over_both(calls, tmp_path):
    recipe = tmp_path / "r.toml"
    recipe.write_text('epochs = 3.0\n[data]\nsource = "a.jsonl"\n')
    flags = ["--recipe", str(recipe), "-o", str(tmp_path / "m"), "--data", "b.jsonl", "--on-bad-row", "skip"]
    done = RUN.invoke(app, ["sft", *flags, "--set", "learning_rate=0.01", "-s", "data.source=c.jsonl"])
    assert done.exit_code == 0, done.output
    (config,) = calls
    assert (config.epochs, config.learning_rate) == (3.0, 0.01)
    assert (config.data.source, config.data.on_bad_row) == ("c.jsonl", "skip")


def test_options_without_set_are_refused(calls, tmp_path):
    done = RUN.invoke(app, ["sft", "-o", str(tmp_path / "m"), "learning_rate=0.01"])
    assert done.exit_code == 2 and not calls
