"""An objective from outside the package: found, called with its options, and checked."""

import pytest
import torch

from prlhf.config import Custom
from prlhf.errors import ConfigError, TrainingError
from prlhf.objectives import PairLogps, make_objective

PAIR = PairLogps(torch.tensor([-4.0]), torch.tensor([-9.0]), torch.tensor([2]), torch.tensor([3]))
FILE = """
import torch
from prlhf.objectives import margin

def exponential(policy, reference, scale=1.0):
    return torch.exp(-scale * margin(policy, reference))

def summed(policy, reference):
    return margin(policy, reference).sum()

number = 3
"""


@pytest.fixture
def losses(tmp_path, monkeypatch):
    (tmp_path / "my_losses.py").write_text(FILE)
    monkeypatch.syspath_prepend(tmp_path)


def custom(function, **options):
    return make_objective(Custom(function=function, options=options))


@pytest.mark.usefixtures("losses")
def test_by_hand():
    zero = PairLogps(torch.zeros(1), torch.zeros(1), torch.ones(1), torch.ones(1))
    assert custom("my_losses:exponential", scale=0.2)(PAIR, zero).tolist() == pytest.approx([0.36787944])  # h = 5


@pytest.mark.usefixtures("losses")
@pytest.mark.parametrize(
    ("function", "options", "found"),
    [
        ("no_such_module:f", {}, "cannot import 'no_such_module'.*PYTHONPATH"),
        ("my_losses:expnential", {}, "'my_losses' has no function 'expnential'"),
        ("my_losses:number", {}, "'my_losses' has no function 'number'"),
        ("my_losses:exponential", {"scal": 2}, "does not take these: got an unexpected keyword argument 'scal'"),
    ],
)
def test_what_cannot_be_used_is_named(function, options, found):
    with pytest.raises(ConfigError, match=found):
        custom(function, **options)


@pytest.mark.usefixtures("losses")
def test_one_loss_for_each_comparison():
    with pytest.raises(TrainingError, match=r"my_losses:summed returned shape \(\); expected .* shape \(1,\)"):
        custom("my_losses:summed")(PAIR, PAIR)
