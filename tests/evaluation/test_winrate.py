import json
import math

import pytest

from prlhf.errors import DataError
from prlhf.evaluation.winrate import judged, outcomes_of_utilities, win_rate, win_rate_of_utilities

OUTCOMES, USERS, GROUPS = [1, 1, 0, -1, 1], ["a", "a", "a", "b", None], ["x", "x", "x", "y", None]


def test_counts_and_rates_by_hand():
    rate = win_rate(OUTCOMES, USERS, GROUPS, bootstrap=300)
    assert (rate.wins, rate.ties, rate.losses, rate.count) == (3, 1, 1, 5)
    assert rate.rate.value == pytest.approx(3.5 / 5)
    assert rate.ties_share == 0.2
    # a 2.5/3, b 0: each user once, nobody not at all.
    assert rate.per_user.value == pytest.approx(2.5 / 6)
    assert (rate.per_user.low, rate.per_user.high) == (0, pytest.approx(2.5 / 3))
    assert rate.users["a"].rate.value == pytest.approx(2.5 / 3)
    assert (rate.users["b"].losses, rate.users["b"].rate.value) == (1, 0)
    assert (rate.groups["x"].wins, rate.groups["x"].ties) == (2, 1)
    assert math.isnan(rate.groups["x"].rate.low)


def test_a_over_b_and_b_over_a_add_up_to_one():
    a, b = [3.0, 1.0, 2.0, 2.0], [1.0, 3.0, 2.0, 1.0]
    forth, back = (win_rate_of_utilities(x, y, list("uuvv")) for x, y in ((a, b), (b, a)))
    assert forth.rate.value + back.rate.value == 1
    assert forth.per_user.value + back.per_user.value == 1
    assert forth.rate.low + back.rate.high == pytest.approx(1)


def test_utilities_tie_within_the_tolerance():
    assert outcomes_of_utilities([1, 1, 1], [0, 1, 2]).tolist() == [1, 0, -1]
    assert outcomes_of_utilities([1, 1, 1], [0.5, 1.4, 2], tolerance=0.5).tolist() == [0, 0, -1]


def test_all_ties_are_one_half():
    rate = win_rate([0, 0], ["a", "b"])
    assert (rate.rate.value, rate.per_user.value, rate.ties_share) == (0.5, 0.5, 1)


def test_without_users_there_is_no_mean_over_them():
    rate = win_rate([1, -1, 1], [None] * 3)
    assert rate.rate.value == pytest.approx(2 / 3)
    assert rate.rate.users == 3
    assert not rate.per_user.exists
    assert rate.users == {}


def test_as_dict_is_json():
    found = json.loads(json.dumps(win_rate(OUTCOMES, USERS, GROUPS).as_dict(), allow_nan=False))
    assert found["users"]["b"] == {"wins": 0, "ties": 0, "losses": 1, "rate": 0.0}
    assert found["groups"]["y"]["rate"]["value"] == 0


def test_a_judges_words():
    assert judged(["win", "loss", "tie"]).tolist() == [1, -1, 0]
    with pytest.raises(DataError, match="'draw' in row 1"):
        judged(["win", "draw"])


def test_clear_errors():
    with pytest.raises(DataError, match="found the outcome 2"):
        win_rate([1, 2], ["a", "b"])
    with pytest.raises(DataError, match="2 users"):
        win_rate([1], ["a", "b"])
    with pytest.raises(DataError, match="no outcomes"):
        win_rate([], [])
    with pytest.raises(DataError, match=r"not finite in row 1"):
        win_rate_of_utilities([1, math.nan], [0, 0], ["a", "b"])
    with pytest.raises(DataError, match="equally long"):
        win_rate_of_utilities([1], [0, 0], ["a", "b"])


def test_words_say_the_counts():
    assert str(win_rate([1, 0], ["a", "a"])) == "0.750 (1 wins, 1 ties, 0 losses)"
