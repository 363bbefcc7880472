"""All checks of a log at once, with the split that its options ask for."""

from __future__ import annotations

from prlhf.config.data import SplitConfig
from prlhf.data.checks.artefacts import check_artefacts
from prlhf.data.checks.check import Check
from prlhf.data.checks.ids import check_ids, check_thumbs
from prlhf.data.checks.overlap import NAME, check_overlap
from prlhf.data.log import Log, parted
from prlhf.data.splits import Split, split
from prlhf.errors import DataError

__all__ = ["check_log", "check_split"]


def check_log(log: Log, config: SplitConfig | None = None) -> list[Check]:
    """Every check that needs no model; the split is the source's own, or as `config` says. Thumbs have one of their
    own: ids whose labels are all the same."""
    config = config or SplitConfig()
    try:
        sides = check_split(log, split(log, config), config.by)
    except DataError as e:
        sides = Check.missing(NAME, f"there is no split: {e}")
    found = [check_artefacts(log.comparisons), sides, *check_ids(log.comparisons)]
    return [*found, check_thumbs(log.thumbs)] if log.thumbs else found


def check_split(log: Log, sides: Split, by: str = "pair") -> Check:
    """Whether `sides` keep their promise; a source's own sides promise that no pair is on both, and a split without a
    test side that no held-out user is."""
    rows = {name: list(parted([log.items[i] for i in indices])[0]) for name, indices in sides.sides().items()}
    if not rows["train"]:
        return Check.missing(NAME, "no comparison is on the training side")
    unseen = rows.get("unseen", [])
    kept = "pair" if log.fixed_split is not None else by if "test" in rows else None
    return check_overlap(rows["train"], [*rows.get("test", []), *unseen], kept, held_out=unseen)
