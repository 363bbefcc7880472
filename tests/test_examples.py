"""The examples run as they stand."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_minimal_pdpo_shows_every_line_at_once():
    """Also where standard output is a pipe or a file, as under nohup."""
    tree = ast.parse((ROOT / "examples" / "minimal_pdpo.py").read_text(encoding="utf8"))
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "print"]
    assert calls and all(any(keyword.arg == "flush" for keyword in call.keywords) for call in calls)


@pytest.mark.slow
def test_minimal_pdpo_runs(tmp_path):
    command = [sys.executable, "-W", "error::UserWarning", str(ROOT / "examples" / "minimal_pdpo.py"), "--steps", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("P-DPO on the planted world: 2 steps of 16 votes")
    assert "Warning" not in done.stderr
    assert len((ROOT / "examples" / "minimal_pdpo.py").read_text(encoding="utf8").splitlines()) <= 150
    [figures] = re.findall(r"step +2  loss (\S+)  held-out: own row (\S+), generic row (\S+)", done.stdout)
    loss, own, generic = map(float, figures)
    assert loss < 1.0 and 0 < own < 1 and 0 < generic < 1
    assert not list(tmp_path.iterdir())
