"""The benchmark of training speed runs, and compares the same loss; how fast it was is for quiet machines."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.filterwarnings("ignore")  # whatever TRL warns of
def test_contestants_of_the_quick_mode(monkeypatch, tmp_path):
    pytest.importorskip("trl")
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import speed_contestants
    import speed_models

    folder = speed_models.make_model(tmp_path / "model", "tiny")
    work = {
        "model": str(folder),
        "size": "tiny",
        "workload": "tiny",
        "seed": 0,
        "comparisons": 4,
        "batch": 2,
        "steps": 1,
        "attention": "auto",
    }
    work |= {"bf16": False, "compile": "off", "attention": "auto"}
    names = (*speed_contestants.THEIRS, speed_contestants.UNIFORM, "P-DPO individual, before_response")
    found = {name: speed_contestants.run(work | {"name": name}) for name in names}
    assert found[speed_contestants.UNIFORM]["loss_gap"] < 1e-5
    assert all(f["comparisons"] == 2 and f["seconds"] >= f["step_seconds"] > 0 for f in found.values())
    reference = {name: f["reference_seconds"] > 0 for name, f in found.items()}
    assert reference == {name: name != speed_contestants.TRL for name in names}  # which has its own in every step
