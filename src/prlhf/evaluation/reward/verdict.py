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
    told = [f"{name} {' and '.join(_of(who, gain) for who, gain in found.items())}" for name, found in gains.items()]
    return f"In accuracy, against {crowd}: {'; '.join(told)}." if told else ""


def _of(who: str, gain: Estimate) -> str:
    if math.isnan(gain.low):
        return f"cannot be told apart for {who} (no interval)"
    word = "is better" if gain.low > 0 else "is worse" if gain.high < 0 else "cannot be told apart with these votes"
    return f"{word} for {who} (interval {100 * gain.low:+.1f} to {100 * gain.high:+.1f} points)"
