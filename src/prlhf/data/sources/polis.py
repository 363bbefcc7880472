"""Real opinions: which of two statements a participant agrees with (bundled)."""

from __future__ import annotations

from prlhf.data.log import Log, Notes
from prlhf.data.sources.bundled import bundled

__all__ = ["polis"]

ATTRIBUTION = (
    "Polis, conversation “Bowling Green / American Assembly”. Data was gathered using the Polis software "
    "(compdemocracy.org/polis) and is sub-licensed under CC BY 4.0 with Attribution to The Computational Democracy "
    "Project (https://compdemocracy.org/case-studies/2018-kentucky). Changes: ids hashed, votes paired."
)


def polis() -> Log:
    """33,700 pairs of 1,095 participants: a statement they agreed with against one they disagreed with; one prompt."""
    comparisons = bundled("polis")
    return Log(comparisons, "polis", ATTRIBUTION, Notes.of(comparisons))
