"""The numbers of an inspection by hand, and on logs whose truth is known."""

import json
import math
import random

import pytest

from prlhf.data import Log, inspect_log
from prlhf.data.inspect import accuracy_ceiling, measure_agreement, pooled_bounds
from prlhf.data.picture import draw
from prlhf.types import Comparison


def vote(user, chosen, rejected, prompt="p", **more):
    return Comparison(prompt, chosen, rejected, user=user, **more)


def test_agreement_by_hand():
    votes = [
        *(vote(u, "a", "b") for u in "uvw"),  # three against one
        vote("x", "b", "a"),
        vote("u", "c", "d"),  # agreed by two
        vote("v", "c", "d"),
        vote("u", "e", "f"),  # alone
        vote("u", "e", "f"),  # and again
        vote("v", "g", "h", tie=True),
        vote("u", "g", "h"),
        vote(None, "h", "g"),
    ]
    found = measure_agreement(votes)
    assert (found.pairs, found.votes, found.contested) == (2, 6, 1)
    # first pair: 2 * 3 * 1 of 4 * 3 ordered couples disagree, weighed by its 4 votes; second pair: none of 2
    assert found.disagreement == pytest.approx((4 * 6 / 12 + 0) / 6)
    # residuals 2 - 4/3 and 0 - 2/3 of the two pairs; sqrt(2/1 * (4/9 + 4/9)) over 6 votes
    assert found.disagreement_error == pytest.approx((16 / 9) ** 0.5 / 6)
    # the three see two against one, the one sees three against none; both of the second pair are right
    assert found.majority_of_others == pytest.approx((3 + 0 + 2) / 6)
    assert found.majority == pytest.approx((3 + 2) / 6)
    assert found.same_user == pytest.approx((2**2 + 2**2 + 1 + 1) / 6**2)
    assert (found.repeats, found.self_agreement) == (1, 1.0)


def test_a_user_who_cannot_decide_has_no_vote_on_the_pair():
    votes = [vote("u", "a", "b"), vote("u", "b", "a"), vote("v", "a", "b")]
    found = measure_agreement(votes)
    assert (found.pairs, found.disagreement, found.self_agreement) == (0, None, 0.0)


def test_ceiling():
    assert accuracy_ceiling(1.0) == 1.0
    assert accuracy_ceiling(0.5) == accuracy_ceiling(0.2) == 0.5
    p = 0.8  # where every pair has the same p the bound is exact: A = p^2 + (1-p)^2
    assert accuracy_ceiling(p**2 + (1 - p) ** 2) == pytest.approx(p)


def test_bounds_hold_for_few_users():
    """Two users who always disagree: a coin is the best answer to everybody. Eight of twelve: two thirds, exactly."""
    opposed = [vote(u, *pair, prompt=f"p{i}") for i in range(9) for u, pair in (("u", "ab"), ("v", "ba"))]
    bounds = pooled_bounds(measure_agreement(opposed))
    assert (bounds.lower, bounds.upper) == (0.0, 0.5)
    camps = [vote(f"u{k}", *("ab" if k < 8 else "ba"), prompt=f"p{i}") for i in range(9) for k in range(12)]
    bounds = pooled_bounds(measure_agreement(camps))
    assert bounds.lower < 2 / 3 and bounds.upper == pytest.approx(2 / 3)


def test_bounds_cover_the_truth_on_samples():
    """Eight of twelve users take the longer text, so 2/3 is the best answer to everybody and the bound is tight: the
    plain estimate is right on average and passed by chance in about half of the logs, the one with a margin hardly."""
    plain, widened = [], []
    for seed in range(30):
        found = measure_agreement(length_log(seed=seed).comparisons)
        agree = 1 - found.disagreement
        plain.append(accuracy_ceiling(found.same_user + (1 - found.same_user) * agree))
        widened.append(pooled_bounds(found))
        assert 0 < found.disagreement_error < 0.05
    assert sum(plain) / 30 == pytest.approx(2 / 3, abs=0.01)
    assert sum(p < 2 / 3 for p in plain) > 5
    assert sum(bounds.lower < 2 / 3 < bounds.upper for bounds in widened) >= 29


def length_log(users=12, votes=60, short=4, seed=0) -> Log:
    """Users who always take the longer text, but the first `short`, who take the shorter."""
    rng = random.Random(seed)
    found = []
    for u in range(users):
        for _ in range(votes):
            k = rng.randrange(80)
            texts = sorted((f"p{k} " + "word " * (1 + k % 7), f"p{k} " + "word " * (9 + k % 5)), key=len)
            shorter, longer = texts
            pair = (shorter, longer) if u < short else (longer, shorter)
            found.append(Comparison(f"p{k}", *pair, user=f"u{u}"))
    return Log(tuple(found), "lengths")


def test_tastes_in_length_are_found():
    found = inspect_log(length_log())
    s = found.surface
    assert s.longer == pytest.approx(8 / 12) and s.length == pytest.approx(8 / 12)
    assert s.length_by_user == 1.0 and s.surface == pytest.approx(8 / 12, abs=0.02)
    assert sorted(s.longer_by_user) == [0.0] * 4 + [1.0] * 8
    assert found.agreement.self_agreement == 1.0
    assert "+33.3 points" in found.hope() and "knowing the user perfectly" in found.hope()


def test_without_anything_to_find():
    rng = random.Random(1)
    votes = []
    for i in range(3000):
        pair = rng.sample(["alpha beta", "gamma ray!", "delta\n- x", "epsilon 12"], 2)
        votes.append(Comparison(f"p{i % 200}", *pair, user=f"u{i % 41}"))
    found = inspect_log(Log(tuple(votes), "noise"))
    assert found.surface.surface == pytest.approx(0.5, abs=0.05)
    assert found.agreement.disagreement == pytest.approx(0.5, abs=0.06)
    assert found.pooled.upper < 0.75


def test_counts_and_json():
    log = length_log(users=3, votes=10, short=1)
    extra = (vote("u0", "same", "same"), vote(None, "x", "", tie=True), log.comparisons[0])
    found = inspect_log(Log(log.comparisons + extra, "small"))
    counts = found.counts
    assert (counts["comparisons"], counts["users"], counts["ties"], counts["equal"], counts["empty"]) == (
        33,
        3,
        1,
        1,
        1,
    )
    assert counts["without_user"] == 1 and counts["duplicates"] >= 1
    assert found.per_user["0%"] == 10 and found.per_user["100%"] == 12
    data = json.loads(json.dumps(found.as_dict()))
    assert data["histogram_of_comparisons_per_user"] == {"8-15": 3}
    assert data["users_with"]["10"] == 3 and data["users_with"]["20"] == 0
    assert data["agreement"]["pairs"] == found.agreement.pairs
    assert not any(isinstance(v, float) and math.isnan(v) for v in data["surface"].values())


@pytest.mark.parametrize(
    "comparisons", [(), (vote(None, "a", "b"),), (vote("u", "a", "a"), vote("u", "a", "b", tie=True))]
)
def test_logs_with_next_to_nothing(comparisons, tmp_path):
    found = inspect_log(Log(comparisons, "tiny"))
    assert "cannot be measured" in found.hope() and "too few votes" in found.hope()
    json.dumps(found.as_dict())
    if comparisons:
        draw(found, tmp_path / "tiny.png")


def test_picture(tmp_path):
    draw(inspect_log(length_log()), tmp_path / "p.png")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
