"""VPL: the closed form of its KL, order and number of votes, no leak from what is asked, and planted camps."""

import math

import numpy as np
import pytest
import torch
from camps import accuracy, camps, pooled_accuracy
from torch.distributions import Normal, kl_divergence

from prlhf.config.rewards import Vpl
from prlhf.rewards.vpl import VplReward
from prlhf.rewards.vpl_contexts import batches, groups, steps
from prlhf.rewards.vpl_network import Network, divergence
from prlhf.rewards.vpl_training import kl_share

SMALL = {"latent": 3, "hidden": 32, "epochs": 30, "batch": 8, "learning_rate": 1e-2, "clamp": 4.0}


@pytest.fixture(scope="module")
def learned():
    train, test = camps()
    return train, test, VplReward.fit(Vpl(**SMALL), train)


def test_the_divergence_by_hand():
    # mean 2, variance 1: 4 / 2; mean 0, variance e: (e - 1 - 1) / 2
    found = divergence(torch.tensor([2.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 0.0]))
    assert found.tolist() == pytest.approx([2, (math.e - 2) / 2, 0])
    mean, log_variance = torch.randn(5), torch.randn(5)
    known = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(torch.zeros(5), torch.ones(5)))
    assert torch.allclose(divergence(mean, log_variance), known, atol=1e-6)


def test_the_weight_of_the_kl_rises_in_cycles():
    config = Vpl(cycles=2)
    assert [kl_share(config, done) for done in (0, 0.25, 0.5, 0.75)] == pytest.approx([0.1, 0.55, 0.1, 0.55])
    assert kl_share(config, 0.4999) == pytest.approx(1, abs=1e-4)
    assert kl_share(Vpl(annealing="none"), 0) == 1


def test_camps_are_told_apart_where_one_taste_cannot(learned):
    train, test, model = learned
    assert accuracy(model.margins(test).mean) > pooled_accuracy(train, test) + 0.15
    assert accuracy(model.margins(test).mean) > 0.85


def test_somebody_new_is_met_by_their_votes(learned):
    train, test, model = learned
    known = train.take(np.concatenate([np.flatnonzero(train.user == u)[:10] for u in range(12)]))
    assert accuracy(model.margins(test, model.states_of(known)).mean) > pooled_accuracy(train, test) + 0.1
    turned = known.of_users([known.names[i ^ 1] for i in range(12)])  # the votes of the other camp
    swapped = model.states_of(turned.of_users(known.names))
    rows = swapped.take(np.arange(12) ^ 1)
    assert accuracy(model.margins(test, rows).mean) < 0.5


def test_order_and_company_do_not_matter(learned):
    train, _, model = learned
    states = model.states_of(train)
    shuffled = model.states_of(train.take(np.random.default_rng(1).permutation(train.user.argsort(kind="stable"))))
    alone = model.states_of(train.take(train.user == 4))
    # 40 votes fit into one group, so their order is nothing
    assert np.allclose(shuffled["mean"], states["mean"], atol=1e-12)
    assert np.allclose(alone["mean"][4], states["mean"][4], atol=1e-12)
    assert np.allclose(model.users.states["mean"][1:], states["mean"], atol=1e-12)


def test_no_votes_are_the_prior(learned):
    train, test, model = learned
    state = model.states_of(train.take(train.user == 4))
    assert (state["mean"][3] == 0).all() and (state["variance"][3] == 1).all()
    unknown = model.margins(test.of_users([]))
    assert np.array_equal(unknown.mean, model.margins(test, state.take(np.full(12, 3))).mean)


def test_the_variance_is_the_slope_times_that_of_the_latent(learned):
    _, test, model = learned
    some = test.take(np.arange(6))
    row, step = model.users.rows(test.names)[some.user], 1e-5
    z, variance = model.users.states["mean"][row], model.users.states["variance"][row]
    network = model._network
    x = (test.items.x - model.parameters["centre"]) * model.parameters["inverse_scale"]
    response = network.response(torch.tensor(x))

    def margin(z):
        at = torch.tensor(z)
        return (network.decode(response[some.chosen], at) - network.decode(response[some.rejected], at)).numpy()

    slopes = [(margin(z + step * e) - margin(z - step * e)) / (2 * step) for e in np.eye(3)]
    assert np.allclose(model.margins(some).variance, (np.stack(slopes, axis=1) ** 2 * variance).sum(axis=1), rtol=1e-5)


