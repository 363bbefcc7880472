import math

import numpy as np
import pytest

from prlhf.evaluation import bootstrap as bootstrap_module
from prlhf.evaluation.bootstrap import Estimate, clusters, lowest, macro, resample_lowest, resample_sums


def test_every_nameless_row_is_a_person_of_its_own():
    codes, names = clusters(["b", None, "a", "b", None])
    assert codes.tolist() == [1, 2, 0, 1, 3]
    assert names == ["a", "b", None, None]


def test_sums_are_those_of_whole_users():
    # Two users with the sums (1, 10) and (2, 20): a draw of two gives 2, 3 or 4, and ten times that.
    sums = resample_sums(np.array([[1.0, 10.0], [2.0, 20.0]]), 400, seed=0)
    assert sums.shape == (400, 2)
    assert set(sums[:, 0]) == {2.0, 3.0, 4.0}
    assert (sums[:, 1] == 10 * sums[:, 0]).all()
    # (a, b) and (b, a) are half of all draws.
    assert (sums[:, 0] == 3).mean() == pytest.approx(0.5, abs=0.1)


def test_the_blocks_do_not_change_the_law(monkeypatch):
    table = np.arange(50.0)[:, None]
    whole = resample_sums(table, 500, seed=1)
    monkeypatch.setattr(bootstrap_module, "_CELLS", 120)
    parts = resample_sums(table, 500, seed=1)
    np.testing.assert_array_equal(whole, parts)


def test_intervals_are_over_users_not_rows():
    # 20 users who agree with themselves: 1000 rows say no more than 20 people do, sd = sqrt(.5 * .5 / 20) = .112.
    share = np.array([0.0, 1.0] * 10)
    drawn = resample_sums(np.stack([share * 50, np.full(20, 50.0)], 1), 4000, seed=0)
    assert (drawn[:, 0] / drawn[:, 1]).std() == pytest.approx(0.1118, rel=0.05)


def test_lowest_takes_at_least_one():
    values = np.array([0.3, 0.1, 0.2, 0.9])
    assert lowest(values, 0.1) == pytest.approx(0.1)
    assert lowest(values, 0.5) == pytest.approx(0.15)
    assert lowest(np.arange(20.0), 0.1) == pytest.approx(0.5)
    assert lowest(np.arange(30.0), 0.1) == pytest.approx(1.0)  # 30 x 0.1 is a little more than 3


def test_the_lowest_of_each_draw():
    drawn = resample_lowest(np.array([0.2, 0.6]), 0.1, 300, seed=0)
    # Only the draw of the better user twice, one in four, has another worst user.
    assert set(drawn) == {0.2, 0.6}
    assert (drawn == 0.6).mean() == pytest.approx(0.25, abs=0.08)


def test_macro_has_the_usual_standard_error():
    estimate = macro(np.array([0.5, 1.0, 0.75]), comparisons=7, resamples=200, seed=0)
    assert estimate.value == 0.75
    # sd = .25, over the root of 3.
    assert estimate.standard_error == pytest.approx(0.25 / math.sqrt(3))
    assert 0.5 <= estimate.low < 0.75 < estimate.high <= 1
    assert (estimate.users, estimate.comparisons) == (3, 7)


def test_one_user_has_no_interval():
    estimate = macro(np.array([0.5]), comparisons=4, resamples=200, seed=0)
    assert estimate.value == 0.5
    assert math.isnan(estimate.low) and math.isnan(estimate.high) and math.isnan(estimate.standard_error)


def test_nothing_is_nan_in_python_and_null_in_json():
    nothing = macro(np.array([]), 0, 100, 0)
    assert not nothing.exists
    assert nothing.as_dict()["value"] is None
    assert str(nothing) == "–"


def test_an_estimate_prints_its_interval():
    assert str(Estimate(0.5, 0.25, 0.75)) == "0.500 [0.250, 0.750]"
    assert str(Estimate(0.5)) == "0.500"
