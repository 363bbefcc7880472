"""Options that only libraries would refuse, and late: said before anything is read."""

from typing import get_args

import pytest
import transformers.integrations
from transformers import SchedulerType

from prlhf.config import RunConfig, SftConfig
from prlhf.config.load import load_config
from prlhf.config.training import Scheduler
from prlhf.errors import ConfigError
from prlhf.training.sft import sft
from prlhf.training.trackers import check_trackers
from prlhf.training.train import train


class NotInstalled:
    def __init__(self):
        raise RuntimeError("TensorBoardCallback requires tensorboard")


@pytest.mark.parametrize("names", [[], ["none"], ["all"]])
def test_nothing_to_say(names):
    check_trackers(names, "report_to")


def test_unknown_trackers():
    expected = r"option report_to: found 'tensorbord', expected .*tensorboard.*did you mean tensorboard\?"
    with pytest.raises(ConfigError, match=expected):
        check_trackers(["tensorbord"], "report_to")


def test_trackers_that_are_not_installed(monkeypatch):
    monkeypatch.setitem(transformers.integrations.INTEGRATION_TO_CALLBACK, "tensorboard", NotInstalled)
    with pytest.raises(ConfigError, match=r"option report_to: tensorboard cannot be used: .* requires tensorboard"):
        check_trackers(["tensorboard"], "report_to")


def test_said_before_anything_is_read(tmp_path):
    missing = {"source": str(tmp_path / "nothing.jsonl")}
    with pytest.raises(ConfigError, match=r"option training\.report_to: found 'foo'"):
        train(RunConfig.model_validate({"data": missing, "training": {"report_to": ["foo"]}}), tmp_path / "run")
    with pytest.raises(ConfigError, match="option report_to: found 'foo'"):
        sft(SftConfig.model_validate({"data": missing, "report_to": ["foo"]}), tmp_path / "sft")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("kind", "name"), [(RunConfig, "training.lr_scheduler_type"), (SftConfig, "lr_scheduler_type")]
)
def test_unknown_schedulers(kind, name):
    with pytest.raises(ConfigError, match=rf"option {name}: found \"cosin\", expected .*; did you mean cosine\?"):
        load_config(kind, overrides=[f"{name}=cosin"])


def test_the_schedulers_are_those_of_transformers():
    assert {SchedulerType(name).value for name in get_args(Scheduler)} == set(get_args(Scheduler))
