"""The warning that preference is bought with language comes also where nothing is measured while training."""

import pytest
from made_up import comparisons

from prlhf.config import RunConfig
from prlhf.data import Log
from prlhf.training.fallen import FALLEN
from prlhf.training.train import train


@pytest.mark.parametrize(
    ("eval_steps", "fall", "warned"), [(0, 2 * FALLEN, True), (0, FALLEN / 2, False), (1, 9, False)]
)
def test_a_run_that_looks_only_at_the_end_warns_there(
    base_folder, tmp_path, monkeypatch, caplog, eval_steps, fall, warned
):
    found = {"chosen_fall": 0.0, "chosen_fall_worst_tenth": fall}
    monkeypatch.setattr("prlhf.training.finish.falls", lambda data, logps: found)
    config = RunConfig.model_validate(
        {
            "data": {"split": {"test": 0.3}},
            "model": {"base": base_folder(), "tuning": {"type": "lora", "r": 2}},
            "user_model": {"tokens": 2},
            "training": {"max_steps": 1, "eval_steps": eval_steps, "device": "cpu"},
        }
    )
    train(config, tmp_path / "run", log=Log(tuple(comparisons(24)), "made up"), cache=tmp_path)
    assert ("tenth of users who lost most: their log-probability has fallen" in caplog.text) == warned
