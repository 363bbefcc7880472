"""The checks in the report of a run that was trained on thumbs, or on thumbs beside comparisons."""

import random
from dataclasses import replace

import pytest

from prlhf.data import Log, load_comparisons
from prlhf.evaluation.check_run import check_rows
from prlhf.evaluation.rows import Rows
from prlhf.types import Thumb

SEEDS = range(20)
MARKS, SIDES, MEMORY = "marks of serialisation", "both sides of the split", "memory of the responses"


def rows_of(log, training, items):
    return Rows(log, "test", tuple(items), own=True, config=None, training=training)


def planted(seed):
    return load_comparisons("planted", users=8, votes=30, test_pairs=10, seed=seed, feedback="thumbs")


def checked(*given):
    return {check.name: check for check in check_rows(rows_of(*given))}


def named(found):
    return {name for name, check in found.items() if check.finding}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_run_on_thumbs_that_is_measured_on_comparisons(seed):
    log = planted(seed)
    found = checked(log, log.thumbs, log.comparisons)
    assert not named(found), found
    assert found[MARKS].state == found[SIDES].state == found["ids and the thumbs"].state == "nothing found"
    held = rows_of(log, log.thumbs, log.comparisons).votes
    assert held[0] is None and "on thumbs" in held[1]  # no baseline, but the checks know what was trained on


@pytest.mark.parametrize("seed", SEEDS)
def test_training_thumbs_on_both_responses_of_a_test(seed):
    """A fifth of the tests were judged in training as well, one response at a time and by the same user."""
    log = planted(seed)
    told = [Thumb(c.prompt, t, t == c.chosen, c.user) for c in log.comparisons[::5] for t in c.responses]
    found = checked(log, (*log.thumbs, *told), log.comparisons)
    assert named(found) == {SIDES} and found[SIDES].numbers["own_pair"] == 16
    assert "16 tests share their pair with training" in found[SIDES].text


@pytest.mark.parametrize("seed", SEEDS)
def test_a_run_on_thumbs_that_is_measured_on_thumbs(seed):
    """Clean; then responses of the test side that were trained on, and marks on what is disliked."""
    thumbs = random.Random(seed).sample(planted(seed).thumbs, 480)
    log = Log((), "thumbs", thumbs=tuple(thumbs))
    clean = checked(log, log.thumbs[:400], log.thumbs[400:])
    assert not named(clean) and clean[SIDES].text.startswith("Of 80 test thumbs training has: the prompt")
    assert clean[MEMORY].state == "not applicable"
    assert named(checked(log, log.thumbs[:420], log.thumbs[400:])) == {SIDES}
    marked = tuple(t if t.up else replace(t, response=f"{t.response}</s>") for t in log.thumbs)
    assert named(checked(Log((), "thumbs", thumbs=marked), marked[:400], marked[400:])) == {MARKS}


def test_training_that_cannot_be_read():
    log = planted(0)
    rows = replace(rows_of(log, None, log.comparisons), why="its data are gone")
    found = {check.name: check for check in check_rows(rows)}
    assert {found[name].text for name in (SIDES, MEMORY)} == {"its data are gone"}
