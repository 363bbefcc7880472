"""A mistyped path is no hub id."""

import pytest

from prlhf.data import load_comparisons
from prlhf.data.paths import mistyped
from prlhf.errors import DataError


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    for folder in ("runs/mine", "Qwen/Qwen2-0.5B", "a/b/votes"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("./runs/mien", "; did you mean runs/mine?"),
        ("../elsewhere", ""),
        ("/no/such/folder", ""),
        ("~/no-such-folder-here", ""),
        ("runs/mine/model", ""),
        ("a/b/vote", "; did you mean a/b/votes?"),
        ("a/c/votes", ""),
        ("runs/mien", "; did you mean runs/mine?"),
        ("runz/mine", "; did you mean runs/mine?"),
        ("mine/", ""),
    ],
)
def test_paths(name, hint):
    assert mistyped(name) == mistyped(name, bare=True) == hint


@pytest.mark.parametrize("name", ["owner/model", "runs/other", "Qwen/Qwen2-1.5B", "Qwen/Qwen3-0.5B"])
def test_hub_ids(name):
    assert mistyped(name) is None


def test_only_old_models_have_no_owner():
    assert mistyped("gpt2", bare=True) is None
    assert mistyped("gpt2") == "" and mistyped("run") == "; did you mean runs?"


@pytest.mark.parametrize(("source", "meant"), [("runs/mien", "runs/mine"), ("./a/b/vote", "a/b/votes")])
def test_data_are_not_looked_for_on_the_hub(source, meant, monkeypatch):
    monkeypatch.setattr("prlhf.data.load.open_hub", lambda *_: pytest.fail("asked the hub"))
    with pytest.raises(DataError, match=rf"no file at {source}; did you mean {meant}\?"):
        load_comparisons(source)
