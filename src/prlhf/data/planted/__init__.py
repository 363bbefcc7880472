"""The planted world: a generated preference log whose truth is known, with an exact judge. Free of torch."""

from prlhf.data.planted.grammar import AXES, LEVELS, TEST_TOPICS, TOPICS, Levels, Question, answer, questions
from prlhf.data.planted.judge import NOT_AN_ANSWER, is_answer, read_levels, utility
from prlhf.data.planted.profiles import MAJORITY, PlantedUser, population, profile_text
from prlhf.data.planted.sft import sft_rows
from prlhf.data.planted.world import World

__all__ = [
    "AXES",
    "LEVELS",
    "MAJORITY",
    "NOT_AN_ANSWER",
    "TEST_TOPICS",
    "TOPICS",
    "Levels",
    "PlantedUser",
    "Question",
    "World",
    "answer",
    "is_answer",
    "population",
    "profile_text",
    "questions",
    "read_levels",
    "sft_rows",
    "utility",
]
