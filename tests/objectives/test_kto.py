"""KTO with its arithmetic by hand: no gradient through z0, nothing of a comparison in it."""

import math

import pytest
import torch

from prlhf.config import Kto
from prlhf.objectives import PairLogps, kto_loss, make_objective

LN3 = math.log(3)
YES, NO = torch.tensor([True]), torch.tensor([False])


def test_by_hand():
    # beta (r - z0) = 0.5 (2 ln 3 + 1 - 1) = ln 3: sigmoid = 3/4, so an up costs 1/4 and a down 1 - sigmoid(-ln 3) = 3/4
    r, z0 = torch.tensor([2 * LN3 + 1]), torch.tensor([1.0])
    assert kto_loss(r, z0, YES, 0.5).tolist() == pytest.approx([0.25])
    assert kto_loss(r, z0, NO, 0.5).tolist() == pytest.approx([0.75])
    assert kto_loss(r, z0, YES, 0.5, desirable_weight=2.0, undesirable_weight=9.0).tolist() == pytest.approx([0.5])
    assert kto_loss(r, z0, NO, 0.5, desirable_weight=9.0, undesirable_weight=2.0).tolist() == pytest.approx([1.5])


def test_at_z0_everything_costs_a_half():
    r = torch.tensor([3.0, 3.0])
    assert kto_loss(r, torch.tensor([3.0]), torch.tensor([True, False]), 0.1).tolist() == [0.5, 0.5]


def test_gradient_by_hand():
    # of an up -beta s (1 - s) with s = 3/4, of a down its negative; none through z0
    r = torch.full((2,), 2 * LN3, requires_grad=True)
    z0 = torch.zeros(1, requires_grad=True)
    kto_loss(r, z0, torch.tensor([True, False]), 0.5).sum().backward()
    assert r.grad.tolist() == pytest.approx([-0.5 * 3 / 16, 0.5 * 3 / 16])
    assert z0.grad is None


def test_branches_have_a_z0_each():
    r, up = torch.tensor([[1.0, 5.0], [1.0, 5.0], [0.0, 0.0]]), torch.tensor([[True], [False], [True]])
    losses = kto_loss(r, torch.tensor([[1.0, 5.0]]), up, 0.3)
    assert losses.shape == (3, 2) and losses[:2].tolist() == [[0.5, 0.5], [0.5, 0.5]]
    assert losses[2].tolist() == pytest.approx([1 / (1 + math.exp(-0.3)), 1 / (1 + math.exp(-1.5))])


def test_make_objective_by_hand():
    nothing = torch.zeros(2)
    policy = PairLogps(torch.tensor([-4.0, -4.0]), nothing, torch.tensor([2, 2]), nothing)
    reference = PairLogps(torch.tensor([-4.0 - 2 * LN3] * 2), nothing, torch.tensor([2, 2]), nothing)
    up = torch.tensor([True, False])
    plain = make_objective(Kto(beta=0.5, undesirable_weight=4.0))
    assert plain(policy, reference, up, nothing[:1]).tolist() == pytest.approx([0.25, 3.0])
    # -log pi(y) / |y| = 4 / 2, of the up alone
    held = make_objective(Kto(beta=0.5, sft_weight=0.5))
    assert held(policy, reference, up, nothing[:1]).tolist() == pytest.approx([1.25, 0.75])
