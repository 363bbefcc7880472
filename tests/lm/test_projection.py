"""The output projection: autograd's numbers, without the logits of all positions."""

import pytest
import torch
from torch import nn

from prlhf.lm import projection
from prlhf.lm.projection import keeps_logits, projected_logprobs

VOCABULARY, WIDTH, POSITIONS = 50, 16, 23


@pytest.fixture
def few(monkeypatch):
    """Seven positions at a time, so that the last part is a short one."""
    monkeypatch.setattr(projection, "FEWEST", 7)
    monkeypatch.setattr(projection, "LOGITS", 7)


def head(trained: bool = False, **options) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(WIDTH, VOCABULARY, bias=False, **options).requires_grad_(trained)


def both(made: nn.Linear, kind: torch.dtype) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Log-probabilities and gradients to the states: ours, and autograd's of the plain formula."""
    torch.manual_seed(1)
    start, weights = torch.randn(POSITIONS, WIDTH, dtype=kind), torch.randn(POSITIONS)
    target = torch.randint(VOCABULARY, (POSITIONS,))
    found = []
    for way in (projected_logprobs, lambda h, x, t: h(x).float().log_softmax(-1).gather(1, t[:, None])[:, 0]):
        states = start.clone().requires_grad_()
        logps = way(made, states, target) if kind != torch.float64 else way(made.double(), states, target)
        (logps * weights.to(logps)).sum().backward()
        found.append((logps.detach(), states.grad))
    return found


@pytest.mark.parametrize("trained", [False, True])
def test_numbers_are_autograds(few, trained):
    made = head(trained)
    (ours, gradient), (expected, wanted) = both(made, torch.float32)
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(gradient, wanted)
    assert (made.weight.grad is not None) is trained


def test_numbers_under_autocast(few):
    with torch.autocast("cpu", torch.bfloat16):
        (ours, gradient), (expected, wanted) = both(head(), torch.float32)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(gradient, wanted, rtol=0.05, atol=0.02)


def test_no_gradient_no_graph(few):
    with torch.no_grad():
        ours = projected_logprobs(head(), torch.randn(POSITIONS, WIDTH), torch.zeros(POSITIONS, dtype=torch.long))
    assert ours.shape == (POSITIONS,) and not ours.requires_grad


def test_a_frozen_projection_keeps_no_logits(few):
    kept: list[int] = []
    states, target = torch.randn(POSITIONS, WIDTH, requires_grad=True), torch.zeros(POSITIONS, dtype=torch.long)
    for made in head(), head(trained=True):
        kept.clear()
        with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
            projected_logprobs(made, states, target)
        assert (max(kept) >= POSITIONS * VOCABULARY) is keeps_logits(made) is made.weight.requires_grad


def test_what_is_no_plain_matrix_is_left_to_autograd():
    class Other(nn.Linear):
        """As quantised layers are."""

    hooked = head()
    hooked.register_forward_hook(lambda *_: None)
    biased = nn.Linear(WIDTH, VOCABULARY).requires_grad_(False)
    for other in (Other(WIDTH, VOCABULARY, bias=False).requires_grad_(False), hooked, biased):
        assert keeps_logits(other)
    assert not keeps_logits(head())
