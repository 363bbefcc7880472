"""Whom one does not know yet: which pairs to ask about, and the interview that follows."""

from prlhf.rewards.asking.belief import Belief
from prlhf.rewards.asking.pool import Pool
from prlhf.rewards.asking.rules import DEFAULT, RULES, Rule
from prlhf.rewards.asking.suggest import Suggestion, suggest

__all__ = ["DEFAULT", "RULES", "Belief", "Pool", "Rule", "Suggestion", "suggest"]
