import random
from dataclasses import replace

import pytest

from prlhf.config import SplitConfig
from prlhf.data import Log, Split, split
from prlhf.data.checks import check_log, check_overlap, check_split
from prlhf.types import Comparison, Thumb

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
        "own_pair": 1,
        "other_form": 0,
        "prompt": 3,
        "response": 2,
        "both_responses": 1,
        "elsewhere": 3,
        "pair_elsewhere": 1,
        "users": 1,
        "alone_elsewhere": 0.0,
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
    found = check_split(log, Split(train=tuple(rows[50:]), test=tuple(rows[:50])), by)[0]
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
    found = check_split(log, Split(train=(0, 1), test=(2,), unseen=(3,)))[0]
    assert found.finding and found.text.startswith("1 held-out users were trained on")


def test_without_a_test_side_held_out_users_may_judge_pairs_of_training():
    found = check_log(log_of(0), SplitConfig(test=0, users=0.2))[1]
    assert found.state == "nothing found" and found.numbers["pair"] > 0 and found.numbers["users"] == 0


def test_without_a_split_or_a_test_side():
    assert "no test side" in check_overlap([vote("p", 1, 2)], []).text
    found = check_log(Log((vote("p", 1, 2),), "one"))[1]
    assert found.state == "not applicable" and "no split" in found.text


def thumb(prompt, a, user="u", up=True):
    return Thumb(prompt, LONG.format(a), up, user=user)


def test_thumbs_and_pairs_by_hand():
    training = [thumb("p", 1), thumb("p", 2, up=False), thumb("q", 3, user="v"), vote("q", 4, 5, user="v")]
    test = [
        vote("p", 2, 1),  # both judged alone, by the same user
        vote("q", 3, 4),  # one alone and one in a pair, which says nothing of this one
        vote("s", 1, 2),  # under another prompt
        thumb("q", 4),  # judged in a pair, by somebody else
        thumb("Q", 3, user="v"),  # judged alone, by the same
        thumb("s", 5),  # the words
    ]
    found = check_overlap(training, test).numbers
    assert found == {
        "tests": 6,
        "kept_apart": "pair",
        "pair": 3,
        "own_pair": 2,
        "other_form": 2,
        "prompt": 4,
        "response": 4,
        "both_responses": 2,
        "elsewhere": 2,
        "pair_elsewhere": 1,
        "users": 0,
        "alone_elsewhere": 1 / 3,
    }


def judged(seed, votes=True):
    """`log_of`, with its thumbs: other responses to the same prompts, several thumbs on each."""
    rng = random.Random(seed)
    places = [(p, k) for p in range(40) for k in range(4)] * 3
    thumbs = [thumb(f"prompt {p}", f"{p}:{k}", f"u{rng.randrange(9)}", rng.random() < 0.5) for p, k in places]
    log = Log(tuple(log_of(seed).comparisons) if votes else (), "both")
    return replace(log, thumbs=tuple(replace(t, id=f"t{i}") for i, t in enumerate(thumbs)))


@pytest.mark.parametrize("by", ["pair", "prompt", "response"])
@pytest.mark.parametrize("votes", [True, False])
@pytest.mark.parametrize("seed", SEEDS)
def test_silent_on_splits_of_thumbs(seed, votes, by):
    found = check_log(judged(seed, votes), SplitConfig(by=by, seed=seed, users=0.2))[1]
    assert found.state == "nothing found" and found.numbers["tests"] > 30, found.text
    assert ("comparisons and thumbs" in found.text) == votes


@pytest.mark.parametrize("votes", [True, False])
@pytest.mark.parametrize("seed", SEEDS)
def test_fires_on_a_random_split_of_thumbs(seed, votes):
    log = judged(seed, votes)
    rows = random.Random(seed).sample(range(len(log)), len(log))
    found = check_split(log, Split(train=tuple(rows[50:]), test=tuple(rows[:50])))[0]
    assert found.finding and found.numbers["pair"] > 35
    assert f"tests share their {'pair' if votes else 'response'} with training" in found.text


@pytest.mark.parametrize("seed", SEEDS)
def test_fires_on_thumbs_on_the_responses_of_a_comparison(seed):
    """Both responses of each vote judged alone, too, all of it in training; our own splits keep them together."""
    log = log_of(seed)
    alone = tuple(
        Thumb(c.prompt, t, t == c.chosen, c.user, id=f"{c.id}{t}") for c in log.comparisons for t in c.responses
    )
    log = replace(log, thumbs=alone)
    sides = split(replace(log, thumbs=()), SplitConfig(by="pair", seed=seed))
    thumbs = range(len(log.comparisons), len(log.items))
    found = check_split(log, replace(sides, train=(*sides.train, *thumbs)))[0]
    assert found.finding and "data.split.by=response" in found.text, found.text
    assert found.numbers["other_form"] == len(sides.test) and found.numbers["own_pair"] > 20
    for by in ("pair", "response"):
        assert check_log(log, SplitConfig(by=by, seed=seed))[1].state == "nothing found"


@pytest.mark.parametrize("seed", SEEDS)
def test_fires_on_thumbs_that_return_under_another_prompt(seed):
    log = judged(seed, votes=False)
    told = tuple(replace(t, prompt=f"I am {t.user}. {t.prompt}") for t in log.thumbs)
    found = check_log(replace(log, thumbs=told), SplitConfig(by="prompt", seed=seed))[1]
    assert found.finding and "under another prompt" in found.text and found.numbers["pair"] == 0


def test_one_refusal_to_many_prompts_is_no_finding():
    def items(start, count):
        return [Thumb(f"p{i}", LONG.format("no" if i % 2 else i), i % 2 == 0, user="u") for i in range(start, count)]

    found = check_overlap(items(0, 100), items(100, 140))
    assert found.numbers["elsewhere"] == 20 and found.numbers["alone_elsewhere"] == 1 / 21 and not found.finding


def test_what_the_same_user_has_judged_is_a_finding_whatever_is_promised():
    found = check_overlap([vote("p", 1, 2)], [vote("p", 2, 1)], None)
    assert found.finding and found.text.startswith("In 1 tests the same user has judged the same in training")
    assert not check_overlap([vote("p", 1, 2, user="v")], [vote("p", 2, 1)], None).finding
