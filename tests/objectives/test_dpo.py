"""DPO with its arithmetic by hand."""

import math

import pytest
import torch

from prlhf.objectives import dpo_loss


def test_by_hand():
    # -log sigmoid(0) = ln 2; beta h = 0.5 * 2 ln 3 = ln 3: sigmoid = 3/4, loss ln 4/3; beta h = -ln 3: loss ln 4
    h = torch.tensor([0.0, 2 * math.log(3), -2 * math.log(3)], dtype=torch.float64)
    expected = [math.log(2), math.log(4 / 3), math.log(4)]
    assert dpo_loss(h, 0.5).tolist() == pytest.approx(expected, abs=1e-14)


def test_gradient_by_hand_and_by_finite_differences():
    # d/dh = -beta sigmoid(-beta h); at beta h = ln 3: -0.5 * 1/4
    h = torch.tensor([2 * math.log(3)], dtype=torch.float64, requires_grad=True)
    dpo_loss(h, 0.5).backward()
    assert h.grad.item() == pytest.approx(-0.125, abs=1e-14)
    many = torch.linspace(-8, 8, 9, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: dpo_loss(x, 0.3), (many,))


def test_large_margins_stay_finite():
    h = torch.tensor([1e4, -1e4], requires_grad=True)
    loss = dpo_loss(h, 1.0)
    loss.sum().backward()
    assert loss.tolist() == [0.0, 1e4] and h.grad.tolist() == [0.0, -1.0]


def test_any_shape():
    h = torch.arange(6.0).reshape(1, 2, 3)
    assert dpo_loss(h, 0.1).shape == (1, 2, 3) and dpo_loss(h[0, 0, 0], 0.1).shape == ()
