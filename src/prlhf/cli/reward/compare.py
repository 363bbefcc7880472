"""`prlhf reward compare`: reward models on the same votes, each tuned with the same budget."""

from __future__ import annotations

__all__ = ["compare"]


def compare() -> None:
    """Fit several reward models to the same votes, each tuned with the same budget, and say how they differ."""