def test_what_is_asked_is_not_seen_nor_is_another_vote_on_its_pair():
    train, _ = camps(users=3, each=20)
    doubled = train.take(np.concatenate([np.arange(60), np.arange(30), np.arange(10)]))
    asked_of, sizes = [], set()
    for batch in batches(doubled, 8, 4, np.random.default_rng(0)):
        for place, context in zip(batch.asked, batch.of, strict=True):
            seen = batch.context[context][batch.context[context] >= 0]
            assert not np.isin(doubled.pair[place], doubled.pair[seen]).any()
            assert (doubled.user[seen] == doubled.user[place]).all() and len(set(seen)) == len(seen)
            sizes.add(len(seen))
        asked_of.extend(batch.asked)
    assert sorted(asked_of) == list(range(100))
    assert {0, 8} <= sizes
    assert steps(doubled, 4) == len(list(batches(doubled, 8, 4, np.random.default_rng(0))))


def test_all_votes_are_read_in_groups():
    train, _ = camps(users=3, each=20)
    found = [
        (u, rows[rows >= 0]) for users, places in groups(train, 8, 16) for u, rows in zip(users, places, strict=True)
    ]
    assert sorted(np.concatenate([rows for _, rows in found])) == list(range(60))
    assert all((train.user[rows] == u).all() and len(rows) <= 8 for u, rows in found)


def test_a_tie_is_half_a_vote_either_way():
    torch.manual_seed(0)
    network = Network(Vpl(latent=2, hidden=4, counted=True), 3)
    a, b, one, there = torch.randn(2, 3), torch.randn(2, 3), torch.ones(2), torch.ones(1, 2, dtype=torch.bool)
    tie, turned = (network.attended(*sides, one / 2, one, there)[0] for sides in ((a, b), (b, a)))
    assert torch.allclose(tie, turned, atol=1e-6)
    assert not torch.allclose(network.attended(a, b, one, one, there)[0], tie, atol=1e-3)


def test_a_place_without_a_vote_says_nothing_and_nor_does_the_next_context():
    torch.manual_seed(0)
    network = Network(Vpl(latent=2, hidden=4), 3)
    a, b, one = torch.randn(5, 3), torch.randn(5, 3), torch.ones(5)
    there = torch.tensor([[True, False, True, False], [False] * 4, [True, True, True, False]])
    total, weight = network.attended(a, b, one, one, there)
    alone, _ = network.attended(a[:2], b[:2], one[:2], one[:2], torch.ones(1, 2, dtype=torch.bool))
    assert torch.allclose(total[:1], alone, atol=1e-6)
    assert weight.tolist() == [2, 0, 3] and (total[1] == 0).all()
    mean, log_variance = network.posterior(total, weight, torch.tensor([2, 0, 3]))
    assert (mean[1] == 0).all() and (log_variance[1] == 0).all() and (mean[0] != 0).any()


@pytest.mark.parametrize("how", ["always", "training"])
def test_the_length_of_the_latent(how):
    train, test = camps(users=6, each=20)
    model = VplReward.fit(Vpl(normalise=how, **{**SMALL, "epochs": 2}), train, validation=test)
    lengths = np.linalg.norm(model.users.states["mean"], axis=1)
    assert lengths[0] == 0
    assert np.allclose(lengths[1:], math.sqrt(3)) == (how == "always")
    assert np.isfinite(model.margins(test).variance).all()


def test_collapse_is_seen(learned):
    train, _, model = learned
    assert model.active_units >= 1 and model.kl.shape == (3,)
    strong = Vpl(kl_weight=100.0, annealing="none", **{**SMALL, "epochs": 6})
    assert VplReward.fit(strong, train).active_units == 0


def test_the_same_seed_is_the_same_model_and_the_best_epoch_is_kept(tmp_path):
    train, test = camps(users=6, each=20)
    config = Vpl(dropout=0.2, counted=True, **{**SMALL, "epochs": 4})
    torch.manual_seed(1)
    one = VplReward.fit(config, train, validation=test, seed=3)
    after = torch.rand(1)
    two = VplReward.fit(config, train, validation=test, seed=3)
    assert all(np.array_equal(one.parameters[name], two.parameters[name]) for name in one.parameters)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), after)  # nobody else's random numbers were used
    again = VplReward.load(one.save(tmp_path / "m"))
    assert np.array_equal(again.margins(test).mean, one.margins(test).mean)
    assert again.active_units == one.active_units
