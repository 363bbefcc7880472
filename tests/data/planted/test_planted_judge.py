import itertools

import pytest

from prlhf.data.planted import PlantedUser, World, answer, is_answer, questions, read_levels, utility
from prlhf.data.planted.draw import Draw
from prlhf.data.planted.grammar import SLOTS
from prlhf.data.planted.judge import MAX_WORDS, NOT_AN_ANSWER

LEVELS = list(itertools.product(range(5), repeat=3))
EXPERT = PlantedUser("u", (100, 0, 0))


def longest() -> int:
    """Words of the longest answer that the grammar can write."""
    phrases = [max((len(p.split()) for p in (*s.high, *s.low)), default=0) for s in SLOTS.values()]
    return sum(phrases) + len(["the", "of", "your", "thing", "and", "verb", "it", "this"])


@pytest.mark.parametrize("seed", range(20))
def test_levels_read_are_levels_written(seed):
    draw = Draw("judge", seed)
    for levels in LEVELS:
        text = answer(draw.pick(questions()), levels, draw)
        assert read_levels(text) == levels, text
        assert is_answer(text)


def test_no_answer_is_too_long():
    assert longest() < MAX_WORDS


@pytest.mark.parametrize(
    "text",
    ["", " \n", "I do not know.", "Great question!", "quantify " * 30, "Good luck! Good luck!", "\x00\ufffd</s>"],
)
def test_degenerate_texts_are_the_worst_for_everybody(text):
    worst_answer = -1.0
    for user in World().users:
        assert utility(user, text) == NOT_AN_ANSWER < worst_answer


def test_cut_off_and_rambling_texts_are_no_answers():
    text = answer(questions()[0], (4, 4, 4), Draw(0))
    assert not is_answer(" ".join(text.split()[:12]))
    assert not is_answer(text + " and so on" * 10)


def test_reading_does_not_depend_on_case_or_white_space():
    text = answer(questions()[0], (3, 2, 1), Draw(0))
    assert read_levels(text.upper().replace(" ", " \n")) == (3, 2, 1)


def test_repetition_adds_nothing_and_the_first_phrase_counts():
    text = answer(questions()[0], (0, 0, 0), Draw(0))
    assert read_levels(text + " Great question! Great question!") == (0, 0, 0)
    assert read_levels(text + " for ten minutes for a moment") == (0, 1, 0)  # nothing stood in that slot


def test_a_missing_slot_is_not_high():
    text = answer(questions()[0], (4, 4, 4), Draw(0))
    last = next(p for p in SLOTS["S4"].high if p in text)
    assert read_levels(text.replace(last, "")) == (4, 4, 3)
    assert is_answer(text.replace(last, ""))


def test_utility_by_hand():
    user = PlantedUser("u", (50, -30, 20))
    # 0.5 (4-2)/2 - 0.3 (1-2)/2 + 0.2 (2-2)/2 = 0.5 + 0.15 + 0
    assert utility(user, answer(questions()[0], (4, 1, 2), Draw(0))) == pytest.approx(0.65)
