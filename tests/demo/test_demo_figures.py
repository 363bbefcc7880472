"""The promise itself: `make demo` at its full length reaches the figures that it prints and the README quotes."""

from importlib.resources import files
from pathlib import Path

import pytest

from prlhf.config import RunConfig, load_config
from prlhf.demo.study import run_study
from prlhf.demo.targets import DEMO, findings


@pytest.mark.slow
def test_the_demo_reaches_its_figures(tmp_path):
    config = load_config(RunConfig, Path(str(files("prlhf.demo") / "demo.toml")))
    found = {f.name: f for f in findings(run_study(config, tmp_path / "study", say=lambda _: None), DEMO)}
    missed = {name: f.value for name, f in found.items() if not f.reached}
    assert not missed
    assert set(DEMO) <= set(found) and DEMO["permutation_drop"] == 0.20
    # and what needs no target: the pooled model fails the minority, the oracle knows better than the model alone
    assert found["pooled_minority"].value < 0.5 < found["accuracy_minority"].value
    assert found["oracle_wins_sft"].value > 0.8
