import random
from dataclasses import replace

import pytest

from prlhf.data.checks import check_artefacts
from prlhf.data.checks.artefacts import MARKS, marks
from prlhf.types import Comparison

SEEDS = range(20)


def named(text):
    return {name for name, has in zip(MARKS, marks(text), strict=True) if has}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A plain answer.", set()),
        ("", set()),
        ("['One answer.', \"it's two\"]", {"list or record literal", "brackets around the whole"}),
        ("{'role': 'assistant'}", {"list or record literal", "brackets around the whole"}),
        ("Fine.<|im_end|>", {"template token"}),
        ("[INST] Fine. [/INST]", {"template token"}),
        ("**Assistant:** Fine.", {"name of a speaker at the start"}),
        ('"All of it \\"quoted\\"."', {"quotes around the whole"}),
        ('"One," he said, "two."', set()),
        ("[a link](of markdown)", set()),
        (" Fine.\n", {"white space at the start", "white space at the end"}),
        ("It goes on...", {"mark of truncation"}),
        ("It goes on [truncated]", {"mark of truncation"}),
        ("One sentence. And half of ano", {"unfinished end"}),
        ("One sentence. Three:\n- a\n- b", set()),
        ("no full stop at all", set()),
    ],
)
def test_marks_by_hand(text, expected):
    assert named(text) == expected


@pytest.mark.parametrize("seed", SEEDS)
def test_silent_on_tastes_in_length_and_formatting(clean, seed):
    found = check_artefacts(clean(seed, votes=400))
    assert found.state == "nothing found", found.text
    assert 0.4 < found.numbers["accuracy"] < 0.6


FAULTS = {
    "list or record literal": lambda text: f"[{text!r}]",
    "template token": lambda text: f"{text}<|im_end|>",
    "white space at the end": lambda text: f"{text}  ",
    "quotes around the whole": lambda text: f"“{text}”",
    "mark of truncation": lambda text: f"{text[:200]}...",
}


@pytest.mark.parametrize("mark", FAULTS)
@pytest.mark.parametrize("seed", SEEDS)
def test_fires_where_one_side_is_marked(clean, seed, mark):
    """80 % of the rejected responses are marked, whoever votes for whatever."""
    log = clean(seed, votes=240)
    spoiled = [replace(c, rejected=FAULTS[mark](c.rejected)) if i % 5 < 4 else c for i, c in enumerate(log)]
    found = check_artefacts(spoiled)
    assert found.finding and found.numbers["low"] > 0.6
    assert found.numbers["most_telling"] == mark, found.text
    assert found.numbers["example"]["side"] == "rejected" and mark in found.text


def test_a_mark_on_the_chosen_is_found_as_well(clean):
    log = [replace(c, chosen=f"Assistant: {c.chosen}") for c in clean(0, votes=200)]
    found = check_artefacts(log)
    assert found.numbers["accuracy"] == 1.0 and found.numbers["example"]["side"] == "chosen"
    assert found.numbers["example"]["row"] == "0" and "Assistant" in found.numbers["example"]["text"]


def test_many_votes_on_one_marked_pair_are_no_evidence(clean):
    log = clean(1, votes=60)
    again = [replace(log[0], rejected=f"{log[0].rejected}<|im_end|>")] * 500
    assert not check_artefacts([*log, *again]).finding


def cut(i, length, limit=250):
    """A text of `length` characters that ends its last sentence, or runs into the limit."""
    text = f"{i} " + "Some words go here. " * 30
    return text[:limit] if length > limit else f"{text[:length].rsplit('.', 1)[0]}."


@pytest.mark.parametrize("seed", SEEDS)
def test_a_limit_that_cuts_what_everybody_likes_is_no_artefact(seed):
    """Everybody takes the longer text, and half of the texts run into a limit: cut ends follow from the taste."""
    rng = random.Random(seed)
    pairs = [sorted((rng.randrange(100, 400), rng.randrange(100, 400))) for _ in range(500)]
    log = [Comparison(f"p{i}", cut(2 * i, b), cut(2 * i + 1, a), user="u") for i, (a, b) in enumerate(pairs)]
    found = check_artefacts(log)
    ends = found.numbers["marks"]["unfinished end"]
    assert found.state == "nothing found" and ends["chosen"] > ends["rejected"] + 0.3, found.text


def test_a_limit_on_one_side_only_is_one():
    log = [Comparison(f"p{i}", cut(2 * i, 240), cut(2 * i + 1, 300), user="u") for i in range(200)]
    found = check_artefacts(log)
    assert found.finding and found.numbers["most_telling"] == "unfinished end"


def test_too_few_pairs():
    found = check_artefacts([Comparison("p", "a", "b")] * 50)
    assert found.state == "not applicable" and "1 pairs" in found.text
