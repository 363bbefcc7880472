from dataclasses import replace

import numpy as np
import pytest

from prlhf.config import Individual, ModelConfig
from prlhf.data.planted import World
from prlhf.evaluation.baselines import (
    BASELINES,
    MEANINGS,
    in_context,
    in_context_flipped,
    length_only,
    planted_oracle,
    reference_margins,
    user_text,
)
from prlhf.evaluation.length import length_scores
from prlhf.lm import PersonalizedLM
from prlhf.types import Comparison


def vote(number, user="ann", chosen="yes, it is", rejected="no", **more):
    return Comparison(f"Question {number}?", chosen, rejected, user=user, id=f"{user}{number}", **more)


@pytest.fixture(scope="module")
def lm(base_folder):
    config = ModelConfig(base=base_folder("llama"), max_prompt_tokens=400)
    return PersonalizedLM.create(config, Individual(tokens=2), ["ann", "bob"])


@pytest.fixture
def shown(monkeypatch):
    """The user texts that the reference is asked with; its margin is the length of the text."""
    calls = []

    def margins(lm, comparisons, texts, **how):
        calls.append(list(texts))
        return np.array([float(len(t or "")) for t in texts])

    monkeypatch.setattr("prlhf.evaluation.baselines.reference_margins", margins)
    return calls


def test_the_reference_with_a_text_is_the_base_model_on_text_and_prompt(lm):
    c = vote(1)
    h = reference_margins(lm, [c, c], ["I like yes.", None])
    joined = Comparison(f"I like yes.\n\n{c.prompt}", c.chosen, c.rejected)
    # The second source: the same words given as a plain prompt.
    assert h[0] == pytest.approx(reference_margins(lm, [joined], [None])[0], abs=1e-4)
    assert h[1] == pytest.approx(reference_margins(lm, [c], [None])[0], abs=1e-4)
    assert abs(h[0] - h[1]) > 1e-4


def test_the_text_is_shown_even_where_the_reference_of_training_does_not_see_it(base_folder):
    config = ModelConfig(base=base_folder("llama"), reference_user_text=False)
    blind = PersonalizedLM.create(config, Individual(tokens=2), ["ann"])
    told, plain = (reference_margins(blind, [vote(1)], [text])[0] for text in ("I like yes.", None))
    assert abs(told - plain) > 1e-4


def test_user_text_is_relative_and_only_where_there_is_one(lm, shown):
    votes = [vote(1, user_text="short"), vote(2, user="bob"), vote(3, user="new", user_text="longer text")]
    found = user_text(lm, votes, np.array([True, True, False]))
    assert list(found.scores.ids) == ["ann1", "new3"]
    assert shown == [["short", "longer text"], [None, None]]
    np.testing.assert_array_equal(found.scores.h, [5, 11])  # an unknown user has a text all the same
    np.testing.assert_array_equal(found.scores.h_generic, [0, 11])
    nothing = user_text(lm, votes[1:2], np.array([True]))
    assert nothing.scores is None and nothing.missing


def test_in_context_uses_the_users_own_last_votes_of_training(lm, shown):
    train = [vote(n) for n in range(5)] + [vote(9, user="bob", chosen="bobs")]
    asked = [vote(10), vote(11, user="bob"), vote(12, user="new"), vote(13, user=None)]
    relative, raw = in_context(lm, train, asked, np.array([True, True, False, False]), votes=2)
    ann, bob, new, nobody = shown[0]
    assert "Question 3?" in ann and "Question 4?" in ann and "Question 2?" not in ann and "bobs" not in ann
    assert ann.index("Question 3?") < ann.index("Question 4?")
    assert "bobs" in bob and "Question 10?" not in ann
    assert new is None and nobody is None and shown[1] == [None] * 4
    np.testing.assert_array_equal(raw.scores.h, [len(ann), len(bob), 0, 0])
    np.testing.assert_array_equal(relative.scores.h, raw.scores.h)
    assert (relative.name, raw.name) == ("in_context_relative", "in_context_raw")


def test_in_context_can_be_told_every_vote_the_other_way(lm, shown):
    """The texts of a flipped prompt are the same, but for who chose what."""
    train, asked = [vote(n) for n in range(3)], [vote(10), vote(11, user="new")]
    found = in_context_flipped(lm, train, asked, np.array([True, False]), np.array([5.0, 0.0]), votes=2)
    ((ann, new),) = shown
    assert ann.count("Not preferred: yes, it is") == ann.count("\nPreferred: no\n") == 2 and new is None
    np.testing.assert_array_equal(found.h, [len(ann) - 5, 0])


