"""The benchmark of reward models runs, and its contestants agree; how fast they were is for quiet machines."""

import json
import runpy
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.slow
def test_quick_mode_has_every_row(monkeypatch, tmp_path):
    found = tmp_path / "found.json"
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setattr(sys, "argv", ["reward_speed", "--quick", "--json", str(found)])
    runpy.run_path(str(BENCHMARKS / "reward_speed.py"), run_name="__main__")
    told = json.loads(found.read_text(encoding="utf8"))
    tables = [row["table"].split(":")[0].split(",")[0] for row in told["rows"]]
    assert list(dict.fromkeys(tables)) == [
        "one person",
        "a million people",
        "500 pairs",
        "an answer",
        "camps",
        "all the same",
    ]
    fits = [row for row in told["rows"] if "log-loss" in row]
    assert [row[""] for row in fits] == 2 * ["factor", "bt", "bt by Adam", "lore"]
    assert all(0.2 < row["log-loss"] < 3 and row["CPU, s"] > 0 for row in fits)
    assert {row["directions"] for row in fits if row[""] == "factor" and row["table"].startswith("all")} == {0}
    assert all(row["wall x factor"] == 1 for row in fits if row[""] == "factor") and len(told["remarks"]) == 4 + 2 * 5
