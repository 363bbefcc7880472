"""Rows of new users from their votes: against autograd of the trainer's own loss, a planted row, and odd votes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from prlhf.config import Cluster, Dpo, Individual, Ipo, Kto, LowRank, ModelConfig, Simpo, Uniform
from prlhf.errors import ConfigError, DataError
from prlhf.lm import PersonalizedLM, pair_logprobs
from prlhf.lm.adapting import held_out
from prlhf.lm.adapting.ballots import Ballots, learned_from
from prlhf.lm.adapting.fit import line_at, rows_at
from prlhf.lm.adapting.fold_in import fold_in
from prlhf.lm.adapting.prior import Prior
from prlhf.lm.adapting.states import model_key
from prlhf.objectives import PairLogps, make_objective
from prlhf.types import Comparison, Thumb
from prlhf.users import subset

WORDS = ["red", "green as grass", "a blue sky", "no", "yes, of course", "perhaps tomorrow"]
USERS = [f"user {i}" for i in range(6)]
DPO = Dpo(beta=0.5)


@torch.no_grad()
def model(base: str, user_model=None) -> PersonalizedLM:
    """Of random weights, in which six people differ along two directions."""
    lm = PersonalizedLM.create(ModelConfig(base=base), user_model or Individual(tokens=2), USERS, seed=1)
    torch.manual_seed(4)
    if lm.user_model.table is not None:
        table = lm.user_model.table.weight
        table[1:] = table[0] + torch.randn(6, 2) @ torch.randn(2, table.shape[1])
    lm.objective = DPO
    return lm.eval()


@pytest.fixture(scope="module")
def lm(base_folder):
    return model(base_folder())


def pairs(count: int, user: str = "zoe") -> list[Comparison]:
    return [
        Comparison(f"question {i}?", WORDS[i % 6] + "!" * (i % 4), WORDS[(i + 1 + i % 4) % 6], user=user, id=str(i))
        for i in range(count)
    ]


def thumbs(count: int) -> list[Thumb]:
    return [Thumb(c.prompt, c.chosen, i % 3 > 0, user="zoe", id=c.id) for i, c in enumerate(pairs(count))]


def answered(lm: PersonalizedLM, row: torch.Tensor, votes: list[Comparison]) -> list[Comparison]:
    """The votes as somebody with this row gives them."""
    ballots = Ballots.of(lm, votes, ["zoe"], DPO)
    other = subset(lm.user_model, [0, 0])
    other.table.weight.data[1] = row
    with lm.seating(other), torch.no_grad():
        found = pair_logprobs(lm, ballots.encoded, [[1]] * len(votes))
    h = found.chosen[:, 0] - found.rejected[:, 0] - (ballots.reference[:, 0] - ballots.reference[:, 1])
    return [c if d > 0 else replace(c, chosen=c.rejected, rejected=c.chosen) for c, d in zip(votes, h, strict=True)]


@pytest.mark.parametrize(
    ("kind", "objective"),
    [
        (Individual(tokens=2), DPO),
        (Individual(tokens=2), Dpo(ties=0.3)),
        (Cluster(tokens=2, clusters=3), Ipo(average=True)),
        (LowRank(tokens=2, rank=3), Simpo(sft_weight=0.2)),
    ],
)
def test_slopes_give_the_gradient_of_the_training_loss(base_folder, kind, objective):
    lm, votes = model(base_folder(), kind), pairs(5)
    votes[3] = replace(votes[3], tie=True, weight=0.5)
    learned = learned_from(votes, objective)
    assert len(learned) == (5 if objective.learns_ties else 4)
    ballots, prior = Ballots.of(lm, learned, ["zoe"], objective), Prior.of(lm.user_model)
    z = torch.linspace(-0.5, 0.5, len(prior.directions), dtype=torch.float64)[None]
    line = line_at(lm, ballots, prior.directions, z)
    moved = z.clone().requires_grad_()
    loss = ballots.total(ballots.losses(line.at(moved[ballots.who], ballots.who), line.z0)).sum()
    (found,) = torch.autograd.grad(loss, [moved])

    own = subset(lm.user_model, [0, 0])  # the slow way: autograd through the model, one row for all votes
    own.table.weight.data[1] = rows_at(lm, prior.directions, z)[0]
    with lm.seating(own):
        policy = pair_logprobs(lm, ballots.encoded, [[1]] * len(learned))
        reference = PairLogps(
            *ballots.reference[:, None].float().unbind(-1), policy.chosen_tokens, policy.rejected_tokens
        )
        losses = make_objective(objective)(policy, reference, ballots.flag[:, None])[:, 0]
        (slow,) = torch.autograd.grad(losses @ ballots.weight.float(), [own.table.weight])
    expected = prior.directions @ slow.to_dense()[1] if slow.is_sparse else prior.directions @ slow[1]
    torch.testing.assert_close(found[0].float(), expected, rtol=2e-3, atol=1e-4)
    assert loss.item() == pytest.approx((losses.detach() @ ballots.weight.float()).item(), rel=1e-4)


def test_a_planted_row_is_found(lm):
    prior = Prior.of(lm.user_model)
    truth = rows_at(lm, prior.directions, torch.tensor([[1.2, -1.0]]).double())[0]
    votes = answered(lm, truth, pairs(40))
    found = fold_in(lm, votes, prior, Dpo(beta=1.0))
    offset, wanted = found.states.rows[0] - lm.user_model.table.weight[0], truth - lm.user_model.table.weight[0]
    assert torch.cosine_similarity(offset, wanted, dim=0) > 0.9
    assert found.after[0] < found.before[0] and found.held_out[0] < found.before[0]
    assert found.moved[0] > 0.5 and found.states.votes.tolist() == [40]
    assert all(p.grad is None for p in lm.parameters())


def test_together_is_one_by_one_and_nobody_else_moves(lm):
    before = {name: value.clone() for name, value in lm.state_dict().items()}
    both = [*pairs(7), *(replace(c, user="yan", chosen=c.rejected, rejected=c.chosen) for c in pairs(4))]
    together = lm.fold_in(both)
    assert together.names == ("yan", "zoe") and together.votes.tolist() == [4, 7]
    torch.testing.assert_close(together.rows[1], lm.fold_in(both[:7]).rows[0], rtol=1e-3, atol=1e-3)
    assert all(torch.equal(value, before[name]) for name, value in lm.state_dict().items())


def test_no_vote_that_counts_is_the_generic_row(lm):
    votes = [replace(c, tie=True) for c in pairs(3)] + [replace(c, weight=0.0, user="yan") for c in pairs(3)]
    votes += [Comparison("q", *texts, user="wim") for texts in (("a", "b"), ("b", "a"))]
    found = fold_in(lm, votes, Prior.of(lm.user_model), DPO)
    generic = lm.user_model.table.weight[0].expand(2, -1)
    torch.testing.assert_close(found.states.rows[1:], generic, atol=1e-5, rtol=0)
    assert found.moved[0] < 0.3  # contradictory
    assert found.states.votes.tolist() == [2, 0, 0] and np.isnan(found.held_out).all()
    assert found.remarks == (
        "wim: 1 of 1 pairs are answered both ways; such answers cancel",
        "zoe: no vote that this model learns from; the row is the generic one",
    )
    assert len(lm.fold_in([])) == 0


def test_always_the_same_side_is_remarked_on(lm):
    votes = [replace(c, first_shown="rejected") for c in pairs(8)]
    found = fold_in(lm, votes, Prior.of(lm.user_model), DPO)
    assert found.remarks == ("zoe: 8 of 8 votes are for what was shown second: a habit, and perhaps no taste",)
    assert not fold_in(lm, votes[:7], Prior.of(lm.user_model), DPO).remarks


def test_recent_votes_count_more(lm):
    turned = [replace(c, chosen=c.rejected, rejected=c.chosen) for c in pairs(6)]
    weight = np.array([1.0] * 6 + [0.0] * 6)
    old = lm.fold_in([*pairs(6), *turned], weight=weight).rows
    torch.testing.assert_close(old, lm.fold_in(pairs(6)).rows, rtol=1e-3, atol=1e-3)


def test_thumbs_of_a_model_trained_by_kto(lm):
    kto = Kto(beta=0.5)
    liked = fold_in(lm, thumbs(9), Prior.of(lm.user_model), kto)
    assert liked.after[0] < liked.before[0] and liked.states.votes.tolist() == [9]
    assert fold_in(lm, pairs(3), Prior.of(lm.user_model), kto).states.votes.tolist() == [3]
    mixed = Ballots.of(lm, [*pairs(2), *thumbs(1)], ["zoe"], kto)
    assert mixed.vote.tolist() == [0, 0, 1, 1, 2] and mixed.flag.tolist() == [True, False, True, False, False]
    one = fold_in(lm, thumbs(1), Prior.of(lm.user_model), kto)
    assert torch.isfinite(one.states.rows).all()
    ballots = Ballots.of(lm, thumbs(4), ["zoe"], kto)
    line = line_at(lm, ballots, Prior.of(lm.user_model).directions, torch.zeros(1, 2).double())
    with torch.no_grad():
        r = pair_logprobs(lm, ballots.strange, [[0]] * 4).chosen[:, 0].double() - ballots.strange_reference
    assert line.z0.item() == pytest.approx(max(r.mean().item(), 0.0), abs=1e-4)


def test_thumbs_are_measured_against_responses_to_other_prompts(lm):
    ballots = Ballots.of(lm, thumbs(5), ["zoe"], Kto(beta=0.5))
    own = {(e.prompt, e.chosen) for e in ballots.encoded}
    strange = [(e.prompt, e.chosen) for e in ballots.strange]
    assert [p for p, _ in strange] == [e.prompt for e in ballots.encoded] and not own & set(strange)


def test_held_out_is_the_loss_without_the_vote_itself(lm, monkeypatch):
    votes, prior = pairs(10), Prior.of(lm.user_model)
    found = fold_in(lm, votes, prior, DPO)
    assert found.strength[0] != prior.strength and found.held_out[0] > found.after[0]
    monkeypatch.setattr(held_out, "_FOLDS", 1)  # one part: the others are none, and none say the generic row
    assert fold_in(lm, votes, prior, DPO).held_out[0] == pytest.approx(found.before[0], abs=1e-4)
    common = fold_in(lm, votes, prior, DPO, own_strength=False)
    assert common.strength.tolist() == [prior.strength] and not torch.equal(common.states.rows, found.states.rows)


def test_a_trained_user_met_again_is_known_by_their_own_row(lm):
    """Votes that user 2's trained row gives: the fitted row lies nearer to it than to anybody else's."""
    table = lm.user_model.table.weight.detach()
    votes = answered(lm, table[3], pairs(60))
    found = fold_in(lm, votes, Prior.of(lm.user_model), Dpo(beta=1.0)).states.rows[0]
    cosines = torch.cosine_similarity(found - table[0], table[1:] - table[0], dim=1)
    assert cosines.argmax() == 2 and cosines[2] > 0.8


def test_what_cannot_be_fitted_is_told(lm, base_folder):
    for votes, words in (
        ([Comparison("q", "a", "b", id="7")], "row 7 has no user"),
        ([Comparison("q", "a", "a", user="zoe", id="7")], "row 7 votes between two equal responses"),
        ("votes.jsonl", "found str, expected comparisons"),
        (object(), "found object, expected comparisons"),
        ([{"prompt": "q"}], "found dict, expected comparisons"),
        ([replace(thumbs(1)[0], id="7")], "row 7 is a thumb, and objective.type = dpo"),
    ):
        with pytest.raises(DataError, match=words):
            lm.fold_in(votes)
    with pytest.raises(ConfigError, match="finite weight"):
        lm.fold_in(pairs(2), weight=np.array([1.0, -1.0]))
    with pytest.raises(ConfigError, match="nothing personal"):
        model(base_folder(), Uniform(tokens=2)).fold_in(pairs(2))
    unknown = model(base_folder())
    unknown.objective = None
    with pytest.raises(ConfigError, match="give objective="):
        unknown.fold_in(pairs(2))
    assert len(unknown.fold_in(pairs(2), objective=DPO)) == 1


def test_committed_users_are_there_and_known_ones_have_a_new_version(base_folder):
    lm = model(base_folder())
    before, key = lm.user_model.table.weight.detach().clone(), model_key(lm.user_model)
    states = lm.fold_in([*pairs(4), *pairs(3, user="user 1")])
    assert lm.commit(states) == ["user 1"] and model_key(lm.user_model) == key
    rows = lm.users.rows(["user 1", "zoe"])
    assert rows.tolist() == [2, 7] and lm.users.versions[rows].tolist() == [2, 1]
    assert lm.users.counts[rows].tolist() == [3, 4]
    after = lm.user_model.table.weight.detach()
    assert torch.equal(after[rows], states.rows)
    assert torch.equal(after[[0, 1, 3, 4, 5, 6]], before[[0, 1, 3, 4, 5, 6]])
    torch.testing.assert_close(lm.fold_in(pairs(4)).rows, states.rows[1:], atol=1e-4, rtol=0)  # the prior stays
    with pytest.raises(ConfigError, match="another model"):
        model(base_folder(), LowRank(tokens=2, rank=3)).commit(states)