def test_in_context_never_tells_the_vote_that_is_asked_about(lm, shown):
    train = [vote(n) for n in range(4)]
    in_context(lm, train, [vote(3), vote(3, chosen="no", rejected="yes, it is")], np.array([True, True]), votes=2)
    for text in shown[0]:  # the last votes before it instead, whichever way it went
        assert "Question 3?" not in text and "Question 2?" in text and "Question 1?" in text


def test_in_context_never_tells_a_ranking_that_implies_the_answer(lm, shown):
    ranked = [vote(1, chosen=a, rejected=b) for a, b in (("aa", "bb"), ("bb", "cc"), ("dd", "ee"))]
    ranking = [replace(v, id=f"7:{i}>{i + 1}") for i, v in enumerate(ranked, 1)]
    other = replace(vote(2, chosen="aa", rejected="cc"), id="8:1>2")  # another prompt: another question
    asked = vote(1, chosen="aa", rejected="cc")
    in_context(lm, [*ranking, other], [asked], np.array([True]))
    assert "Preferred: dd" in shown[0][0] and "Question 2?" in shown[0][0]
    assert "bb" not in shown[0][0]
    in_context(lm, ranked, [asked], np.array([True]))  # votes of their own are told: the model has learned from them
    assert "Preferred: bb" in shown[2][0]


def test_in_context_keeps_the_users_text_in_both(lm, shown):
    asked = [vote(10, user_text="I am ann.")]
    relative, raw = in_context(lm, [vote(1)], asked, np.array([True]))
    assert shown[0][0].startswith("I am ann.\n\n") and shown[1] == ["I am ann."]
    assert raw.scores.h_generic[0] == len("I am ann.")
    assert relative.scores.h[0] == raw.scores.h[0] - len("I am ann.")


@pytest.mark.parametrize("limit", [200, 260, 400])
def test_votes_fill_the_prompt_without_cutting_it(base_folder, shown, limit):
    config = ModelConfig(base=base_folder("llama"), max_prompt_tokens=limit)
    lm = PersonalizedLM.create(config, Individual(tokens=2), ["ann"])
    train = [vote(n) for n in range(8)]
    in_context(lm, train, [vote(10)], np.array([True]))
    text = shown[0][0]
    rendered = lm.template.prompt("Question 10?", text)
    assert not rendered.truncated and len(rendered.ids) <= limit
    assert (text or "").count("Preferred: yes") == {200: 1, 260: 2, 400: 4}[limit]


def test_in_context_without_votes_or_room_does_not_apply(lm, base_folder):
    found = in_context(lm, [vote(1, user="bob")], [vote(2)], np.array([True]))
    assert [b.scores for b in found] == [None, None] and "votes" in found[0].missing
    small = PersonalizedLM.create(
        ModelConfig(base=base_folder("llama"), max_prompt_tokens=40), Individual(tokens=1), ["ann"]
    )
    assert in_context(small, [vote(1)], [vote(2)], np.array([True]))[1].scores is None


def test_inverted_votes_change_what_the_model_says(lm):
    train = [vote(n) for n in range(2)]
    inverted = [vote(n, chosen="no", rejected="yes, it is") for n in range(2)]
    a, b = (in_context(lm, t, [vote(10)], np.array([True]))[0].scores.h[0] for t in (train, inverted))
    assert abs(a - b) > 1e-4


def test_length_counts_as_seen_whom_the_run_has_seen():
    train = [vote(n) for n in range(3)]
    asked = [vote(10), vote(11, user="bob")]
    found = length_only(train, asked, np.array([True, True])).scores
    plain = length_scores(train, asked)
    assert plain.seen.tolist() == [True, False] and found.seen.tolist() == [True, True]
    np.testing.assert_array_equal(found.h, plain.h)


def test_the_oracle_reads_the_profile_and_the_truth_is_exact(lm, shown):
    world = World(users=6, votes=2, test_pairs=3)
    asked = [*world.tests_of(world.users[0]), *world.tests_of(world.users[5]), vote(1, user="a stranger")]
    oracle, truth = planted_oracle(lm, world, asked, np.ones(7, bool))
    assert shown[0] == [world.users[0].text] * 3 + [world.users[5].text] * 3 and shown[1] == [None] * 6
    assert len(oracle.scores) == 6 and (oracle.scores.h > 0).all()
    assert (truth.scores.h > 0).all() and truth.scores.h.max() <= 2
    nobody = planted_oracle(lm, world, asked[6:], np.ones(1, bool))
    assert [b.scores for b in nobody] == [None, None] and nobody[0].missing


def test_every_baseline_has_a_meaning():
    assert all(any(name.startswith(asked) for name in MEANINGS) for asked in BASELINES)
