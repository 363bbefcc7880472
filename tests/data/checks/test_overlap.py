import random
from dataclasses import replace

import pytest

from prlhf.config import SplitConfig
from prlhf.data import Log, Split
from prlhf.data.checks import check_log, check_overlap, check_split
from prlhf.types import Comparison

SEEDS = range(20)
LONG = "a text that is long enough to be nobody's stock answer, number {}"


def vote(prompt, a, b, user="u"):
    return Comparison(prompt, LONG.format(a), LONG.format(b), user=user)


def test_counts_by_hand():
    training = [vote("p", 1, 2), vote("q", 3, 4), Comparison("r", "Yes", "No", user="w")]
    test = [
        vote("p", 2, 1),  # the pair, the other way
        vote("p", 1, 9),  # a response and the prompt
        vote("P  ", 8, 9),  # the prompt, but for white space and case
        vote("s", 3, 7),  # the words under another prompt
        vote("s", 4, 3),  # a pair of them
        Comparison("s", "no", "yes", user="w"),  # too, but stock answers
    ]
    found = check_overlap(training, test, held_out=test[-1:]).numbers
    assert found == {
        "tests": 6,
        "kept_apart": "pair",
        "pair": 1,
        "prompt": 3,
        "response": 2,
        "both_responses": 1,
        "elsewhere": 3,
        "pair_elsewhere": 1,
        "users": 1,
    }


def log_of(seed):
    """Several votes on a pair and several pairs on a prompt; nothing stands under two prompts."""
    rng = random.Random(seed)
    pairs = [(p, f"{p}.{k}", f"{p}.{k + 1}") for p in range(40) for k in range(3)]
    votes = [vote(f"prompt {p}", *rng.sample((a, b), 2), user=f"u{rng.randrange(9)}") for p, a, b in pairs * 3]
    return Log(tuple(replace(c, id=str(i)) for i, c in enumerate(votes)), "votes")


@pytest.mark.parametrize("by", ["pair", "prompt", "response"])
@pytest.mark.parametrize("seed", SEEDS)
def test_silent_on_its_own_splits(seed, by):
    found = check_log(log_of(seed), SplitConfig(by=by, seed=seed, users=0.2))[1]
    assert found.state == "nothing found", found.text
    assert found.numbers["tests"] > 20 and found.numbers["pair"] == 0
    assert (found.numbers["prompt"] > 0) == (by == "pair")


@pytest.mark.parametrize("by", ["pair", "prompt", "response"])
@pytest.mark.parametrize("seed", SEEDS)
def test_fires_on_a_random_split_of_votes(seed, by):
    log = log_of(seed)
    rows = random.Random(seed).sample(range(len(log)), len(log))
    found = check_split(log, Split(train=tuple(rows[50:]), test=tuple(rows[:50])), by)
    assert found.finding and f"tests share their {by} with training, which should be kept apart" in found.text
    assert found.numbers[by] > 40


@pytest.mark.parametrize("seed", SEEDS)
def test_fires_on_copies_that_a_split_by_content_does_not_notice(seed):
    log = log_of(seed)
    copies = tuple(replace(c, prompt=f" {c.prompt.upper()}", id=f"{c.id}b") for c in log.comparisons)
    found = check_log(replace(log, comparisons=log.comparisons + copies), SplitConfig(by="prompt", seed=seed))[1]
    assert found.finding and found.numbers["prompt"] > 0


@pytest.mark.parametrize("seed", SEEDS)
def test_fires_on_pairs_that_return_under_another_prompt(seed):
    """The wish of a user as part of the prompt: every pair is there once a user, under another prompt each time."""
    log = log_of(seed)
    told = tuple(replace(c, prompt=f"I am {c.user}. {c.prompt}") for c in log.comparisons)
    found = check_log(replace(log, comparisons=told), SplitConfig(by="prompt", seed=seed))[1]
    assert found.finding and "another prompt" in found.text and found.numbers["pair"] == 0


def test_a_held_out_user_who_was_trained_on():
    log = Log(tuple(vote(f"p{i}", i, -i - 1) for i in range(4)), "votes")
    found = check_split(log, Split(train=(0, 1), test=(2,), unseen=(3,)))
    assert found.finding and found.text.startswith("1 held-out users were trained on")


def test_without_a_test_side_held_out_users_may_judge_pairs_of_training():
    found = check_log(log_of(0), SplitConfig(test=0, users=0.2))[1]
    assert found.state == "nothing found" and found.numbers["pair"] > 0 and found.numbers["users"] == 0


def test_without_a_split_or_a_test_side():
    assert "no test side" in check_overlap([vote("p", 1, 2)], []).text
    found = check_log(Log((vote("p", 1, 2),), "one"))[1]
    assert found.state == "not applicable" and "no split" in found.text
