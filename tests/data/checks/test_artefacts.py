import random
from dataclasses import replace

import pytest

from prlhf.data import load_comparisons
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
        ("['One answer.', \"it's two\"]", {"list, record or bytes literal", "brackets around the whole"}),
        ("{'role': 'assistant'}", {"list, record or bytes literal", "brackets around the whole"}),
        ("Fine.<|im_end|>", {"template token"}),
        ("[INST] Fine. [/INST]", {"template token"}),
        ("**Assistant:** Fine.", {"name of a speaker at the start"}),
        ('"All of it \\"quoted\\"."', {"quotes around the whole", "escape or entity"}),
        ('"One," he said, "two."', set()),
        ("[a link](of markdown)", set()),
        (" Fine.\n", {"white space at the start", "white space at the end"}),
        ("It goes on...", {"mark of truncation"}),
        ("It goes on [truncated]", {"mark of truncation"}),
        ("One sentence. And half of ano", {"unfinished end"}),
        ("One sentence. Three:\n- a\n- b", set()),
        ("no full stop at all", set()),
        ("b'An answer.'", {"list, record or bytes literal", "quote or bracket at one end"}),
        ("<assistant>An answer.", {"template token"}),
        ("[gMASK] An answer.", {"template token"}),
        ("\ufeffAn answer.", {"invisible character"}),
        ("An\u200b answer.", {"invisible character"}),
        ("An answer.\\nAnd more.", {"escape or entity"}),
        ("An answer,\\nor two.", {"escape or entity"}),
        ("He said &quot;no&quot;.", {"escape or entity"}),
        ("It&#39;s one.", {"escape or entity"}),
        ("It\\u2019s one.", {"escape or entity"}),
        ("An answer.\n\nHuman:", {"name of a speaker at the end"}),
        ("An answer.\n\n### Assistant:", {"name of a speaker at the end"}),
        ('"An answer.', {"quote or bracket at one end"}),
        ('An answer."', {"quote or bracket at one end"}),
        ("'An answer.", {"quote or bracket at one end"}),
        ("It's an answer.'", {"quote or bracket at one end"}),
        ("An answer.”", {"quote or bracket at one end"}),
        ("An answer.']", {"quote or bracket at one end"}),
        ("[An answer.", {"quote or bracket at one end"}),
        ("An  answer.", {"white space inside"}),
        ("An answer. \nAnd more.", {"white space inside"}),
        ("An answer.\r\nAnd more.", {"white space inside"}),
    ],
)
def test_marks_by_hand(text, expected):
    assert named(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "She called it 'good', the dogs' bowl.",
        "'Tis the boys' turn.",
        "These are the boys'",
        "‘It’s fine,’ she said.",
        "He is 6'2\"",
        "Take b)",
        "Thank you :)",
        "(Mostly) fine (at least here)",
        'He said "no". She did not say "yes"',
        '"One begins, and then. And half of ano" she said.',
        "A line of a poem,  \nand the next.",
        "1.  one\n2.  two\n-   three",
        "| a   | b |\n|-----|---|\n| c   | d |",
        'Write:\n```\nx = 1  # one\nprint("a\\n", "&amp;", "<user>")\n```',
        "Write `\\n` or `&lt;` or `<user>`.",
        "Where $\\nu \\neq \\nabla$, $\\theta \\to \\rho$ and $\\notin$.",
        "AT&T and R&D; <b>bold</b> [NAME] [1]",
        "Family: 👩\u200d👧 and \u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645.",
        "A user: somebody who asks.",
        "The assistant said this:\nYes.",
    ],
)
def test_what_people_write_is_no_mark(text):
    assert named(text) == set()


@pytest.mark.parametrize("seed", SEEDS)
def test_silent_on_tastes_in_length_and_formatting(clean, seed):
    found = check_artefacts(clean(seed, votes=400))
    assert found.state == "nothing found", found.text
    assert 0.4 < found.numbers["accuracy"] < 0.6


FAULTS = {
    "list, record or bytes literal": lambda text: f"[{text!r}]",
    "template token": lambda text: f"{text}<|im_end|>",
    "white space at the end": lambda text: f"{text}  ",
    "quotes around the whole": lambda text: f"“{text}”",
    "mark of truncation": lambda text: f"{text[:200]}...",
}
MORE_FAULTS = [  # what one of several forms of a mark is planted by
    ("list, record or bytes literal", lambda text: f"b'{text}'"),
    ("template token", lambda text: f"<assistant>{text}"),
    ("template token", lambda text: f"[gMASK]{text}"),
    ("invisible character", lambda text: f"\ufeff{text}"),
    ("invisible character", lambda text: text.replace(" ", " \u200b", 1)),
    ("escape or entity", lambda text: text.replace(". ", ".\\n").rstrip() + "\\n"),
    ("escape or entity", lambda text: text.replace(" ", "&quot;", 1)),
    ("name of a speaker at the end", lambda text: f"{text}\n\nHuman:"),
    ("quote or bracket at one end", lambda text: '"' + text.replace('"', "")),
    ("quote or bracket at one end", lambda text: text.replace('"', "").rstrip() + '"'),
    ("quote or bracket at one end", lambda text: f"{text.rstrip()}']"),
    ("white space inside", lambda text: text.replace(" ", "  ", 3)),
    ("white space inside", lambda text: text.rstrip().replace(" ", " \n", 1)),
]


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


@pytest.mark.parametrize(("mark", "fault"), MORE_FAULTS)
def test_fires_on_every_form_of_a_mark(clean, mark, fault):
    for seed in SEEDS:
        log = clean(seed, votes=120)
        found = check_artefacts([replace(c, rejected=fault(c.rejected)) if i % 5 < 4 else c for i, c in enumerate(log)])
        assert found.finding and found.numbers["low"] > 0.6, found.text
        assert found.numbers["most_telling"] == mark and found.numbers["example"]["side"] == "rejected", found.text


@pytest.mark.parametrize("source", ["polis", "convarg", "planted"])
def test_silent_on_data_of_the_package(source):
    """People's arguments and statements have doubled spaces, and long ones have more."""
    found = check_artefacts(load_comparisons(source).items)
    assert found.state == "nothing found", found.text


def spaced(i, words):
    """Every word has the same small chance of two spaces after it."""
    rng = random.Random(i)
    return f"{i} " + "".join(f"word{'  ' if rng.random() < 0.02 else ' '}" for _ in range(words)) + "end."


@pytest.mark.parametrize("seed", SEEDS)
def test_marks_that_long_texts_have_more_often_are_no_artefact_of_taste(seed):
    """Everybody takes the longer text, so that the chosen have two spaces somewhere more often."""
    rng = random.Random(seed)
    pairs = [sorted((rng.randrange(5, 60), rng.randrange(5, 60))) for _ in range(500)]
    log = [Comparison(f"p{i}", spaced(2 * i, b), spaced(2 * i + 1, a), user="u") for i, (a, b) in enumerate(pairs)]
    found = check_artefacts(log)
    share = found.numbers["marks"]["white space inside"]
    assert found.state == "nothing found" and share["chosen"] > share["rejected"] + 0.1, found.text


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
