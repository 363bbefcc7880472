import json
import math

import numpy as np
import pytest

from prlhf.errors import DataError
from prlhf.evaluation.paired import paired_difference, shown_rows
from prlhf.evaluation.scores import Scores


def table(h, *, user=("a", "a", "a", "b", None), group=("x", "x", "x", "y", None), ids="12345", seen=None, weight=None):
    n = len(h)
    return Scores(
        user=np.array([*user, None], dtype=object)[:n],
        group=np.array([*group, None], dtype=object)[:n],
        weight=np.ones(n) if weight is None else weight,
        seen=[u is not None for u in user] if seen is None else seen,
        h_specific=h,
        h_generic=-np.array(h, dtype=float),
        chosen_chars=np.ones(n),
        rejected_chars=np.ones(n),
        ids=np.array([*ids, None], dtype=object)[:n],
    )


A = [1.0, 1.0, 0.0, -1.0, -1.0]  # the last is nobody's, so the generic row, +1, answers
B = [1.0, -1.0, -1.0, 1.0, 1.0]


def test_the_difference_by_hand():
    # a: 0, +1, +.5; b: -1; nobody: 1 - 0.
    found = paired_difference(table(A), table(B), bootstrap=300)
    assert found.overall.accuracy.value == pytest.approx((0 + 1 + 0.5 - 1 + 1) / 5)
    assert found.overall.accuracy.users == 3
    # Users count once, nobody does not: a +.5, b -1.
    assert found.overall.per_user.value == pytest.approx(-0.25)
    assert found.overall.per_user.users == 2
    assert (found.overall.users_better, found.overall.users_equal, found.overall.users_worse) == (1, 0, 1)
    assert found.groups["x"].accuracy.value == pytest.approx(0.5)
    assert found.groups["y"].accuracy.value == -1
    assert math.isnan(found.groups["y"].accuracy.low)
    # Draws of two users: -1, -.25 and .5.
    assert (found.overall.per_user.low, found.overall.per_user.high) == (-1, 0.5)


def test_rows_are_matched_by_id_not_by_place():
    b = table(B)
    shuffled = b.select([3, 0, 4, 2, 1])
    assert paired_difference(table(A), shuffled) == paired_difference(table(A), b)


def test_swapping_the_sides_negates():
    forth, back = paired_difference(table(A), table(B)), paired_difference(table(B), table(A))
    assert forth.overall.accuracy.value == -back.overall.accuracy.value
    assert forth.overall.accuracy.low == pytest.approx(-back.overall.accuracy.high)


def test_a_model_does_not_differ_from_itself():
    overall = paired_difference(table(A), table(A)).overall
    assert (overall.accuracy.value, overall.accuracy.low, overall.accuracy.high) == (0, 0, 0)
    assert overall.users_equal == 2


def test_seen_rows_only():
    found = paired_difference(table(A), table(B), rows="seen")
    assert found.overall.accuracy.value == pytest.approx(0.5 / 4)
    assert found.overall.rows == "seen" and str(found.overall) == str(found.overall.accuracy)
    assert str(paired_difference(table(A), table(B)).overall).endswith(" (all)")


def test_beside_accuracies_of_seen_users_it_is_of_them_unless_nobody_is_seen():
    assert shown_rows(table(A)) == "seen"
    assert shown_rows(table(A, seen=[False] * 5)) == "all"
    assert shown_rows(table(A, seen=[False] * 3 + [True, False], weight=[1, 1, 1, 0, 1])) == "all"


def test_pairing_narrows_the_interval():
    # Users differ much from each other, the two models by a constant.
    rng = np.random.default_rng(0)
    user = [f"u{i}" for i in range(40) for _ in range(10)]
    share = np.repeat(rng.uniform(0, 1, 40), 10)
    h = np.where(rng.uniform(size=400) < share, 1.0, -1.0)
    ids = [str(i) for i in range(400)]
    a = table(h, user=user, group=[None] * 400, ids=ids)
    b = table(np.where(np.arange(400) % 10 == 0, 0.0, h), user=user, group=[None] * 400, ids=ids)
    assert paired_difference(a, b).overall.accuracy.standard_error < 0.015


def test_weights_count():
    weight = [1, 2, 1, 1, 0]
    found = paired_difference(table(A, weight=weight), table(B, weight=weight))
    assert found.overall.accuracy.value == pytest.approx((0 + 2 + 0.5 - 1) / 5)


def test_other_rows_are_refused():
    with pytest.raises(DataError, match=r"1 are only in a \('5'\) and 1 only in b \('6'\)"):
        paired_difference(table(A), table(B, ids="12346"))


def test_an_id_may_occur_once():
    with pytest.raises(DataError, match="1 ids occur more than once in b"):
        paired_difference(table(A), table(B, ids="12344"))


def test_an_id_stands_for_one_users_vote():
    with pytest.raises(DataError, match="'4' is a comparison of 'b' in a and of 'c'"):
        paired_difference(table(A), table(B, user=("a", "a", "a", "c", None)))


def test_nothing_left_is_an_error():
    a, b = (table(h, seen=[False] * 5) for h in (A, B))
    with pytest.raises(DataError, match="no comparison is left"):
        paired_difference(a, b, rows="seen")


def test_as_dict_is_json():
    found = json.loads(json.dumps(paired_difference(table(A), table(B)).as_dict(), allow_nan=False))
    assert found["groups"]["y"]["accuracy"]["low"] is None
    assert found["overall"]["users_better"] == 1
