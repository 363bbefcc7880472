"""What is measured on thumbs: pairs of a liked and a disliked response of one user."""

from collections import Counter

import numpy as np
import pytest
import torch

from prlhf.config import Individual, ModelConfig
from prlhf.evaluation.policy import EvaluationSet, policy_logprobs, score_policy
from prlhf.evaluation.rows import seen_by
from prlhf.evaluation.thumbs import ThumbPair, one_sided, thumb_pairs
from prlhf.lm import PersonalizedLM
from prlhf.objectives import mean_margin
from prlhf.types import Comparison, Thumb

LOG = [
    Thumb("why?", "because", True, user="ann", weight=2.0, group="g", id="1"),
    Thumb("who?", "nobody at all", False, user="ann", weight=3.0, group="g", id="2"),
    Thumb("name a colour", "red", False, user="ann", group="g", id="3"),
    Thumb("why?", "because", False, user="bob", id="4"),
    Thumb("when?", "now", True, user="bob", id="5"),
    Thumb("where?", "here", True, user="cem", id="6"),
    Thumb("where?", "there", True, id="7"),
    Thumb("where?", "anywhere", False, id="8"),
]


def personalised(base: str) -> PersonalizedLM:
    lm = PersonalizedLM.create(ModelConfig(base=base), Individual(tokens=2), ["ann", "bob"], seed=1).eval()
    torch.manual_seed(0)
    with torch.no_grad():
        lm.user_model.table.weight[1:].normal_()
    return lm


def test_pairs_within_a_user():
    pairs = thumb_pairs(LOG)
    assert all(LOG[up].up and not LOG[down].up and LOG[up].user == LOG[down].user for up, down in pairs)
    assert Counter(LOG[up].user for up, _ in pairs) == {"ann": 2, "bob": 1, None: 1}
    assert {down for up, down in pairs if LOG[up].user == "ann"} == {1, 2}  # each of the larger side once
    assert pairs == thumb_pairs(LOG)


def test_the_smaller_side_is_used_equally_often():
    log = [Thumb("p", str(i), i < 3, user="u") for i in range(11)]
    ups = Counter(up for up, _ in thumb_pairs(log, seed=4))
    assert sorted(ups.values()) == [2, 3, 3] and thumb_pairs(log, 4) != thumb_pairs(log, 5)


def test_the_share_of_right_pairs_estimates_the_area_under_the_curve():
    rng = np.random.default_rng(0)
    log = [Thumb("p", str(i), bool(rng.random() < 0.4), user="u") for i in range(400)]
    scores = rng.normal(size=400) + [t.up for t in log]
    ups, downs = ([scores[i] for i, t in enumerate(log) if t.up is side] for side in (True, False))
    area = np.mean([up > down for up in ups for down in downs])
    share = np.mean([scores[a] > scores[b] for seed in range(20) for a, b in thumb_pairs(log, seed)])
    assert share == pytest.approx(area, abs=0.01)


def test_who_is_not_measured():
    assert one_sided(LOG).startswith("1 of 4 users have only thumbs up or only thumbs down here (1 thumbs)")
    assert one_sided(LOG[:5]) == ""


@pytest.mark.parametrize("layout", ["plain", "packed"])
@torch.no_grad()
def test_margins_are_those_of_the_two_rewards(base_folder, layout):
    lm = personalised(base_folder("gpt2"))
    data = EvaluationSet.of(lm, LOG, layout=layout, seed=1)
    found = score_policy(lm, data)
    alone = EvaluationSet.of(lm, [Comparison(t.prompt, t.response, "x", user=t.user) for t in LOG], layout="plain")
    rewards = policy_logprobs(lm, alone)[..., 0] - alone.reference[:, :1]  # [thumbs, branches]
    pairs = thumb_pairs(LOG, 1)
    for row, (up, down) in enumerate(pairs):
        expected = rewards[up] - rewards[down]
        np.testing.assert_allclose(
            [found.h_specific[row], found.h_generic[row], found.h_permuted[row]], expected, atol=1e-4
        )
        assert (found.user[row], found.ids[row]) == (LOG[up].user, f"{LOG[up].id} over {LOG[down].id}")
        assert (found.chosen_chars[row], found.rejected_chars[row]) == (len(LOG[up].response), len(LOG[down].response))
    assert found.seen.tolist() == [LOG[up].user in ("ann", "bob") for up, _ in pairs]
    assert np.isfinite(score_policy(lm, data, margin=mean_margin).h).all()
    few = data.first(2)
    np.testing.assert_allclose(policy_logprobs(lm, few), policy_logprobs(lm, data)[:2], atol=1e-4)
    assert len(few) == 2 and (few.tokens == data.tokens[:2]).all() and (few.rows == data.rows[:2]).all()


def test_thumbs_beside_comparisons_are_left_out(base_folder):
    lm = personalised(base_folder("gpt2"))
    pair = Comparison("p", "a", "b", id="c")
    assert EvaluationSet.of(lm, [*LOG, pair]).comparisons == (pair,)
    assert len(EvaluationSet.of(lm, [LOG[0]])) == 0


def test_weight_and_group_of_a_pair():
    pair = ThumbPair(LOG[0], LOG[1])
    assert (pair.weight, pair.group) == (6.0, "g")


def test_what_was_trained_on():
    judged = [Thumb("p", "a", True, user="u"), Thumb("p", "b", False, user="v")]
    assert seen_by(judged, [Comparison("p", "a", "b", user="u")], "it").startswith(
        "it was trained on the pair of 1 of these 1 comparisons, on 0 of them"
    )
    assert seen_by(judged[:1], [Comparison("p", "a", "b")], "it") == ""
    voted = [Comparison("p", "a", "b", user="u"), Comparison("p", "b", "c", user="u")]
    assert "the response of 2 of these 2 thumbs, on 1 of them" in seen_by(voted, judged, "it")
    assert seen_by(voted, [Comparison("p", "a", "c", user="u")], "it") == ""  # known from no vote
    assert "some of these thumbs" in seen_by(None, judged, "it")
