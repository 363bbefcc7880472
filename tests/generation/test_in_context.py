"""Past votes before the question, within a budget."""

from datetime import UTC, datetime

import pytest

from prlhf.generation import in_context_prompt, past_votes, votes_text
from prlhf.types import Comparison, Message

VOTES = [Comparison(f"q{i}", f"good {i}", f"bad {i}", "ann") for i in range(4)]
WHOLE = """Answers that this person has compared:

Question: q2
Preferred: good 2
Not preferred: bad 2

Question: q3
Preferred: good 3
Not preferred: bad 3

Answer the next question as this person would prefer it.

what now?"""


def words(text: str) -> int:
    return len(text.split())


def test_the_format():
    assert in_context_prompt("what now?", VOTES[2:], 1000) == WHOLE


def test_the_oldest_votes_are_dropped_first():
    assert in_context_prompt("what now?", VOTES, words(WHOLE)) == WHOLE
    shorter = in_context_prompt("what now?", VOTES, words(WHOLE) - 1)
    assert "q3" in shorter and "q2" not in shorter
    assert in_context_prompt("what now?", VOTES, 10) == "what now?"
    assert in_context_prompt("what now?", [], 1000) == "what now?"
    assert in_context_prompt("what now?", VOTES, len(WHOLE), count=len) == WHOLE


@pytest.mark.parametrize("limit", range(0, 120, 7))
def test_the_budget_is_kept(limit):
    text = votes_text(VOTES, limit)
    assert text is None or words(text) <= limit


def test_conversations():
    asked = (Message("user", "a"), Message("assistant", "b"), Message("user", "c"))
    found = in_context_prompt(asked, VOTES[:1], 1000)
    assert found[0].role == "system" and "Preferred: good 0" in found[0].content and found[1:] == asked
    system = in_context_prompt((Message("system", "be kind"), *asked), VOTES[:1], 1000)
    assert system[0].content.startswith("be kind\n\nAnswers that") and system[1:] == asked


def test_whose_votes_and_which():
    at = [datetime(2025, 1, day, tzinfo=UTC) for day in (3, 1, 2)]
    dated = [Comparison(f"d{t.day}", "x", "y", "ann", timestamp=t) for t in at]
    others = [
        Comparison("o", "x", "y", "bob"),
        Comparison("t", "x", "y", "ann", tie=True),
        Comparison("e", "x", "x", "ann"),
        Comparison("n", "x", "y"),
    ]
    assert [c.prompt for c in past_votes([*others, *dated], "ann")] == ["d1", "d2", "d3"]
    assert [c.prompt for c in past_votes([*others, *dated], "ann", 2)] == ["d2", "d3"]
    assert past_votes(VOTES, "ann") == VOTES
    assert past_votes(VOTES, "ann", 0) == past_votes(others, None) == []
