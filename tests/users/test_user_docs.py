"""The code in docs/user-models.md and docs/objectives.md runs and gives what its comments say."""

import re
from pathlib import Path

import pytest
import torch

DOCS = Path(__file__).parents[2] / "docs"


def run(page):
    names = {}
    for block in re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf8"), re.DOTALL):
        exec(compile(block, page, "exec"), names)
    return names


def test_user_models(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = run("user-models.md")
    assert names["rows"].tolist() == [2, 0, 0] and names["new"].tolist() == [3]
    assert names["index"].ids() == ["ann", "bob", "carl"]
    assert names["model"](torch.arange(4)).shape == (4, 4, 64)


def test_objectives():
    names = run("objectives.md")
    assert names["margin"](names["policy"], names["reference"]).tolist() == [4.0]
    assert (names["specific"].tolist(), names["generic"].tolist()) == ([9.0], [1.0])
    assert names["mix"](names["specific"], names["generic"], 0.5).tolist() == pytest.approx([5.0])
