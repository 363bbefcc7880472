"""The benchmark of generation runs, and all its ways answer the same; how fast they were is for quiet machines."""

import json
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]


@pytest.fixture
def generate_speed(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import generate_speed

    threads = torch.get_num_threads()
    yield generate_speed
    torch.set_num_threads(threads)


def test_the_quick_mode_runs_every_part(generate_speed, tmp_path, capsys):
    generate_speed.main(["--quick", "--json", str(tmp_path / "found.json")])  # raises where two ways differ
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf8"))
    assert found["benchmark"] == "generate_speed" and found["machine"] and found["options"]["quick"]
    tables = {row["table"] for row in found["rows"]}
    for part in ("batch of 1,", "batch of 4,", "requests of", "before_response", "after_system", "start", "questions"):
        assert any(part in title for title in tables)
    assert all(row["tokens/s"] > 0 for row in found["rows"])
    assert "continuous batching" in capsys.readouterr().out


def test_a_way_that_answers_otherwise_is_found(generate_speed):
    answers = iter([[(1, 2)], [(1, 3)]])
    with pytest.raises(SystemExit, match="other answers in round 1"):
        generate_speed.turns({"fickle": lambda: next(answers)}, 1, generate_speed.CLOCKS["cpu"])


def test_the_interval_holds_the_median(generate_speed):
    middle, low, high = generate_speed.interval([0.9, 1.0, 1.1, 1.2, 3.0])
    assert middle == 1.1 and 0.9 <= low < 1.1 < high <= 3.0
    assert generate_speed.interval([2.0]) == [2.0, 2.0, 2.0]
