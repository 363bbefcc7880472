import itertools
import re

import pytest

from prlhf.data.planted import TEST_TOPICS, TOPICS, answer, questions
from prlhf.data.planted.draw import Draw
from prlhf.data.planted.grammar import SLOTS


def test_draw_is_the_same_everywhere():
    # Fixed numbers: every figure that is measured in the planted world hangs on this stream.
    draw = Draw(0, "test")
    assert [draw.below(1000) for _ in range(5)] == [668, 474, 324, 204, 940]
    assert Draw(0, "test").shuffled("abcdef") == list("fdabce")
    assert Draw(1, "test").uniform() != Draw(0, "test").uniform()


def test_questions_are_many_and_distinct():
    all_questions = questions()
    assert len(TOPICS) >= 16
    assert len({q.text for q in all_questions}) == len(all_questions) == 1200
    assert {q.topic for q in all_questions} == set(TOPICS)


def test_no_thing_belongs_to_two_topics():
    things = [thing for names, _ in TOPICS.values() for thing in names]
    assert len(things) == len(set(things))
    assert set(TEST_TOPICS) < set(TOPICS)


def test_no_phrase_stands_for_two_slots_or_poles():
    phrases = [p.lower().rstrip("!.") for slot in SLOTS.values() for p in (*slot.high, *slot.low)]
    for a, b in itertools.permutations(phrases, 2):
        assert not re.search(rf"\b{re.escape(a)}\b", b), (a, b)


def test_no_question_word_is_evidence():
    words = {word for things, verbs in TOPICS.values() for word in (*things, *verbs)}
    phrases = {
        word.lower().rstrip("!.") for slot in SLOTS.values() for p in (*slot.high, *slot.low) for word in p.split()
    }
    assert not words & phrases


@pytest.mark.parametrize("axis", range(3))
def test_which_slots_are_high_is_random(axis):
    names = [name for name, slot in SLOTS.items() if slot.axis == axis]
    levels = tuple(2 if a == axis else 0 for a in range(3))
    question, draw = questions()[0], Draw("slots", axis)
    seen = set()
    for _ in range(200):
        text = answer(question, levels, draw)
        seen.add(tuple(any(p in text for p in SLOTS[name].high) for name in names))
    assert len(seen) == 6  # two of four


def test_a_person_sees_the_difference():
    question = questions()[0]
    expert, plain = answer(question, (4, 4, 4), Draw(1)), answer(question, (0, 0, 0), Draw(1))
    assert len(expert.split()) >= len(plain.split()) + 8
    shared = set(expert.lower().split()) & set(plain.lower().split())
    assert len(shared) <= 10  # the pattern's own words, the thing and the verb
