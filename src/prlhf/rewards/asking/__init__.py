"""Who is not known yet: which pairs to ask them about, and the interview that follows."""

from prlhf.rewards.asking.belief import Belief
from prlhf.rewards.asking.interview import Answer, Interview, Question
from prlhf.rewards.asking.pool import Pool
from prlhf.rewards.asking.rules import DEFAULT, RULES, Rule
from prlhf.rewards.asking.suggest import Suggestion, suggest
from prlhf.rewards.asking.summary import Move, moves, predictable, remarks

__all__ = [
    "DEFAULT",
    "RULES",
    "Answer",
    "Belief",
    "Interview",
    "Move",
    "Pool",
    "Question",
    "Rule",
    "Suggestion",
    "moves",
    "predictable",
    "remarks",
    "suggest",
]
