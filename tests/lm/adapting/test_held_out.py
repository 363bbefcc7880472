"""Strengths by a user's own votes: by hand on votes that are linear in one number, against the fits one by one."""

import pytest
import torch
from torch.nn.functional import logsigmoid

from prlhf.config import Dpo
from prlhf.lm.adapting.ballots import Ballots
from prlhf.lm.adapting.fit import Line, solved
from prlhf.lm.adapting.held_out import ENOUGH, own_strengths
from prlhf.lm.adapting.prior import Prior
from prlhf.lm.template import Encoded
from prlhf.objectives import make_objective

OCTAVES = (-3, -2, -1, 0, 1, 2, 3)


def votes(signs: list[list[int]], questions: list[list[int]] | None = None) -> tuple[Ballots, Line]:
    """h of each vote is its sign times z, and its loss -log sigmoid(h)."""
    flat = torch.tensor([sign for own in signs for sign in own], dtype=torch.float64)
    b, sizes = len(flat), torch.tensor([len(own) for own in signs])
    questions = questions or [list(range(len(own))) for own in signs]
    ballots = Ballots(
        n=len(signs),
        encoded=[Encoded((1,), 0, (2,), (3,), (1,))] * b,
        who=torch.arange(len(signs)).repeat_interleave(sizes),
        vote=torch.arange(b),
        question=torch.tensor([q for own in questions for q in own]),
        weight=torch.ones(b).double(),
        flag=torch.zeros(b, dtype=torch.bool),
        reference=torch.zeros(b, 2).double(),
        objective=make_objective(Dpo(beta=1.0)),
        layout="plain",
        strange=[],
        whose=torch.zeros(0, dtype=torch.long),
        strange_reference=torch.zeros(0),
    )
    slopes = torch.zeros(b, 2, 1, dtype=torch.float64)
    slopes[:, 0, 0] = flat
    nobody = torch.zeros(len(signs), dtype=torch.float64)
    return ballots, Line(nobody[:, None], torch.zeros(b, 2).double(), slopes, nobody)


def slow(signs: list[int], parts: list[int], common: float) -> float:
    """Each strength and part in a fit of its own, by bisection of the derivative."""
    found = []
    for octave in OCTAVES:
        loss = 0.0
        for part in range(5):
            kept = [s for s, p in zip(signs, parts, strict=True) if p != part]
            low, high = -20.0, 20.0
            for _ in range(60):
                z = torch.tensor((low + high) / 2, dtype=torch.float64)
                slope = z - common * 2**octave * sum(s * torch.sigmoid(-s * z) for s in kept)
                low, high = (float(z), high) if slope < 0 else (low, float(z))
            loss -= sum(float(logsigmoid(s * z)) for s, p in zip(signs, parts, strict=True) if p == part)
        found.append(-loss - octave**2 / 2)
    posterior = torch.softmax(torch.tensor(found, dtype=torch.float64), 0)
    return float(common * 2 ** (posterior * torch.tensor(OCTAVES)).sum())


def test_consistent_votes_count_more_and_inconsistent_ones_less():
    signs = [[1] * 12, [1, 1, -1, -1, 1, 1, -1, -1, 1, 1], [1] * (ENOUGH - 1)]
    ballots, line = votes(signs)
    found = own_strengths(ballots, Prior(torch.ones(1, 1), 0.5), line).tolist()
    for i in (0, 1):
        assert found[i] == pytest.approx(slow(signs[i], [k % 5 for k in range(len(signs[i]))], 0.5), rel=1e-2)
    assert found[0] > 0.8 and found[1] < 0.45 and found[2] == 0.5


def test_answers_to_one_question_are_held_out_together():
    signs, asked = [1, -1] * 6, [[k // 2 for k in range(12)]]
    together, line = votes([signs], asked)
    apart, _ = votes([signs])
    prior = Prior(torch.ones(1, 1), 1.0)
    found = [own_strengths(ballots, prior, line).item() for ballots in (together, apart)]
    assert found[0] == pytest.approx(slow(signs, [q % 5 for q in asked[0]], 1.0), rel=1e-2)
    assert found[0] > found[1]  # by their other half they are predicted the wrong way round


def test_copies_are_fitted_as_one_by_one():
    ballots, line = votes([[1, 1, 1, -1], [-1, -1]])
    counting = torch.tensor([[1.0, 1, 1, 1, 1, 1], [1, 0, 1, 0, 0, 1]]).double()
    strength = torch.tensor([2.0, 1.0]).double()
    found = solved(ballots.copies(counting), strength.repeat(2), line.copies(2))
    kept, some = votes([[1, 1], [-1]])
    expected = torch.cat([solved(ballots, strength, line), solved(kept, strength, some)])
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


def test_votes_of_no_weight_are_none():
    ballots, _ = votes([[1, 1, 1], [1]])
    counting = torch.tensor([[1.0, 0, 1, 0]]).double()
    assert ballots.votes.tolist() == [3, 1] and ballots.copies(counting).votes.tolist() == [2, 0]
