"""Pictures of reward models: how right they are where they are sure, and after how many votes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from prlhf.errors import DataError
from prlhf.evaluation.bootstrap import Estimate
from prlhf.evaluation.plots import COLOURS, MARKERS, drawn, legend, styled
from prlhf.evaluation.reward.figures import Reliability

__all__ = ["reliability_diagram", "vote_curves"]

_FEW = 0.01
"""A bin with less than this share of the weight is not drawn: it would be noise."""


def reliability_diagram(found: Mapping[str, Reliability], title: str | None = None) -> Figure:
    """A line each: the share that was right in each bin of confidence; the diagonal is a perfectly honest model."""
    if not found:
        raise DataError("reliability diagram: found no comparison, expected some")
    with styled():
        figure, axes = drawn(5.6, 4.8, title or _honest(found))
        axes.plot([0.5, 1], [0.5, 1], color="#444444", linewidth=1, linestyle="--", label="as sure as right")
        for k, (name, bins) in enumerate(found.items()):
            held = bins.weight >= _FEW * bins.weight.sum()
            colour, marker = COLOURS[k % len(COLOURS)], MARKERS[k % len(MARKERS)]
            axes.plot(bins.confidence[held], bins.right[held], color=colour, marker=marker, linewidth=1.8, label=name)
        axes.set_xlabel("how sure the model is of its answer")
        axes.set_ylabel("share of votes that agree")
        axes.set_xlim(0.49, 1.01)
        legend(figure, *axes.get_legend_handles_labels())
    return figure


def _honest(found: Mapping[str, Reliability]) -> str:
    gaps = {name: float((b.weight * (b.right - b.confidence)).sum() / b.weight.sum()) for name, b in found.items()}
    worst = max(gaps, key=lambda name: abs(gaps[name]))
    if abs(gaps[worst]) < 0.01:
        return "As sure as it is right, to within a point"
    return f"{worst}: {abs(gaps[worst]) * 100:.0f} points {'less' if gaps[worst] > 0 else 'more'} sure than right"


def vote_curves(
    found: Mapping[str, Mapping[int, Estimate]], y_label: str, title: str, ceiling: float | None = None
) -> Figure:
    """A line each over how many votes of a new user were folded in, with 95 % intervals beside one another.

    Args:
        ceiling: values above it are drawn there, as arrows, so that one method in the tens does not flatten the rest.
    """
    votes: Sequence[int] = sorted({k for line in found.values() for k in line})
    if not votes:
        raise DataError("curves over votes: found no value, expected at least one")
    with styled():
        figure, axes = drawn(8, 4.2, title)
        for k, (name, line) in enumerate(found.items()):
            colour, marker = COLOURS[k % len(COLOURS)], MARKERS[k % len(MARKERS)]
            places = np.array([votes.index(v) for v in line]) + (k - (len(found) - 1) / 2) * 0.07
            low, y, high = np.array([_ends(e) for e in line.values()]).T
            if ceiling is not None:
                beyond = y > ceiling
                low, y, high = (np.minimum(x, ceiling) for x in (low, y, high))
                axes.plot(places[beyond], y[beyond], color=colour, marker="^", markersize=10, linestyle="none")
            bars = np.stack([y - low, high - y])
            axes.errorbar(places, y, bars, color=colour, marker=marker, markersize=5, linewidth=1.6, label=name)
        axes.set_xticks(range(len(votes)), [str(v) for v in votes])
        axes.set_xlabel("votes of a new user that the model was told")
        axes.set_ylabel(y_label)
        handles, labels = axes.get_legend_handles_labels()
        legend(figure, handles, labels)
    return figure


def _ends(e: Estimate) -> tuple[float, float, float]:
    return (e.value, e.value, e.value) if math.isnan(e.low) else (min(e.low, e.value), e.value, max(e.high, e.value))
