"""What is asked: the most telling pair, nothing twice, and batches that do not repeat themselves."""

from dataclasses import replace

import numpy as np
import pytest
from people import KNOWN, keys, pairs, pool, world
from planted_votes import planted
from scipy.special import expit

from prlhf.config.rewards import Bt, Factor, Pref
from prlhf.config.rewards.item_mf import ItemMf
from prlhf.errors import ConfigError, DataError
from prlhf.rewards import Votes, fit_reward
from prlhf.rewards.asking import RULES, Belief, Pool, suggest
from prlhf.rewards.features import FeatureMap
from prlhf.types import Comparison

NAMES = [*RULES, "random"]


class Lengths(FeatureMap):
    """Two numbers of a text."""

    def __call__(self, prompts, responses):
        return np.array([[len(r), r.count("a")] for r in responses], np.float32).reshape(-1, 2)

    def texts(self, texts):
        return np.zeros((len(texts), 0), np.float32)

    def save(self, folder):
        raise AssertionError


def slow_information(model, made, state):
    """By drawing people, and for each what is unsure about the model, from the posterior."""
    rng = np.random.default_rng(1)
    l = rng.multivariate_normal(state["l"][0, :-1], state["s"][0, :-1, :-1], 4000)  # noqa: E741
    common, common_variance, phi, phi_variance = made.loadings
    own = phi[:, :-1] @ l.T + (common + phi[:, -1] * state["l"][0, -1])[:, None]
    shared = common_variance + phi_variance[:, :-1] @ (l.T**2).mean(1)
    nodes, weights = np.polynomial.hermite_e.hermegauss(21)
    p = sum(w * expit(own + np.sqrt(shared)[:, None] * x) for x, w in zip(nodes, weights / weights.sum(), strict=True))

    def h(q):
        return -q * np.log(q) - (1 - q) * np.log(1 - q)

    return h(p.mean(1)) - h(p).mean(1)


@pytest.mark.parametrize("told", [0, 6])
def test_expected_information_is_that_of_drawn_people(told):
    model, made, _ = pool(60)
    _, votes, _ = world()
    own = votes.take(np.flatnonzero(votes.user == KNOWN)[:told]) if told else None
    state = model.users.states.take(slice(0, 1)) if own is None else _met(model, own)
    slow, fast = slow_information(model, made, state), Belief.of(model, made, state).information
    np.testing.assert_allclose(fast, slow, atol=0.015)
    assert slow[suggest(model, made, state)[0].place] > slow.max() - 0.015


def _met(model, votes):
    return model.states_of(votes.of_users([votes.names[KNOWN]]))


@pytest.mark.parametrize("rule", NAMES)
def test_nothing_is_asked_twice_and_no_response_twice_in_a_batch(rule):
    model, made, _ = pool()
    before = suggest(model, made, None, 5, rule)
    asked = keys(made, [s.place for s in before])
    after = suggest(model, made, None, 40, rule, asked)
    places = [s.place for s in after]
    assert len(set(places)) == len(places) and not set(asked) & set(keys(made, places))
    responses = [r for place in places for r in (made.votes.chosen[place], made.votes.rejected[place])]
    assert len(set(responses)) == len(responses) == 2 * len(places)
    assert 20 < len(places) <= 40  # 80 responses; a pool that is used up gives fewer
    assert suggest(model, made, None, 1, rule, keys(made, range(len(made)))) == []


def test_a_batch_looks_in_other_directions():
    """Each pick is the best for the covariance that the earlier ones are expected to leave, worked out in full."""
    model, made, _ = pool()
    found = suggest(model, made, None, 4, "d_optimal")
    belief = Belief.of(model, made, model.users.states.take(slice(0, 1)))
    precision = np.linalg.inv(belief.covariance[:-1, :-1])
    for one in found:
        phi = made.loadings.phi[one.place, :-1]
        s = np.linalg.inv(precision)
        assert one.share == pytest.approx(
            float(_relief(belief, s, phi, one.place, made) / (s * made.spread[:-1, :-1]).sum()), rel=1e-6
        )
        now = Belief(made, belief.mean, _padded(s))
        precision = precision + now.fisher[one.place] * np.outer(phi, phi)
    alone = np.argsort(-Belief.of(model, made, model.users.states.take(slice(0, 1))).information)[:4]
    assert {s.place for s in suggest(model, made, None, 4)} != set(alone.tolist())


def _padded(s):
    whole = np.zeros((len(s) + 1, len(s) + 1))
    whole[:-1, :-1] = s
    return whole


def _relief(belief, s, phi, place, made):
    w = Belief(made, belief.mean, _padded(s)).fisher[place]
    after = np.linalg.inv(np.linalg.inv(s) + w * np.outer(phi, phi))
    return ((s - after) * made.spread[:-1, :-1]).sum()


