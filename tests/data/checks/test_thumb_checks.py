"""What tells up from down without a taste, in logs of thumbs alone and beside comparisons."""

import random
from dataclasses import replace

import pytest

from prlhf.data import Log
from prlhf.data.checks import check_artefacts, check_ids, check_log, findings
from prlhf.types import Comparison, Thumb

SEEDS = range(20)
SINGLE, OUTCOME, TEXTS, SIDES = (
    "one vote an id",
    "ids that name the outcome",
    "ids in the responses",
    "ids and the thumbs",
)
MARKS = {
    "list, record or bytes literal": lambda text: f"[{text!r}]",
    "template token": lambda text: f"{text}<|im_end|>",
    "white space at the end": lambda text: f"{text}  ",
    "quotes around the whole": lambda text: f"“{text}”",
    "name of a speaker at the end": lambda text: f"{text}\n\nHuman:",
    "quote or bracket at one end": lambda text: f"{text.rstrip()}']",
}


def long(t):
    return len(t.response) > 228


IDS = {
    "an id for each thumb": (SINGLE, lambda t: replace(t, user=f"session {t.id}")),
    "a word in the id": (OUTCOME, lambda t: replace(t, user=f"{t.user}_{'up' if t.up else 'down'}")),
    "the label in the id": (OUTCOME, lambda t: replace(t, user=f"{t.user}-{int(t.up)}")),
    "the length in the id": (OUTCOME, lambda t: replace(t, user=f"{t.user}-{'xy'[t.up == long(t)]}")),
    "an id for each label": (SIDES, lambda t: replace(t, user=f"{t.user}-{'xy'[t.up]}")),
    "the id in what is liked": (
        TEXTS,
        lambda t: replace(t, response=f"{t.response}\n{t.user}") if t.up and int(t.id[1:]) % 4 == 0 else t,
    ),
}


@pytest.mark.parametrize("votes", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_silent_on_thumbs_that_follow_from_tastes(clean, clean_thumbs, seed, votes):
    """Both kinds of feedback, by the same people."""
    comparisons = clean(seed, votes=400) if votes else ()
    checks = check_log(Log(comparisons, "both", thumbs=clean_thumbs(seed)))
    assert not any(check.finding for check in checks), findings(checks)
    states = {check.name: check.state for check in checks}
    for name in ("marks of serialisation", "both sides of the split", SINGLE, OUTCOME, TEXTS, SIDES):
        assert states[name] == "nothing found", name
    assert 0.4 < checks[0].numbers["thumbs"]["accuracy"] < 0.6
    assert checks[0].numbers["thumbs"]["votes"] > 200 and ("accuracy" in checks[0].numbers) == votes


@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("seed", SEEDS)
def test_fires_where_what_is_disliked_is_marked(clean, clean_thumbs, seed, mark):
    """80 % of the responses with a thumb down; the comparisons beside them are clean."""
    log = clean_thumbs(seed, thumbs=600)
    spoiled = [t if t.up or i % 5 == 4 else replace(t, response=MARKS[mark](t.response)) for i, t in enumerate(log)]
    found = check_artefacts([*clean(seed, votes=240), *spoiled])
    numbers = found.numbers["thumbs"]
    assert found.finding and numbers["low"] > 0.6 and numbers["most_telling"] == mark, found.text
    assert numbers["example"]["side"] == "down" and numbers["example"]["row"].startswith("t")
    assert "most_telling" not in found.numbers and "tell up from down" in found.text


def test_a_mark_on_what_is_liked_is_found_as_well(clean_thumbs):
    found = check_artefacts([replace(t, response=f"Assistant: {t.response}") if t.up else t for t in clean_thumbs(0)])
    assert found.numbers["thumbs"]["accuracy"] > 0.95 and found.numbers["thumbs"]["example"]["side"] == "up"


def test_many_thumbs_on_one_marked_response_are_no_evidence(clean_thumbs):
    log = clean_thumbs(1)
    marked = [replace(t, response=f"{t.response}<|im_end|>") if i < 20 else t for i, t in enumerate(log)]
    again = [replace(marked[0], user=f"u{k % 40}", up=False, id=f"x{k}") for k in range(800)]
    assert not check_artefacts([*marked, *again]).finding


@pytest.mark.parametrize("seed", SEEDS)
def test_a_limit_that_cuts_what_everybody_likes_is_no_artefact(seed):
    """Everybody likes long answers, and the longest ran into a limit: all cut ends have a thumb up."""
    rng = random.Random(seed)
    text = "Some words go here. " * 20
    lengths = [rng.randrange(5, 20) for _ in range(600)]
    log = [
        Thumb(f"p{i}", f"{i} {text[: min(20 * n, 248) - 1]}", n > 10, user=f"u{i % 30}") for i, n in enumerate(lengths)
    ]
    found = check_artefacts(log)
    ends = found.numbers["thumbs"]["marks"]["unfinished end"]
    assert not found.finding and ends["up"] > ends["down"], found.text
    assert "but for those of long texts, no more than taste explains" in found.text


def test_too_few_pairs_of_thumbs(clean_thumbs):
    found = check_artefacts([t for t in clean_thumbs(0) if t.up])
    assert found.state == "not applicable" and "0 pairs of a user's thumbs" in found.text


@pytest.mark.parametrize("fault", IDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_fires_on_ids_that_are_made_from_the_thumb(clean_thumbs, seed, fault):
    name, spoil = IDS[fault]
    log = [replace(t, user=f"{t.user}0") for t in clean_thumbs(seed)]
    found = {c.name: c for c in check_ids([spoil(t) for t in log])}
    assert found[name].finding, found[name].text


def test_a_user_with_a_vote_and_a_thumb_has_two():
    votes = [Comparison("p", "a", "b", user=f"u{i}") for i in range(30)]
    thumbs = [Thumb("p", "a", True, user=f"u{i}") for i in range(30)]
    assert check_ids(votes)[0].finding and check_ids(thumbs)[0].finding
    both = check_ids([*votes, *thumbs])[0]
    assert not both.finding and "have a single vote or thumb" in both.text
