"""The hinge loss with its arithmetic by hand."""

import pytest
import torch

from prlhf.objectives import hinge_loss


def test_by_hand():
    # 1 - 0.25 h: 1 at 0, 0.5 at 2, 0 at the margin 4 and beyond it, 2 at -4
    h = torch.tensor([0.0, 2.0, 4.0, 9.0, -4.0])
    assert hinge_loss(h, 0.25).tolist() == [1.0, 0.5, 0.0, 0.0, 2.0]


def test_gradient_by_hand():
    # -beta below the margin, nothing beyond it
    h = torch.tensor([0.0, 3.0, 9.0], requires_grad=True)
    hinge_loss(h, 0.25).sum().backward()
    assert h.grad.tolist() == [-0.25, -0.25, 0.0]


@pytest.mark.parametrize("shape", [(), (3,), (2, 1, 2)])
def test_any_shape(shape):
    assert hinge_loss(torch.zeros(shape), 0.5).shape == shape