def test_informative_answers_teach_faster_than_random_ones():
    model, made, truth = pool()
    tests = pairs(world()[1], 300, 1)
    errors = {"information": [], "random": []}
    for rule, found in errors.items():
        for person in range(KNOWN, 80):
            taste = truth.users[person]
            margin = made.votes.differences @ taste
            likes = np.random.default_rng(person).random(len(made)) < expit(margin)
            state, told = model.users.states.take(slice(0, 1)), []
            for step in range(6):
                told.append(suggest(model, made, state, 1, rule, keys(made, told), seed=step)[0].place)
                some = made.votes.take(np.array(told))
                up = likes[told]
                some = replace(
                    some,
                    chosen=np.where(up, some.chosen, some.rejected),
                    rejected=np.where(up, some.rejected, some.chosen),
                    user=np.zeros(len(told), np.int64),
                )
                state = model.states_of(some)
            margins = model.margins(replace(tests, user=np.zeros(len(tests), np.int64)), state).mean
            found.append(np.mean((margins > 0) == (tests.differences @ taste > 0)))
    assert np.mean(errors["information"]) > np.mean(errors["random"]) + 0.02


def test_what_is_told_of_a_question():
    model, made, _ = pool()
    one, two = suggest(model, made, None), suggest(model, made, "nobody known", 2)
    assert one[0] == two[0] and one[0].pair is None
    state = model.users.states.take(slice(0, 1))
    belief = Belief.of(model, made, state)
    assert one[0].nats == pytest.approx(float(belief.information.max())) and 0 < one[0].share < 1
    votes = made.votes.take(np.array([one[0].place]))
    assert one[0].probability == pytest.approx(float(model.probability_of(model.margins(votes))[0]))
    np.testing.assert_allclose(belief.personal + belief.shared, model.margins(made.votes).variance, rtol=1e-4)
    known = suggest(model, made, "user-0003")[0]
    assert known.nats < one[0].nats / 2  # of whom there are forty votes
    assert suggest(model, made, None, 1, "random") != suggest(model, made, None, 1, "random", seed=1)


@pytest.mark.parametrize("config", [Pref(factors=2, prior="trained", l2=3.0, steps=10), ItemMf(rank=2)])
def test_other_members_with_gaussian_states_are_asked_through_too(config):
    train, _, _ = planted(users=15, votes_each=30, width=4, rank=2, seed=3)
    model = fit_reward(config, train)
    made = Pool.of_votes(model, pairs(train, 100))
    found = suggest(model, made, None, 3)
    assert len(found) == 3 and all(0 < s.nats < np.log(2) for s in found)
    belief = Belief.of(model, made, model.users.states.take(np.array([2])))
    reward = model.margins(replace(made.votes, user=np.zeros(100, np.int64), names=(train.names[1],)))
    np.testing.assert_allclose(belief.margin, reward.mean, atol=1e-9)
    np.testing.assert_allclose(belief.personal + belief.shared, reward.variance, atol=1e-9)


def test_who_does_not_doubt_chooses_by_chance_alone():
    train, _, _ = planted(users=6, votes_each=20, width=3, rank=0, seed=3)
    for config, why in ((Bt(), "bt does not say how sure it is"), (Factor(rank=0, personal=1.0), "no direction")):
        model = fit_reward(config, train)
        made = Pool.of_votes(model, pairs(train, 50))
        with pytest.raises(ConfigError, match=why):
            suggest(model, made, None)
        [one] = model.suggest(made, None, rule="random")
        assert one.nats is None and one.share is None and 0 <= one.place < 50
    with pytest.raises(ConfigError, match=r"found 'varianse', expected one of .*; did you mean variance"):
        suggest(model, made, None, rule="varianse")


def test_a_pool_of_texts_has_every_pair_once():
    rows = [Comparison("?", "aa", "b"), Comparison("?", "b", "aa", user="x", tie=True), Comparison("?", "c", "c")]
    train = Votes.of([Comparison("?", "a" * i, "bb", user=f"u{i % 3}") for i in range(9)], Lengths())
    model = fit_reward(ItemMf(rank=1), train)
    with pytest.raises(DataError, match="without a feature map"):
        Pool.of(model, rows)
    model.features = Lengths()
    made = Pool.of(model, rows)
    assert len(made) == 1 and made.left_out == 2 and made.pairs[0] == Comparison("?", "aa", "b")
    assert suggest(model, made, None, asked=[rows[1].pair_key]) == []
    with pytest.raises(DataError, match="found 1 pairs, none of two different texts"):
        Pool.of(model, rows[2:])
    assert Pool.of(fit_reward(Bt(), train), rows).loadings is None


def test_texts_that_differ_in_dress_alone_are_one_in_a_batch():
    texts = (("Go on", "Stop"), ("go on! ", "Wait"), ("Go", "Stop."), ("日本", "日本!"))
    rows = [Comparison("?", a, b) for a, b in texts]
    made = Pool.of(fit_reward(Bt(), world()[1]), rows)
    a, b = made.wordings.T
    same = {frozenset(pair.responses): (int(x), int(y)) for pair, x, y in zip(made.pairs, a, b, strict=True)}
    assert len({x for both in same.values() for x in both}) == 5  # go on, stop, wait, go, 日本
    bt = fit_reward(Bt(), world()[1])
    found = [frozenset(one.pair.responses) for one in bt.suggest(made, None, n=4, rule="random")]
    numbers = [x for pair in found for x in set(same[pair])]
    assert len(numbers) == len(set(numbers))
