"""Rao and Kupper's model by hand: three outcomes whose probabilities add up to one."""

import math

import pytest
import torch

from prlhf.config import Dpo
from prlhf.objectives import PairLogps, decided_loss, dpo_loss, make_objective, tie_loss

H = torch.linspace(-8, 8, 9, dtype=torch.float64)
ZEROS = PairLogps(*torch.zeros(2, 3), *torch.ones(2, 3, dtype=torch.long))


def test_by_hand():
    # half of the votes on equals are ties: nu = 3; each side wins 1 / (1 + 3); at beta h = ln 3 it wins 3 / (3 + 3)
    equal = torch.zeros(1, dtype=torch.float64)
    ahead = torch.tensor([2 * math.log(3)], dtype=torch.float64)
    assert tie_loss(equal, 0.5, 0.5).item() == pytest.approx(math.log(2), abs=1e-14)
    assert decided_loss(equal, 0.5, 0.5).item() == pytest.approx(math.log(4), abs=1e-14)
    assert decided_loss(ahead, 0.5, 0.5).item() == pytest.approx(math.log(2), abs=1e-14)
    # the rest: behind wins 1 / (1 + 9), so a tie has 1 - 1/2 - 1/10
    assert tie_loss(ahead, 0.5, 0.5).item() == pytest.approx(-math.log(0.4), abs=1e-14)


@pytest.mark.parametrize("ties", [0.05, 0.5, 0.9])
def test_the_three_outcomes_add_up_to_one(ties):
    outcomes = (decided_loss(H, 0.3, ties), decided_loss(-H, 0.3, ties), tie_loss(H, 0.3, ties))
    assert torch.allclose(sum(torch.exp(-loss) for loss in outcomes), torch.ones_like(H), atol=1e-14)


def test_dpo_is_the_limit_without_ties():
    assert torch.allclose(decided_loss(H, 0.3, 1e-9), dpo_loss(H, 0.3), atol=1e-8)


def test_a_tie_draws_the_two_together_whichever_stood_first():
    h = torch.tensor([3.0, -3.0, 0.0], dtype=torch.float64, requires_grad=True)
    tie_loss(h, 0.5, 0.5).sum().backward()
    assert h.grad[0] > 0 > h.grad[1] and h.grad[2].item() == pytest.approx(0, abs=1e-14)
    assert torch.allclose(tie_loss(H, 0.3, 0.5), tie_loss(-H, 0.3, 0.5))


def test_an_objective_takes_each_comparison_for_what_it_is():
    objective = make_objective(Dpo(ties=0.5, sft_weight=1.0))
    losses = objective(ZEROS, ZEROS, torch.tensor([False, True, False]))
    assert losses.tolist() == pytest.approx([math.log(4), math.log(2), math.log(4)])  # log-probabilities are 0
    assert objective(ZEROS, ZEROS).tolist() == pytest.approx([math.log(4)] * 3)


def test_an_objective_without_a_loss_for_ties_says_so():
    with pytest.raises(ValueError, match="no loss for ties"):
        make_objective(Dpo())(ZEROS, ZEROS, torch.tensor([False, True, False]))
