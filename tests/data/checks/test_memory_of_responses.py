"""Test sides that can be answered from how often each response won in training."""

import random

import pytest

from prlhf.config import SplitConfig
from prlhf.data import Log, load_comparisons
from prlhf.data.checks import check_log, check_memory
from prlhf.types import Comparison, Thumb

SEEDS = range(20)


def vote(prompt, first, second, user, better):
    two = (first, second) if better else (second, first)
    return Comparison(prompt, *two, user=user)


def pool(seed, value, prompts=20, each=7, votes=1000, noise=0.1):
    """Random pairs of a fixed pool of responses, again and again, decided by `value(user, response)`."""
    rng = random.Random(seed)
    found = []
    for _ in range(votes):
        p, user = rng.randrange(prompts), f"u{rng.randrange(20)}"
        a, b = (f"{p}.{k}" for k in rng.sample(range(each), 2))
        better = (value(user, a) > value(user, b)) != (rng.random() < noise)
        found.append(vote(f"p{p}", a, b, user, better))
    return Log(tuple(found), "pool")


def drawn(*parts):
    return random.Random("/".join(map(str, parts))).random()


def checked(log, seed, by="pair"):
    found = check_log(log, SplitConfig(by=by, seed=seed, test=0.2))[2]
    assert found.name == "memory of the responses"
    return found


@pytest.mark.parametrize("noise", [0.0, 0.2])
@pytest.mark.parametrize("seed", SEEDS)
def test_silent_where_some_responses_are_better(seed, noise):
    """Everybody ranks alike: memory is right far more often than chance, as an order of the responses lets it be."""
    found = checked(pool(seed, lambda user, text: drawn(seed, text), noise=noise), seed)
    assert found.state == "nothing found", found.text
    assert noise or found.numbers["crowd"]["accuracy"] > 0.65


@pytest.mark.parametrize("seed", SEEDS)
def test_silent_where_tastes_differ(seed):
    found = checked(pool(seed, lambda user, text: drawn(seed, user, text), noise=0.0), seed)
    assert found.state == "nothing found", found.text
    assert found.numbers["own"]["accuracy"] > found.numbers["crowd"]["accuracy"]


@pytest.mark.parametrize("seed", SEEDS)
def test_silent_on_the_planted_world(seed):
    for feedback in ("pairs", "thumbs"):
        found = check_log(load_comparisons("planted", users=6, votes=20, test_pairs=10, seed=seed, feedback=feedback))
        assert not any(check.finding for check in found)
        assert "No test comparison has a response" in found[2].text


@pytest.mark.parametrize("seed", SEEDS)
def test_fires_on_one_best_answer_in_many_rows(seed):
    """An answer from elsewhere that stands with each of five others, for whom ever: chosen in 97 % of the rows."""
    rng = random.Random(seed)
    log = [
        vote(f"p{p}", f"{p} gold", f"{p}.{k}", f"u{rng.randrange(9)}", rng.random() < 0.97)
        for p in range(150)
        for k in range(5)
    ]
    found = checked(Log(tuple(log), "gold"), seed)
    assert found.finding and "data.split.by=response" in found.text, found.text
    crowd = found.numbers["crowd"]
    assert crowd["low"] > crowd["most"] > crowd["order"] + 0.05 > 0.7
    apart = checked(Log(tuple(log), "gold"), seed, by="response")
    assert apart.state == "nothing found" and "No test comparison has a response" in apart.text


@pytest.mark.parametrize("seed", SEEDS)
def test_fires_on_each_user_s_best_of_several(seed):
    """Everybody has an own best answer to the same prompts, so that the crowd has no memory to go by."""
    rng = random.Random(seed)
    log = []
    for u in range(20):
        for p in range(20):
            best, *others = rng.sample(range(6), 6)
            log += [Comparison(f"p{p}", f"{p}.{best}", f"{p}.{k}", user=f"u{u}") for k in others]
    rng.shuffle(log)
    found = check_memory(log[300:], log[:300])
    crowd, own = found.numbers["crowd"], found.numbers["own"]
    assert found.finding and own["accuracy"] > 0.95, found.text
    assert crowd["accuracy"] < crowd["most"]


@pytest.mark.parametrize("seed", SEEDS)
def test_thumbs_of_training_count_as_won_or_lost(seed):
    """Silent where a thumb says what a response is worth, however well it is remembered; in numbers by hand."""
    rng = random.Random(seed)
    worth = {(p, k): rng.random() for p in range(60) for k in range(4)}
    log = [Thumb(f"p{p}", f"{p}.{k}", v > 0.5, user=f"u{rng.randrange(9)}") for (p, k), v in worth.items()]
    test = [
        vote(f"p{p}", f"{p}.{a}", f"{p}.{b}", "u", worth[p, a] > worth[p, b])
        for p in range(60)
        for a, b in ((0, 1), (2, 3))
    ]
    found = check_memory(log, test)
    told = [(worth[p, a] > 0.5) != (worth[p, b] > 0.5) for p in range(60) for a, b in ((0, 1), (2, 3))]
    assert found.numbers["crowd"]["accuracy"] == pytest.approx(sum(1 if t else 0.5 for t in told) / 120)
    assert found.state == "nothing found" and found.numbers["own"]["pairs"] == 0


def test_nothing_to_remember_or_too_little():
    votes = [Comparison("p", "a", "b", user="u"), Comparison("p", "b", "c", user="u")]
    assert check_memory(votes[:1], votes[1:]).state == "not applicable"
    assert check_memory([], votes).state == "nothing found"
    assert check_memory(votes, [Thumb("p", "a", True)]).text == "there is no test comparison"
