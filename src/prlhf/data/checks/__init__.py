"""Leaks in a preference log: what would let a model be right without knowing a preference. Needs no torch."""

from prlhf.data.checks.artefacts import check_artefacts
from prlhf.data.checks.check import Check, State, findings
from prlhf.data.checks.ids import check_ids
from prlhf.data.checks.log import check_log, check_split
from prlhf.data.checks.memory import check_memory
from prlhf.data.checks.overlap import check_overlap

__all__ = [
    "Check",
    "State",
    "check_artefacts",
    "check_ids",
    "check_log",
    "check_memory",
    "check_overlap",
    "check_split",
    "findings",
]
