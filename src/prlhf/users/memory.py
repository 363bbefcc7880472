"""How much memory there is for this process: of the machine, or of the container that it runs in."""

from __future__ import annotations

from pathlib import Path

import psutil

__all__ = ["free_memory"]

CGROUPS = Path("/sys/fs/cgroup")
_VERSIONS = (  # limit, what is used, and of that what the system takes back when it needs the room
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
)


def free_memory() -> int:
    """Bytes that can still be taken."""
    machine = int(psutil.virtual_memory().available)
    return min([machine, *(left for names in _VERSIONS if (left := _left(*names)) is not None)])


def _left(limit: str, used: str, stat: str, key: str) -> int | None:
    """What a control group of Linux leaves, None where there is none or no limit."""
    try:
        most, taken = (int((CGROUPS / name).read_text()) for name in (limit, used))
        numbers = dict(line.split() for line in (CGROUPS / stat).read_text().splitlines())
        return max(most - taken + int(numbers.get(key, 0)), 0)
    except (OSError, ValueError):  # "max" is no number
        return None
