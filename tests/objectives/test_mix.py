"""The alpha mix."""

import pytest
import torch

from prlhf.objectives import mix

SPECIFIC, GENERIC = torch.tensor([1.0, 2.0]), torch.tensor([5.0, 10.0])


def test_by_hand():
    # 0.75 * 1 + 0.25 * 5 = 2; 0.75 * 2 + 0.25 * 10 = 4
    assert mix(SPECIFIC, GENERIC, 0.75).tolist() == [2.0, 4.0]


def test_gradients_are_the_shares():
    specific, generic = (torch.ones(2, requires_grad=True) for _ in range(2))
    mix(specific, generic, 0.75).sum().backward()
    assert specific.grad.tolist() == [0.75, 0.75] and generic.grad.tolist() == [0.25, 0.25]


def test_a_branch_without_weight_is_not_looked_at():
    broken = torch.full((2,), float("nan"))
    assert mix(SPECIFIC, None, 1.0) is SPECIFIC and mix(None, GENERIC, 0.0) is GENERIC
    assert mix(SPECIFIC, broken, 1.0) is SPECIFIC and mix(broken, GENERIC, 0.0) is GENERIC


@pytest.mark.parametrize(("specific", "generic", "alpha"), [(None, GENERIC, 0.5), (SPECIFIC, None, 0.5)])
def test_a_branch_with_weight_must_be_there(specific, generic, alpha):
    with pytest.raises(ValueError, match="needs the branch that is None"):
        mix(specific, generic, alpha)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_alpha_is_a_share(alpha):
    with pytest.raises(ValueError, match="between 0 and 1"):
        mix(SPECIFIC, GENERIC, alpha)
