"""IPO with its arithmetic by hand."""

import pytest
import torch

from prlhf.objectives import ipo_loss


def test_by_hand():
    # target 1 / (2 * 0.25) = 2: (0 - 2)^2 = 4, (2 - 2)^2 = 0, (5 - 2)^2 = 9
    assert ipo_loss(torch.tensor([0.0, 2.0, 5.0]), 0.25).tolist() == [4.0, 0.0, 9.0]


def test_gradient_by_hand_and_by_finite_differences():
    # d/dh = 2 (h - 2): -4 at 0, 0 at the target, 6 at 5; a margin beyond the target is pulled back
    h = torch.tensor([0.0, 2.0, 5.0], requires_grad=True)
    ipo_loss(h, 0.25).sum().backward()
    assert h.grad.tolist() == [-4.0, 0.0, 6.0]
    many = torch.linspace(-8, 8, 9, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: ipo_loss(x, 0.3), (many,))


@pytest.mark.parametrize("shape", [(), (3,), (2, 1, 2)])
def test_any_shape(shape):
    assert ipo_loss(torch.zeros(shape), 0.5).shape == shape
