"""Preference logs: readers, named sources, splits, and a look inside. Needs no torch; names load on first use."""

from importlib import import_module
from typing import Any

_PUBLIC = {
    "Log": "prlhf.data.log",
    "Notes": "prlhf.data.log",
    "decided": "prlhf.data.log",
    "SOURCES": "prlhf.data.sources",
    "Split": "prlhf.data.splits",
    "inherit": "prlhf.data.load",
    "inspect_log": "prlhf.data.inspect",
    "load_comparisons": "prlhf.data.load",
    "readings": "prlhf.data.load",
    "recency_weights": "prlhf.data.recency",
    "split": "prlhf.data.splits",
    "subsample": "prlhf.data.splits",
    "trainable": "prlhf.data.log",
}

__all__ = [*_PUBLIC]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'prlhf.data' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
