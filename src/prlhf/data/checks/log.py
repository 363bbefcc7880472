"""All checks of a log at once, with the split that its options ask for."""

from __future__ import annotations

from prlhf.config.data import SplitConfig
from prlhf.data.checks.artefacts import check_artefacts
from prlhf.data.checks.check import Check
from prlhf.data.checks.ids import check_ids
from prlhf.data.checks.memory import NAME as MEMORY
from prlhf.data.checks.memory import check_memory
from prlhf.data.checks.overlap import NAME as OVERLAP
from prlhf.data.checks.overlap import check_overlap
from prlhf.data.log import Log
from prlhf.data.splits import Split, split
from prlhf.errors import DataError

__all__ = ["check_log", "check_split"]


def check_log(log: Log, config: SplitConfig | None = None) -> list[Check]:
    """Every check that needs no model, of comparisons and thumbs; the split is the source's own, or as `config`
    says."""
    config = config or SplitConfig()
    try:
        sides = check_split(log, split(log, config), config.by)
    except DataError as e:
        sides = [Check.missing(name, f"there is no split: {e}") for name in (OVERLAP, MEMORY)]
    return [check_artefacts(log.items), *sides, *check_ids(log.items)]


def check_split(log: Log, sides: Split, by: str = "pair") -> list[Check]:
    """Whether `sides` keep their promise, and whether what they share answers the tests. A source's own sides promise
    that no pair is on both, and a split without a test side that no held-out user is."""
    rows = {name: [log.items[i] for i in indices] for name, indices in sides.sides().items()}
    if "train" not in rows:
        return [Check.missing(name, "nothing is on the training side") for name in (OVERLAP, MEMORY)]
    unseen = rows.get("unseen", [])
    kept = "pair" if log.fixed_split is not None else by if "test" in rows else None
    test = [*rows.get("test", []), *unseen]
    return [check_overlap(rows["train"], test, kept, held_out=unseen), check_memory(rows["train"], test)]
