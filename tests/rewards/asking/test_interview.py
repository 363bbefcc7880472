"""An interview without a terminal: what is asked, what is believed, and back again."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy.special import expit

from prlhf.config.rewards import Bt, Factor
from prlhf.errors import ConfigError, DataError
from prlhf.rewards import Votes, fit_reward
from prlhf.rewards.asking import Interview, Pool, moves, predictable
from prlhf.rewards.features import FeatureMap
from prlhf.types import Comparison

WIDTH = 3


class Numbers(FeatureMap):
    """A text is its numbers."""

    def __call__(self, prompts, responses):
        return np.array([[float(w) for w in r.split()] for r in responses], np.float32).reshape(-1, WIDTH)

    def texts(self, texts):
        return np.zeros((len(texts), 0), np.float32)

    def save(self, folder):
        raise AssertionError


def text(x):
    return " ".join(f"{value:+.2f}" for value in x)


@cache
def made():
    """People who differ in the first feature alone, and agree on the second; a model and pairs on two prompts."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, WIDTH))
    rows = []
    for u in range(25):
        for _ in range(30):
            a, b = rng.choice(60, 2, replace=False)
            if rng.random() > expit((x[a] - x[b]) @ taste(2.5 * (-1) ** u)):
                a, b = b, a
            rows.append(Comparison("?", text(x[a]), text(x[b]), user=f"u{u:02}"))
    features = Numbers()
    model = fit_reward(
        Factor(personal=1.5, rank=2, item_effects="off", nonlinear="off", flips=0.0), Votes.of(rows, features)
    )
    model.features = features
    pairs = [Comparison("?!"[i % 2], text(x[a]), text(x[b])) for i, (a, b) in enumerate(rng.choice(60, (80, 2)))]
    return model, Pool.of(model, pairs)


def taste(own):
    return np.array([own, 1.0, 0.0])


def likes(q, own):
    left, right = (np.array([float(w) for w in t.split()]) for t in (q.left, q.right))
    return "left" if (left - right) @ taste(own) > 0 else "right"


def asked(own=2.5, questions=8, **options):
    model, pool = made()
    interview = Interview(model, pool, "new", **options)
    for _ in range(questions):
        interview.answer(likes(interview.question, own))
    return interview


def test_the_state_is_that_of_the_votes():
    interview = asked()
    names, states = made()[0].fold_in(interview.votes)
    assert names == ["new"] and len(interview.votes) == 8 == states.votes[0]
    for name in ("l", "s"):
        np.testing.assert_allclose(interview.state[name], states[name], atol=1e-5)
    assert len({vote.pair_key for vote in interview.votes}) == 8
    assert all(v.user == "new" and v.first_shown and v.timestamp is not None for v in interview.votes)


def test_what_was_told_before_counts_and_is_not_asked_again():
    whole = asked()
    going_on = asked(questions=0, told=[replace(v, user="somebody else") for v in whole.votes])
    np.testing.assert_allclose(going_on.state["l"], whole.state["l"], atol=1e-5)
    assert going_on.question.suggestion.place == whole.question.suggestion.place
    assert going_on.question.suggestion.pair.pair_key not in {v.pair_key for v in whole.votes}
    more, most = going_on.answer("left"), whole.answer("left")
    assert going_on.votes[-1] == more and replace(more, timestamp=None) == replace(most, timestamp=None)
    np.testing.assert_allclose(going_on.state["l"], whole.state["l"], atol=1e-5)


def test_votes_on_pairs_that_the_pool_lacks_count_too():
    model, pool = made()
    own = [Comparison("elsewhere", text((2.0, i, 0)), text((-2.0, i, 0))) for i in range(4)]
    interview = Interview(model, pool, "new", own)
    assert interview.unknown < 0.8 and interview.state.votes[0] == 4
    interview.answer("left")
    _, states = model.fold_in(interview.votes)
    np.testing.assert_allclose(interview.state["l"], states["l"], atol=1e-5)
    assert 0 < interview.question.suggestion.nats == pytest.approx(interview.best)


def test_undo_is_as_if_it_had_not_been_said():
    interview = asked(questions=3)
    before = interview.question, interview.state["l"].copy()
    for said in ("tie", "skip", "right"):
        vote = interview.answer(said)
        assert (vote is None) == (said == "skip")
        assert vote is None or vote.tie == (said == "tie")
        assert interview.question.suggestion.place != before[0].suggestion.place
        assert interview.undo() == vote
        assert interview.question == before[0]
        np.testing.assert_array_equal(interview.state["l"], before[1])
    assert interview.answered == 3
    for _ in range(3):
        interview.undo()
    with pytest.raises(DataError, match="no answer to take back"):
        interview.undo()
    assert interview.unknown == 1 and not interview.votes


def test_it_comes_to_know_somebody():
    model, pool = made()
    interview = asked(own=2.5)
    assert interview.unknown < 0.4
    assert predictable(model, interview.belief) > predictable(model, interview.generic) + 0.1
    found = moves(model, pool, interview.state)
    first = [float(move.response.split()[0]) for move in found]
    assert np.mean(first[:10]) > 0.5 > -0.5 > np.mean(first[-10:])
    assert found[0].by > 0 > found[-1].by and found[0].sure > 0.95
    other = moves(model, pool, asked(own=-2.5).state)
    assert np.mean([float(move.response.split()[0]) for move in other[:10]]) < -0.5
    per_prompt = {p: sum(m.by for m in found if m.prompt == p) for p in "?!"}
    assert all(abs(total) < 1e-6 for total in per_prompt.values())


def test_sides_are_drawn_and_drawn_alike_again():
    votes = asked(questions=30).votes
    a = sum(min(v.chosen, v.rejected) == (v.chosen if v.first_shown == "chosen" else v.rejected) for v in votes)
    assert 8 < a < 22
    assert [v.first_shown for v in asked(questions=30).votes] == [v.first_shown for v in votes]
    assert [v.first_shown for v in asked(questions=30, seed=1).votes] != [v.first_shown for v in votes]


def test_a_pool_is_used_up_and_some_models_cannot_be_asked():
    interview = asked(questions=0, rule="random")
    while interview.question is not None:
        interview.answer("skip")
    assert interview.answered == len(made()[1]) and not interview.votes
    with pytest.raises(DataError, match="nothing is left"):
        interview.answer("left")
    model, pool = made()
    votes = Votes.of([Comparison("?", "1 2 3", "2 1 0", user="u")], Numbers())
    bt = fit_reward(Bt(), votes)
    bt.features = Numbers()
    with pytest.raises(ConfigError, match=r"bt does not say how sure .*--rule random"):
        Interview(bt, Pool.of(bt, pool.pairs), "new")
    with pytest.raises(DataError, match="made of texts"):
        Interview(model, Pool.of_votes(model, votes), "new")
    with pytest.raises(ConfigError, match="did you mean pref"):
        Interview(model, pool, "new", rule="pre")
