import math

import pytest

from prlhf.errors import DataError
from prlhf.evaluation.length import LengthBaseline, length_scores
from prlhf.types import Comparison


def vote(user, longer=True, **more):
    chosen, rejected = ("long one", "short") if longer else ("short", "long one")
    return Comparison("q", chosen, rejected, user=user, **more)


EQUAL = Comparison("q", "same", "size", user="a")
TRAIN = [*[vote("a")] * 4, *[vote("b", False)] * 2, vote(None)]


def odds(share):
    return math.log(share / (1 - share))


def test_directions_by_hand():
    # 5 of 7 votes for the longer, and one imagined each way: 6/9. a: (4 + 2 x 2/3) / (4 + 2); b: (0 + 4/3) / (2 + 2).
    baseline = LengthBaseline.fit(TRAIN, prior_votes=2)
    assert baseline.pooled == pytest.approx(odds(6 / 9))
    assert baseline.users == pytest.approx({"a": odds((4 + 4 / 3) / 6), "b": odds((4 / 3) / 4)})


def test_scores_of_seen_and_unseen_users():
    test = [vote("a"), vote("b"), vote("b", False), vote("new"), vote(None, False), EQUAL]
    scores = length_scores(TRAIN, test, prior_votes=2)
    a, b, pooled = odds(8 / 9), odds(1 / 3), odds(2 / 3)
    assert scores.seen.tolist() == [True, True, True, False, False, True]
    assert scores.h.tolist() == pytest.approx([a, b, -b, pooled, -pooled, 0])
    assert scores.h_generic.tolist() == pytest.approx([pooled, pooled, -pooled, pooled, -pooled, 0])
    assert scores.h_permuted[:3].tolist() == pytest.approx([b, a, -a])


def test_few_votes_stay_near_the_crowd():
    crowd = [vote(f"u{i}") for i in range(98)]
    baseline = LengthBaseline.fit([*crowd, vote("odd", False), *[vote("other", False)] * 40])
    assert baseline.users["odd"] > 0 > baseline.users["other"]


def test_ties_and_equal_lengths_teach_nothing():
    more = [*TRAIN, EQUAL, vote("b", tie=True), Comparison("q", "x", "y", user="c")]
    assert LengthBaseline.fit(more) == LengthBaseline.fit(TRAIN)


def test_weights_count():
    assert LengthBaseline.fit([vote("a", weight=4.0)]) == LengthBaseline.fit([vote("a")] * 4)


def test_nothing_to_learn_from_is_indifferent():
    scores = length_scores([], [vote("a"), vote(None)])
    assert scores.h.tolist() == [0, 0]
    assert scores.h_permuted is None


def test_a_prior_is_needed():
    with pytest.raises(DataError, match="prior_votes = 0"):
        LengthBaseline.fit(TRAIN, prior_votes=0)
