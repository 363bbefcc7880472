"""Robust DPO with its arithmetic by hand; it is unbiased, and it is not conservative DPO."""

import math

import pytest
import torch

from prlhf.objectives import cdpo_loss, dpo_loss, robust_loss

H = torch.linspace(-8, 8, 9, dtype=torch.float64)


def test_by_hand():
    # beta h = ln 3, epsilon 1/4: (0.75 ln 4/3 - 0.25 ln 4) / 0.5 = ln 4 - 1.5 ln 3
    h = torch.tensor([0.0, 2 * math.log(3)], dtype=torch.float64)
    expected = [math.log(2), math.log(4) - 1.5 * math.log(3)]
    assert robust_loss(h, 0.5, 0.25).tolist() == pytest.approx(expected, abs=1e-14)


def test_its_mean_over_flipped_votes_is_dpo_of_the_true_ones():
    epsilon = 0.2
    mean = (1 - epsilon) * robust_loss(H, 0.3, epsilon) + epsilon * robust_loss(-H, 0.3, epsilon)
    assert torch.allclose(mean, dpo_loss(H, 0.3), atol=1e-14)
    biased = (1 - epsilon) * cdpo_loss(H, 0.3, epsilon) + epsilon * cdpo_loss(-H, 0.3, epsilon)
    assert not torch.allclose(biased, dpo_loss(H, 0.3), atol=1e-2)


def test_without_flips_is_dpo():
    assert torch.equal(robust_loss(H, 0.3, 0.0), dpo_loss(H, 0.3))
