"""The margin, per-token means, and the objectives as a run's configuration makes them."""

import math

import pytest
import torch

from prlhf.config import Cdpo, Dpo, Hinge, Ipo, Robust, RunConfig, Simpo
from prlhf.objectives import PairLogps, make_objective, margin

POLICY = PairLogps(torch.tensor([-4.0]), torch.tensor([-9.0]), torch.tensor([2]), torch.tensor([3]))
REFERENCE = PairLogps(torch.tensor([-5.0]), torch.tensor([-6.0]), torch.tensor([2]), torch.tensor([3]))


def test_margin_by_hand():
    # (-4 + 5) - (-9 + 6) = 1 + 3 = 4; exchanging chosen and rejected negates it
    assert margin(POLICY, REFERENCE).tolist() == [4.0]
    swap = lambda p: PairLogps(p.rejected, p.chosen, p.rejected_tokens, p.chosen_tokens)  # noqa: E731
    assert margin(swap(POLICY), swap(REFERENCE)).tolist() == [-4.0]
    assert margin(REFERENCE, REFERENCE).tolist() == [0.0]


def test_per_token_means_by_hand_and_of_an_empty_response():
    means = POLICY.per_token()
    assert (means.chosen.tolist(), means.rejected.tolist()) == ([-2.0], [-3.0])
    empty = PairLogps(torch.zeros(1), torch.zeros(1), torch.tensor([0]), torch.tensor([0])).per_token()
    assert (empty.chosen.tolist(), empty.rejected.tolist()) == ([0.0], [0.0])


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (Dpo(beta=0.25), math.log(1 + math.exp(-1))),  # beta h = 1
        (Ipo(beta=0.5), 9.0),  # (4 - 1)^2
        (Dpo(beta=0.25, sft_weight=0.5), math.log(1 + math.exp(-1)) + 0.5 * 4 / 2),  # -log pi(y+) = 4, of 2 tokens
        (Ipo(beta=0.5, sft_weight=2.0), 9.0 + 2 * 4 / 2),
        # per token: h = (-2 + 2.5) - (-3 + 2) = 1.5; (1.5 - 1)^2
        (Ipo(beta=0.5, average=True), 0.25),
        (Hinge(beta=0.125), 0.5),  # 1 - 4 / 8
        (Hinge(beta=1.0), 0.0),
        (Cdpo(beta=0.25, epsilon=0.25), math.log(1 + math.exp(-1)) + 0.25),  # the other way round it costs 1 more
        (Robust(beta=0.25, epsilon=0.25), math.log(1 + math.exp(-1)) - 0.5),  # l - eps / (1 - 2 eps)
        (Simpo(beta=1.0, gamma=0.0), math.log(1 + math.exp(-1))),  # -2 - -3, the reference unseen
    ],
)
def test_make_objective_by_hand(config, expected):
    assert make_objective(config)(POLICY, REFERENCE).tolist() == pytest.approx([expected])


@pytest.mark.parametrize("config", [Dpo(), Ipo(), Ipo(average=True), Hinge(), Cdpo(), Robust(), Simpo()])
def test_branches_of_the_policy_share_the_reference(config):
    b, k = 4, 3
    draw = lambda *shape: -torch.rand(*shape, generator=torch.Generator().manual_seed(sum(shape)))  # noqa: E731
    lengths = torch.tensor([3, 1, 4, 2])[:, None]
    policy = PairLogps(draw(b, k), draw(b, k) - 1, lengths, lengths + 1)
    reference = PairLogps(draw(b, 1), draw(b, 1) - 1, lengths, lengths + 1)
    loss = make_objective(config)(policy, reference)
    assert loss.shape == (b, k)
    row = lambda p, i, j: PairLogps(p.chosen[i, j], p.rejected[i, j], p.chosen_tokens[i, 0], p.rejected_tokens[i, 0])  # noqa: E731
    one = make_objective(config)(row(policy, 2, 1), row(reference, 2, 0))
    assert one.shape == () and one.item() == pytest.approx(loss[2, 1].item(), rel=1e-6)


def test_step_zero_of_a_default_run_costs_ln_2():
    loss = make_objective(RunConfig().objective)(REFERENCE, REFERENCE)
    assert loss.tolist() == pytest.approx([math.log(2)])
