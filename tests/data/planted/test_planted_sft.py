from collections import Counter

import numpy as np
import pytest

from prlhf.data.planted import PlantedUser, World, is_answer, questions, read_levels, sft_rows, utility
from prlhf.errors import ConfigError

ROWS = list(sft_rows(4000))
PLAIN = [r for r in ROWS if "\n\n" not in r["prompt"]]
TOLD = [r for r in ROWS if "\n\n" in r["prompt"]]


def test_half_of_the_rows_have_a_profile():
    assert len(TOLD) / len(ROWS) == pytest.approx(0.5, abs=0.03)
    assert len(list(sft_rows(50, profiles=0.0))) == 50
    assert all(r["prompt"].startswith("I ") for r in sft_rows(50, profiles=1.0))


def test_rows_are_deterministic():
    assert list(sft_rows(20)) == ROWS[:20]
    assert list(sft_rows(20, seed=1)) != ROWS[:20]


def test_every_completion_is_an_answer_to_a_known_question():
    known = {q.text for q in questions()}
    for row in ROWS:
        assert row["prompt"].split("\n\n")[-1] in known
        assert is_answer(row["completion"])


@pytest.mark.parametrize("axis", range(3))
def test_plain_answers_have_uniform_levels(axis):
    counts = Counter(read_levels(r["completion"])[axis] for r in PLAIN)
    assert [counts[level] / len(PLAIN) for level in range(5)] == pytest.approx([0.2] * 5, abs=0.03)


@pytest.mark.parametrize("pole", [-100, 100])
@pytest.mark.parametrize("axis", range(3))
def test_answers_to_a_profile_follow_it(axis, pole):
    percents = [0, 0, 0]
    percents[axis] = pole
    user = PlantedUser("u", tuple(percents))
    told = [r["completion"] for r in TOLD if r["prompt"].startswith(user.text)]
    assert len(told) > 80
    plain = [r["completion"] for r in PLAIN[: len(told)]]
    gains = [utility(user, a) - utility(user, b) for a, b in zip(told, plain, strict=True)]
    assert sum(0.5 + 0.5 * np.sign(g) for g in gains) / len(told) > 0.8
    other = (axis + 1) % 3
    assert len({read_levels(text)[other] for text in told}) == 5  # free where the profile says nothing


def test_the_oracle_sentence_of_every_user_is_in_the_texts():
    seen = {r["prompt"].split("\n\n")[0] for r in sft_rows(40_000, profiles=1.0)}
    missing = [u.text for u in World().users if u.text not in seen]
    assert len(missing) <= 3, missing


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": "x"}, "option rows: found 'x', expected a whole number, at least 0"),
        ({"seed": 1.5}, "option seed: found 1.5, expected a whole number"),
        ({"profiles": "half"}, "option profiles: found 'half', expected the share of prompts with a profile"),
        ({"profiles": 2}, "option profiles: found 2, expected the share of prompts with a profile"),
    ],
)
def test_options_are_refused_before_the_first_row(options, message):
    with pytest.raises(ConfigError, match=f"planted texts: {message}"):
        sft_rows(**options)
