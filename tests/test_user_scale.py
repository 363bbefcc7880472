"""The benchmark of many users runs, and what it counts is as promised; how fast it was is for quiet machines."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="measures the memory of forked processes as Linux counts it")
def test_user_scale_counts_what_is_promised(tmp_path):
    command = [sys.executable, str(ROOT / "benchmarks" / "user_scale.py"), "--quick", "--json", str(tmp_path / "found")]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "T_u = 4, K = 16" in done.stdout and "only the rows of the batches changed: True" in done.stdout
    points = json.loads((tmp_path / "found").read_text(encoding="utf8"))["details"]
    assert [(p["model"], p["users"]) for p in points] == [
        (model, users) for model in ("individual", "low_rank") for users in (100, 10_000)
    ]
    for p in points:
        rows, own = p["users"] + 1, p["tokens"] * p["width"] if p["model"] == "individual" else p["k"]
        assert p["only_the_batches_rows_changed"] and 1 < p["rows_taught"] <= 2 * 4 + 1
        assert p["table_bytes"] == 4 * own * rows and p["state_bytes"] == 8 * rows
        assert 45 * p["users"] < p["ids_bytes"] < 46 * rows  # 13 letters, four numbers, and a bit for null
        assert p["table_bytes"] < p["user_model_bytes"] < p["table_bytes"] + 40 * rows + 100_000
        assert len(p["steps_s"]) == 1 and min(p["steps_s"]) > 0
