"""Without a terminal a line a minute says how far a long pass is."""

import pytest
from transformers import TrainerState

from prlhf.training import progress
from prlhf.training.step_progress import StepProgress


@pytest.fixture
def clock(monkeypatch):
    """`clock[0]`: seconds that have gone by; ten more at each look."""
    now = [0.0]

    def look() -> float:
        now[0] += 10.0
        return now[0]

    monkeypatch.setattr(progress.time, "monotonic", look)
    return now


def test_a_pass_over_data(clock, caplog):
    with caplog.at_level("INFO", logger="prlhf"):
        assert list(progress.bar(range(16), "scoring")) == list(range(16))
    # begun at 10 s, looked at after each item, told at 70 s (six of them) and at 130 s
    assert [r.getMessage() for r in caplog.records] == [
        "scoring: 5 of 16, about 0:02:12 left",
        "scoring: 11 of 16, about 0:00:55 left",
    ]


def test_the_steps_of_a_run_that_goes_on(clock, caplog):
    state = TrainerState(max_steps=40, global_step=20, is_world_process_zero=True)
    shown = StepProgress()
    shown.on_train_begin(None, state, None)
    with caplog.at_level("INFO", logger="prlhf"):
        for step in range(21, 34):
            state.global_step = step
            shown.on_step_end(None, state, None)
    shown.on_train_end(None, state, None)
    assert [r.getMessage() for r in caplog.records] == [
        "training: 26 of 40 steps, about 0:02:20 left",
        "training: 32 of 40 steps, about 0:01:20 left",
    ]


def test_short_ones_say_nothing(caplog):
    with caplog.at_level("INFO", logger="prlhf"):
        assert list(progress.bar(range(100), "scoring")) == list(range(100))
    assert not caplog.records
