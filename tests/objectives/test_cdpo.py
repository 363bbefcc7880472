"""Conservative DPO with its arithmetic by hand, and as cross-entropy with a soft label."""

import math

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from prlhf.objectives import cdpo_loss, dpo_loss

H = torch.linspace(-8, 8, 9, dtype=torch.float64)


def test_by_hand():
    # beta h = ln 3: -log sigmoid = ln 4/3, the other way ln 4; 0.75 ln 4/3 + 0.25 ln 4 = ln 4 - 0.75 ln 3
    h = torch.tensor([0.0, 2 * math.log(3)], dtype=torch.float64)
    expected = [math.log(2), math.log(4) - 0.75 * math.log(3)]
    assert cdpo_loss(h, 0.5, 0.25).tolist() == pytest.approx(expected, abs=1e-14)


def test_is_cross_entropy_with_a_soft_label_and_dpo_without_flips():
    soft = binary_cross_entropy_with_logits(0.3 * H, torch.full_like(H, 0.8), reduction="none")
    assert torch.allclose(cdpo_loss(H, 0.3, 0.2), soft, atol=1e-14)
    assert torch.equal(cdpo_loss(H, 0.3, 0.0), dpo_loss(H, 0.3))


def test_is_least_at_a_finite_margin():
    # sigmoid(beta h) = 1 - epsilon: h = ln(0.8 / 0.2) / 0.5
    h = torch.tensor([2 * math.log(4)], dtype=torch.float64, requires_grad=True)
    cdpo_loss(h, 0.5, 0.2).sum().backward()
    assert h.grad.item() == pytest.approx(0.0, abs=1e-14)
    around = cdpo_loss(torch.tensor([h.item() - 1, h.item(), h.item() + 1]), 0.5, 0.2)
    assert around.argmin() == 1
