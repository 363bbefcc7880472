"""What the differences between reward models come to, in a sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping

from prlhf.evaluation.bootstrap import Estimate

__all__ = ["verdict"]


def verdict(crowd: str, gains: Mapping[str, Mapping[str, Estimate]]) -> str:
    """Which models are better than the crowd's, which are worse, and which cannot be told apart from it.

    Args:
        crowd: what the others are held against.
        gains: model -> who, in words -> accuracy minus that of `crowd`, of 1. Better or worse takes an interval that
            leaves 0 out.
    """
    told = [f"{name} {_of(found)}" for name, found in gains.items()]
    return f"In accuracy (95 % intervals), against {crowd}: {'; '.join(told)}." if told else ""


def _of(found: Mapping[str, Estimate]) -> str:
    """Of one model; what holds for several is said once."""
    said: dict[str, list[str]] = {}
    for who, gain in found.items():
        word = "is better" if gain.low > 0 else "is worse" if gain.high < 0 else "cannot be told apart with these votes"
        said.setdefault(word, []).append(f"for {who} ({_interval(gain)})")
    return " and ".join(f"{word} {' and '.join(places)}" for word, places in said.items())


def _interval(gain: Estimate) -> str:
    return "no interval" if math.isnan(gain.low) else f"{100 * gain.low:+.1f} to {100 * gain.high:+.1f} points"
