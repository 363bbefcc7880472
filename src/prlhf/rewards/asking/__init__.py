"""Who is not known yet: which pairs to ask them about, and the interview that follows."""

from prlhf.rewards.asking.belief import Belief
from prlhf.rewards.asking.interview import Answer, Interview, Question, check_interview
from prlhf.rewards.asking.pool import Pool
from prlhf.rewards.asking.rules import DEFAULT, RULES, Rule
from prlhf.rewards.asking.suggest import Suggestion, check_rule, suggest
from prlhf.rewards.asking.summary import Move, moves, predictable

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
    "check_interview",
    "check_rule",
    "moves",
    "predictable",
    "suggest",
]
