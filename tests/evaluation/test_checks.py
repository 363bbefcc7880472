import re

import numpy as np
import pytest

from prlhf.config import Individual, ModelConfig
from prlhf.data.planted import World, read_levels
from prlhf.evaluation import Scores, summarise
from prlhf.evaluation.baselines import in_context
from prlhf.evaluation.check_run import check_baseline
from prlhf.evaluation.checks import check_context, check_permuted
from prlhf.evaluation.rows import Rows
from prlhf.lm import PersonalizedLM
from prlhf.types import Comparison

SEEDS = range(20)


def scores(h, permuted=None, users=20):
    votes = [Comparison("p", "a", "b", user=f"u{i % users}", id=str(i)) for i in range(len(h))]
    return Scores.of(votes, seen=np.ones(len(h), bool), h_specific=h, h_generic=np.zeros(len(h)), h_permuted=permuted)


@pytest.mark.parametrize("seed", SEEDS)
def test_permuted_users(seed):
    """Rows that hold a taste do worse when exchanged; rows that hold none, or all the same, do not."""
    rng = np.random.default_rng(seed)
    own, other = rng.normal(0.8, 1, 400), rng.normal(0.3, 1, 400)
    found = check_permuted(summarise(scores(own, other), 0.1, 200, seed))
    assert found.state == "nothing found" and found.numbers["drop"]["low"] > 0
    same = check_permuted(summarise(scores(own, own + rng.normal(0, 1e-6, 400)), 0.1, 200, seed))
    assert same.finding and "not used" in same.text
    worse = check_permuted(summarise(scores(other, own), 0.1, 0))  # without intervals by the value itself
    assert worse.finding and "[" not in worse.text


def test_too_few_comparisons_are_no_finding():
    own, other = np.array([1.0, 1, 1, 1, -1, -1]), np.array([-1.0, -1, 1, 1, 1, -1])
    found = check_permuted(summarise(scores(own, other, users=6), 0.1, 200, 0))
    assert found.numbers["drop"]["low"] <= 0 < 0.1 < found.numbers["drop"]["high"]
    assert not found.finding and "Too few" in found.text


FEW = [(2, 2), (10, 2), (10, 5), (20, 5), (40, 6)]
"""Comparisons, users."""


@pytest.mark.parametrize(("count", "users"), FEW)
def test_a_baseline_that_reads_the_votes_is_no_finding_on_few_comparisons(count, users):
    """The interval often reaches 0, since little was measured, and then it is said."""
    few = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        taste, texts = rng.normal(0.7, 1, count), rng.normal(0.5, 1, count)
        told, flipped = scores(texts + taste, users=users), scores(texts - taste, users=users)
        found = check_context(told, flipped, bootstrap=100, seed=seed)
        assert not found.finding, (seed, found.text)
        few += "Too few comparisons to tell" in found.text
        own, other = scores(texts + taste, texts - taste, users), scores(texts, texts, users)
        assert not check_permuted(summarise(own, 0.1, 100, seed)).finding, seed
        assert check_context(other, other, bootstrap=100, seed=seed).finding == (count >= 20), seed
    assert few > 0


def test_nobody_to_exchange_with():
    found = check_permuted(summarise(scores(np.ones(5), users=1), 0.1, 10))
    assert found.state == "not applicable"


@pytest.mark.parametrize("seed", SEEDS)
def test_flipped_votes(seed):
    """A baseline that reads the labels turns with them; one that reads the texts only stays."""
    rng = np.random.default_rng(seed)
    taste, texts = rng.normal(0.7, 1, 300), rng.normal(0.5, 1, 300)
    found = check_context(scores(taste + texts), scores(texts - taste), bootstrap=200, seed=seed)
    assert found.state == "nothing found" and found.numbers["answers_changed"] > 0.3
    blind = check_context(scores(texts), scores(texts * 1.01), bootstrap=200, seed=seed)
    assert blind.finding and blind.numbers["answers_changed"] == 0.0 and "No sign" in blind.text


def test_comparisons_without_votes_in_the_prompt_are_left_out():
    h = np.array([1.0, -1.0, 0.0, 0.0])
    found = check_context(scores(h), scores(-h), bootstrap=0)
    assert found.numbers["comparisons"] == 2
    some = scores(-h).select([0])
    assert check_context(scores(h), some, bootstrap=0).numbers["comparisons"] == 1
    assert check_context(scores(h * 0), scores(h * 0)).state == "not applicable"


def taste(text, reads):
    """Mean levels of the preferred answers in a prompt minus the others'; or of all that it has, whoever chose what."""
    told = re.findall(r"^(Preferred|Not preferred): (.*)$", text or "", re.MULTILINE)
    signs = [-1 if reads and word != "Preferred" else 1 for word, _ in told]
    return sum((s * np.subtract(read_levels(a), 2) for s, (_, a) in zip(signs, told, strict=True)), np.zeros(3))


@pytest.mark.parametrize("reads", [True, False])
def test_a_baseline_from_the_votes_in_the_prompt_to_the_finding(monkeypatch, reads):
    """Planted votes told and told the other way; in place of the language model stands who likes what was preferred."""
    world = World(users=10, votes=8, test_pairs=5, noise=0.0)
    log = world.log()
    train, tests = ([log.comparisons[i] for i in side] for side in (log.fixed_split.train, log.fixed_split.test))
    config = ModelConfig(base="planted", max_prompt_tokens=450)
    lm = PersonalizedLM.create(config, Individual(tokens=1), [user.id for user in world.users])

    def margins(lm, comparisons, texts, **how):
        apart = [np.subtract(read_levels(c.chosen), read_levels(c.rejected)) for c in comparisons]
        return np.array([taste(text, reads) @ levels for text, levels in zip(texts, apart, strict=True)])

    monkeypatch.setattr("prlhf.evaluation.baselines.reference_margins", margins)
    rows = Rows(log, "test", tuple(tests), own=True, config=None, training=tuple(train))
    found = check_baseline(lm, rows, in_context(lm, train, tests, np.ones(len(tests), bool)), bootstrap=200)
    assert found.state == ("nothing found" if reads else "finding"), found.text
    assert found.numbers["drop"]["low"] > 0.2 if reads else found.numbers["answers_changed"] == 0, found.text
    assert found.numbers["comparisons"] >= 45
