"""What every reward model on features promises, on small planted votes."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from planted_votes import planted, votes_of

from prlhf.errors import DataError
from prlhf.rewards import Items, Votes, fit_reward, load_reward
from prlhf.rewards.features import FeatureMap
from prlhf.rewards.make import MEMBERS, vector_member
from prlhf.types import Comparison

KINDS = list(MEMBERS)
PERSONAL = [kind for kind in KINDS if kind != "bt"]
READERS = [kind for kind in KINDS if kind != "item_mf"]
"""Those that look at features."""
FEW = {"factors": 3, "prior": "trained", "l2": 3.0, "l2_features": 10.0, "steps": 40}
QUICK = {
    "lore": {"steps": 150, "few_shot_steps": 150, "temperature": 10.0, "learning_rate": 0.1, "weight_decay": 1.0,
             "prior": 1.0, "user_weights": "signed"},
    "per_user": {"ridge": 3.0},
    "linear_head": {"user_l2": 3.0},
    "pref": FEW,
    "vpl": {"latent": 4, "hidden": 32, "clamp": 4.0, "epochs": 30, "batch": 8, "learning_rate": 1e-2,
            "kl_weight": 1e-2, "counted": True},
    "ensemble": {"copies": 2, "members": [{"type": "pref", **FEW}]},
    "factor": {"personal": 0.3, "item_effects": "off", "nonlinear": "off", "rank": 3},
}  # fmt: skip
"""Options for six features and forty votes a person, where the defaults are for real data."""
HASTY = {"lore": {"steps": 20, "few_shot_steps": 20}, "vpl": {"epochs": 2}, "pref": {"steps": 10}}

TRAIN, TEST, TRUTH = planted(users=20, votes_each=40, width=6, rank=2, seed=3)


@cache
def fitted(kind):
    return fit_reward(config(kind), TRAIN, validation=TEST, seed=0)


def config(kind, **options):
    return vector_member(kind).Config(**{**QUICK.get(kind, {}), **options})


def hasty(kind):
    """For what is true of a model however little it has learned."""
    return config(kind, **HASTY.get(kind, {}))


def swapped(votes):
    return replace(votes, chosen=votes.rejected, rejected=votes.chosen, first=-votes.first)


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def model(kind):
    return fitted(kind)


def test_it_learns_who_prefers_what(model):
    assert ((model.margins(TEST).mean > 0) == (TRUTH.margins(TEST) > 0)).mean() > 0.7


@pytest.mark.parametrize("kind", [kind for kind in KINDS if vector_member(kind).stops_early])
def test_it_ends_where_held_out_votes_said(kind):
    again = fit_reward(fitted(kind).ended, TRAIN, seed=0)
    np.testing.assert_array_equal(again.margins(TEST), fitted(kind).margins(TEST))
    assert again.ended is None


def test_swapping_a_pair_negates_its_margin(model):
    there, back = model.margins(TEST), model.margins(swapped(TEST))
    np.testing.assert_allclose(there.mean, -back.mean, atol=1e-9)
    np.testing.assert_allclose(there.variance, back.variance, atol=1e-9)
    assert (there.variance >= 0).all()


def test_a_response_is_worth_as_much_as_itself(model):
    same = replace(TEST, rejected=TEST.chosen)
    np.testing.assert_allclose(model.margins(same), 0, atol=1e-9)


def test_a_batch_equals_one_by_one(model):
    whole = model.margins(TEST)
    for row in (0, 17, 399):
        one = model.margins(TEST.take(np.array([row])))
        np.testing.assert_allclose(np.ravel(one), [whole.mean[row], whole.variance[row]], rtol=1e-5, atol=1e-7)


def test_a_margin_is_a_difference_of_scores(model):
    who = np.zeros(len(TEST), np.int64)
    reward = [model.reward(TEST.items, side, None, model.users.states, who) for side in (TEST.chosen, TEST.rejected)]
    margin = model.reward(TEST.items, TEST.chosen, TEST.rejected, model.users.states, who)
    np.testing.assert_allclose(margin.mean, reward[0].mean - reward[1].mean, atol=1e-6)


def test_saving_and_loading_changes_no_score(model, kind, tmp_path):
    loaded = load_reward(model.save(tmp_path / kind))
    assert type(loaded) is type(model)
    assert loaded.config == model.config
    for before, after in zip(model.margins(TEST), loaded.margins(TEST), strict=True):
        np.testing.assert_array_equal(before, after)
    few = TEST.take(np.arange(30))
    for name, array in model.states_of(few).arrays.items():
        np.testing.assert_allclose(loaded.states_of(few)[name], array, atol=1e-6)


def test_somebody_unknown_is_the_generic_user(model):
    nobody = model.margins(TEST.of_users([]))
    unknown = model.margins(replace(TEST, names=tuple(f"new-{name}" for name in TEST.names)))
    np.testing.assert_array_equal(nobody.mean, unknown.mean)


def test_somebody_without_votes_is_the_generic_user(model):
    empty = TEST.take(np.zeros(0, np.int64))
    np.testing.assert_allclose(
        model.margins(TEST, model.states_of(empty)).mean, model.margins(TEST.of_users([])).mean, atol=1e-5
    )


def test_a_commit_touches_its_own_rows_only_and_counts_versions(kind):
    model = vector_member(kind).fit(hasty(kind), TRAIN.take(np.arange(200)), seed=1)
    before = model.users
    names = [TRAIN.names[2], "somebody new"]
    few = TEST.take(TEST.user < 2)
    model.commit(names, model.states_of(replace(few, names=tuple(names))))
    others = np.delete(np.arange(len(before.states)), before.rows(names[:1]))
    for name, array in before.states.arrays.items():
        assert array[others].tobytes() == model.users.states[name][others].tobytes()
    assert model.users.versions[model.users.rows([*names, TRAIN.names[0]])].tolist() == [2, 1, 1]
    assert model.users.states.votes[model.users.rows(names)].tolist() == [20, 20]


def test_folding_in_a_trained_user_again_lands_where_training_did(model):
    trained, again = model.margins(TEST).mean, model.margins(TEST, model.states_of(TRAIN)).mean
    assert np.corrcoef(trained, again)[0, 1] > 0.95
    assert ((trained > 0) == (again > 0)).mean() > 0.93


@pytest.mark.parametrize("kind", PERSONAL)
def test_with_somebody_elses_state_the_score_is_worse(kind):
    model = fitted(kind)
    states = model.states_of(TRAIN)
    other = states.take(np.roll(np.arange(len(states)), 1))
    own, theirs = ((model.margins(TEST, s).mean > 0).mean() for s in (states, other))
    assert own > theirs + 0.05


def odd_users():
    """One vote; one response always best; fifty times the same vote; as often one way as the other; an ordinary one."""
    items = TRAIN.items
    turned = [0, 1] * 10
    chosen = [0, *([5] * 12), *([7] * 50), *turned]
    rejected = [1, *range(10, 22), *([8] * 50), *(1 - i for i in turned)]
    who = [0, *([1] * 12), *([2] * 50), *([3] * 20)]
    return votes_of(items, chosen, rejected, who, ("one", "one-sided", "duplicates", "contradictory"))


def test_odd_users_get_finite_and_shrunken_answers(model):
    odd = odd_users()
    states = model.states_of(odd)
    assert all(np.isfinite(array).all() for array in states.arrays.values())
    grid = TEST.of_users([])
    generic = model.margins(grid).mean
    asked = [replace(grid, user=np.full(len(grid), u), names=odd.names) for u in range(4)]
    answers = [model.margins(votes, states) for votes in asked]
    assert all(np.isfinite(answer).all() for answer in answers)
    away = [np.sqrt(np.mean((answer.mean - generic) ** 2)) for answer in answers]
    size = np.sqrt(np.mean(generic**2))
    assert away[0] < 0.75 * size  # a single vote does not make a person
    assert max(away) < 5 * size


def test_constant_features_say_nothing(kind):
    x = np.column_stack([TRAIN.items.x, np.full(len(TRAIN.items), 7.0), np.zeros(len(TRAIN.items))])
    with_constant = replace(TRAIN, items=Items(TRAIN.items.keys, x.astype(np.float32)))
    model = fit_reward(config(kind), with_constant)
    test = replace(TEST, items=with_constant.items)
    assert ((model.margins(test).mean > 0) == (TRUTH.margins(TEST) > 0)).mean() > 0.7


def test_nothing_but_constants(kind):
    flat = replace(TRAIN, items=Items(TRAIN.items.keys, np.ones((len(TRAIN.items), 2), np.float32)))
    assert np.isfinite(fit_reward(hasty(kind), flat).margins(flat)).all()


DEGENERATE = {
    "nobody prefers anything": lambda v: replace(v, y=np.full(len(v), 0.5)),
    "every vote is taken back": lambda v: join(v, swapped(v)),
    "equal responses": lambda v: replace(v, items=Items(v.items.keys, np.ones_like(v.items.x))),
    "votes of nobody": lambda v: replace(v, user=np.full(len(v), -1)),
}
"""More features than votes of a person, so that everything works in the span of the votes."""


def join(a, b):
    columns = ("chosen", "rejected", "user", "y", "weight", "first", "pair")
    return replace(a, **{name: np.concatenate([getattr(a, name), getattr(b, name)]) for name in columns})


@pytest.mark.parametrize("what", DEGENERATE)
def test_votes_that_say_nothing_are_learned_from_too(kind, what):
    votes, _, _ = planted(users=6, votes_each=5, items=30, width=12, rank=1, seed=1)
    votes = DEGENERATE[what](votes)
    found = fit_reward(hasty(kind), votes, seed=0).margins(votes)
    assert np.isfinite(found.mean).all() and np.isfinite(found.variance).all()
    starts_anywhere, reads_nothing = ("lore", "vpl"), ("item_mf",)  # the first were hardly trained
    if what != "votes of nobody" and kind not in (*starts_anywhere, *reads_nothing):
        assert np.abs(found.mean).max() < 0.2


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("size", [1e5, 1e8])
def test_a_feature_of_another_size_hides_no_other(kind, size):
    train, test, truth = planted(users=12, votes_each=60, width=4, rank=1, seed=2)
    x = np.c_[train.items.x, np.random.default_rng(0).normal(size, size / 100, len(train.items))].astype(np.float32)
    wide = Items(train.items.keys, x)
    more = fit_reward(config(kind), replace(train, items=wide), seed=0)
    right = (more.margins(replace(test, items=wide)).mean > 0) == (truth.margins(test) > 0)
    assert right.mean() > 0.7


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_features_that_are_not_finite(kind, wrong):
    model = fitted(kind)
    x = TRAIN.items.x.copy()
    x[4, 1] = wrong
    broken = replace(TRAIN, items=Items(TRAIN.items.keys, x))
    for ask in (
        lambda: fit_reward(config(kind), broken),
        lambda: model.states_of(broken),
        lambda: model.margins(broken),
    ):
        with pytest.raises(DataError, match="column 1"):
            ask()


@pytest.mark.parametrize("kind", READERS)
def test_features_of_another_length(kind):
    model = fitted(kind)
    longer = Items(TRAIN.items.keys, np.ones((len(TRAIN.items), 9), np.float32))
    for ask in (model.states_of, model.margins):
        with pytest.raises(DataError, match=r"found 9 .* expected 6"):
            ask(replace(TRAIN, items=longer))


def test_no_votes_at_all(kind):
    with pytest.raises(DataError, match="none"):
        fit_reward(config(kind), TRAIN.take(np.zeros(0, np.int64)))


class Letters(FeatureMap):
    """How often each of six letters occurs."""

    def __call__(self, prompts, responses):
        return np.array([[r.count(letter) for letter in "abcdef"] for r in responses], np.float32)

    def texts(self, texts):
        return self([], texts)

    def save(self, folder):
        folder.mkdir()


def test_texts_in_scores_out(kind):
    words = ["aab", "bcd", "ef", "abba", "cafe", "dad"]
    log = [Comparison("q", a, b, user=u) for u in ("ann", "bob") for a in words for b in words if a < b]
    votes = Votes.of(log, Letters())
    model = vector_member(kind).fit(hasty(kind), votes)
    model.features = Letters()
    names, states = model.fold_in([replace(c, user="cid") for c in log[:5]])
    assert names == ["cid"]
    assert states.votes.tolist() == [5]
    margin = model.margin(log[:3]).mean
    sides = [model.score(["q"] * 3, [getattr(c, side) for c in log[:3]], ["ann"] * 3).mean
             for side in ("chosen", "rejected")]  # fmt: skip
    np.testing.assert_allclose(margin, sides[0] - sides[1], atol=1e-6)
