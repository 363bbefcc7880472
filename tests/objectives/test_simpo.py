"""SimPO with its arithmetic by hand."""

import math

import pytest
import torch

from prlhf.config import Simpo
from prlhf.objectives import PairLogps, make_objective, margin_of, mean_difference, simpo_loss

POLICY = PairLogps(torch.tensor([-4.0]), torch.tensor([-9.0]), torch.tensor([2]), torch.tensor([3]))
REFERENCE = PairLogps(torch.tensor([-50.0]), torch.tensor([-6.0]), torch.tensor([2]), torch.tensor([3]))


def test_by_hand():
    # -2 and -3 per token: a difference of 1; 2 * 1 - 2 = 0 costs ln 2; gamma 0: -log sigmoid(2)
    assert mean_difference(POLICY, REFERENCE).tolist() == [1.0]
    assert simpo_loss(torch.tensor([1.0]), 2.0, 2.0).tolist() == pytest.approx([math.log(2)])
    assert simpo_loss(torch.tensor([1.0]), 2.0, 0.0).tolist() == pytest.approx([math.log(1 + math.exp(-2))])


def test_the_reference_does_not_matter():
    objective = make_objective(Simpo(beta=2.0, gamma=2.0))
    assert objective(POLICY, REFERENCE).tolist() == pytest.approx([math.log(2)])
    assert torch.equal(objective(POLICY, REFERENCE), objective(POLICY, POLICY))
    assert margin_of(Simpo())(POLICY, REFERENCE).tolist() == [1.0]  # the sign that evaluation counts
