from collections import Counter

import pytest

from prlhf.data.planted import MAJORITY, PlantedUser, population
from prlhf.data.planted.draw import Draw
from prlhf.data.planted.profiles import LEAST_PERCENT, mixture_weights

USERS = population(60, seed=0)


def test_half_of_the_users_care_for_one_axis():
    assert Counter(u.kind for u in USERS) == {"single": 30, "mixture": 30}
    assert len({u.id for u in USERS}) == 60


def test_single_axis_users_split_seven_to_three():
    names = Counter(u.name for u in USERS if u.kind == "single")
    assert names == {"P1A": 7, "P1B": 3, "P2B": 7, "P2A": 3, "P3A": 7, "P3B": 3}
    assert Counter(u.group for u in USERS if u.kind == "single") == {"majority": 21, "minority": 9}


@pytest.mark.parametrize("axis", range(3))
def test_each_axis_of_the_mixtures_splits_21_to_9(axis):
    signs = Counter(u.percents[axis] * MAJORITY[axis] > 0 for u in USERS if u.kind == "mixture")
    assert signs == {True: 21, False: 9}


@pytest.mark.parametrize("seed", range(3))
def test_profiles_have_unit_norm_and_no_negligible_axis(seed):
    for user in population(48, seed):
        assert sum(map(abs, user.percents)) == 100
        assert sum(map(abs, user.profile)) == pytest.approx(1)
        if user.kind == "mixture":
            assert min(map(abs, user.percents)) >= LEAST_PERCENT


def test_mixture_weights_favour_no_axis():
    draw = Draw("weights")
    totals = [sum(w) / 3000 for w in zip(*(mixture_weights(draw) for _ in range(3000)), strict=True)]
    assert totals == pytest.approx([100 / 3] * 3, abs=1)


def test_the_order_of_ids_says_nothing_about_the_kind():
    assert 8 <= sum(u.kind == "single" for u in USERS[:30]) <= 22


def test_group_is_where_the_profile_points():
    assert PlantedUser("u", (100, 0, 0)).group == "minority"  # most want simple words
    assert PlantedUser("u", (-60, -20, 20)).group == "majority"
    assert PlantedUser("u", (60, 20, 20)).group == "minority"


def test_profile_in_words():
    assert PlantedUser("u", (0, -100, 0)).text == "I only want short answers."
    mixed = PlantedUser("u", (-16, 34, -50)).text
    assert mixed == "I strongly want a rude tone and clearly want full answers and slightly want simple words."


def test_different_seeds_give_different_users():
    assert population(60, 0) == USERS
    assert population(60, 1) != USERS
