"""Pictures of an evaluation. Each function returns a matplotlib `Figure`; none touches pyplot's global state."""

from __future__ import annotations

import io
import json
import math
import os
import textwrap
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from prlhf.errors import DataError
from prlhf.evaluation.bootstrap import Estimate
from prlhf.evaluation.by_user import PerUser
from prlhf.evaluation.winrate import WinRate

__all__ = [
    "COLOURS",
    "CURVES",
    "MARKERS",
    "Curve",
    "drawn",
    "learning_curves",
    "legend",
    "per_user_accuracy",
    "profile_bars",
    "read_curves",
    "save",
    "styled",
    "to_png",
    "to_svg",
    "win_rate_bars",
]

# Okabe and Ito's palette without its yellow, in an order whose neighbours also differ in lightness; one marker more
# than colours, so that a colour that comes again has another.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")
_LETTERS, _HANDLE = 13, 7  # in an inch of a legend; and what stands before a label, in letters
GREY, PALE = "#8a8a8a", "#d4d4d4"
_STYLE: Any = {
    "font.size": 10,
    "font.family": "DejaVu Sans",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.edgecolor": "#666666",
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "#ececec",
    "legend.frameon": False,
    # A user may be called "$x$".
    "text.parse_math": False,
    # The same figure gives the same bytes.
    "svg.hashsalt": "prlhf",
}
# Up to so many users, dots carry names; up to so many, a line joins the dots of one user.
_NAMED_USERS, _JOINED_USERS = 24, 150


@contextmanager
def styled() -> Iterator[None]:
    """The look of all pictures, while one is drawn."""
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        # Ids are any unicode; what the font lacks is drawn as a box, which is no reason to stop.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield


def drawn(width: float, height: float, title: str) -> tuple[Figure, Axes]:
    """An empty figure (inches) with its title, and its axes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    lines = textwrap.wrap(title, int(width * 10.5))
    figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=11.5, fontweight="bold")
    return figure, axes


def legend(figure: Figure, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """Below the axes, in as many columns as fit."""
    fitting = int(figure.get_figwidth() * _LETTERS) // (max(map(len, labels)) + _HANDLE)
    columns = max(1, min(len(labels), 4, fitting))
    figure.set_figheight(figure.get_figheight() + 0.21 * max(math.ceil(len(labels) / columns) - 2, 0))
    figure.legend(handles, labels, loc="outside lower left", ncols=columns, handletextpad=0.5)


def to_png(figure: Figure, dpi: int = 160) -> bytes:
    """The figure as a PNG."""
    return _render(figure, "png", dpi=dpi, metadata={"Software": None})


def to_svg(figure: Figure) -> bytes:
    """The figure as an SVG whose bytes depend on its content only."""
    return _render(figure, "svg", metadata={"Date": None, "Creator": None})


def _render(figure: Figure, kind: str, **options: Any) -> bytes:
    target = io.BytesIO()
    with styled():
        figure.savefig(target, format=kind, facecolor="white", **options)
    return target.getvalue()


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a PNG or an SVG, as the ending of `path` says."""
    kinds = {".png": to_png, ".svg": to_svg}
    target = Path(path)
    if target.suffix not in kinds:
        raise DataError(f"{target}: found the ending {target.suffix!r}, expected .png or .svg")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(kinds[target.suffix](figure))


# --- each user's accuracy ---


def per_user_accuracy(users: PerUser, pooled: PerUser | None = None, title: str | None = None) -> Figure:
    """A dot a seen user: own row against the generic row, and against another model's table (`pooled`) if given.

    Users stand in groups, from the least to the best accuracy under their own row.
    """
    seen = np.flatnonzero(users.seen)
    if not len(seen):
        raise DataError("per-user plot: found no seen user, expected at least one")
    order = sorted(seen, key=lambda i: (users.group[i] is None, users.group[i] or "", users.accuracy[i]))
    better = int((users.accuracy[seen] > users.accuracy_generic[seen]).sum())
    title = title or f"{better} of {len(seen)} users are predicted better by their own row than by the generic one"
    with styled():
        figure, axes = drawn(8, 4.2, title)
        places = _places([users.group[i] for i in order])
        own, generic = users.accuracy[order], users.accuracy_generic[order]
        size = max(9.0, min(36.0, 1400.0 / len(order)))
        if len(order) <= _JOINED_USERS:
            axes.vlines(places, np.minimum(own, generic), np.maximum(own, generic), color=PALE, linewidth=1, zorder=1)
        handles = [axes.scatter(places, own, s=size, color=COLOURS[0], zorder=4)]
        handles.append(axes.scatter(places, generic, s=size, facecolor="white", edgecolor=GREY, marker="s", zorder=3))
        labels = ["own row", "generic row"]
        if pooled is not None:
            found = dict(zip(pooled.user, pooled.accuracy, strict=True))
            other = np.array([found.get(users.user[i], math.nan) for i in order])
            handles.append(axes.scatter(places, other, s=size, color=COLOURS[1], marker="^", zorder=2))
            labels.append("pooled model")
        _user_axis(axes, places, [users.group[i] for i in order], [users.user[i] for i in order])
        lowest = min([own.min(), generic.min(), *([np.nanmin(other)] if pooled is not None else [])])
        axes.set_ylim(min(0.4, lowest - 0.03), 1.02)
        axes.axhline(0.5, color=GREY, linewidth=0.8, linestyle=":")
        axes.set_ylabel("accuracy on own comparisons")
        legend(figure, handles, labels)
    return figure


def _places(groups: Sequence[str | None]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Positions 0, 1, 2, … with a gap between groups."""
    changes = np.array([a != b for a, b in zip(groups[1:], groups, strict=False)], dtype=bool)
    gap = max(1.0, len(groups) * 0.03)
    return np.arange(len(groups)) + gap * np.concatenate([[0], np.cumsum(changes)])


def _user_axis(axes: Axes, places: Any, groups: Sequence[str | None], names: Sequence[str]) -> None:
    """Names under few users; the group's name and size under its middle."""
    axes.grid(False, axis="x")
    if len(names) <= _NAMED_USERS:
        axes.set_xticks(places, [_short(n) for n in names], rotation=90, fontsize=8)
    else:
        axes.set_xticks([])
    for group in dict.fromkeys(groups):
        inside = [place for place, g in zip(places, groups, strict=True) if g == group]
        size = f"{len(inside)} user{'s' if len(inside) > 1 else ''}"
        without = size if set(groups) == {None} else f"no group ({size})"
        label = without if group is None else f"{_short(group)} ({size})"
        axes.text(float(np.mean(inside)), 1.0, label, ha="center", va="bottom", transform=axes.get_xaxis_transform())


def _short(text: str, width: int = 22) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


# --- learning curves ---


@dataclass(frozen=True)
class Curve:
    """One line: `y` over `x`, and optionally a band."""

    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None


CURVES = {
    "own row": "eval_accuracy_seen",
    "generic row": "eval_accuracy_generic",
    "somebody else's row": "eval_accuracy_permuted",
}
"""What a run's learning curves show: label -> key in metrics.jsonl."""


def read_curves(path: str | os.PathLike[str], names: Mapping[str, str], x: str = "step") -> dict[str, Curve]:
    """Curves out of a run's `metrics.jsonl`: label -> key of the record, for example `accuracy_seen`.

    Records without `x` or the key are passed over, and labels without any record left out. A record that repeats an
    earlier `x`, as after a resume, replaces it. A standard error beside a value (`<key>_se`) becomes a band of one to
    either side.
    """
    records = []
    for number, line in enumerate(Path(path).read_text("utf8").splitlines(), 1):
        if line.strip():
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError as e:
                raise DataError(f"{path}, line {number}: found {line[:60]!r}, expected one JSON object a line") from e
    curves = {}
    for label, key in names.items():
        points = {
            r[x]: (r[key], r.get(f"{key}_se")) for r in records if r.get(x) is not None and r.get(key) is not None
        }
        if points:
            curves[label] = _curve(points)
    return curves


def _curve(points: Mapping[float, tuple[float, float | None]]) -> Curve:
    """x -> (value, standard error) as a line, with a band where every error is known."""
    xs = sorted(points)
    ys, errors = [points[p][0] for p in xs], [points[p][1] for p in xs]
    if any(e is None for e in errors):
        return Curve(xs, ys)
    around = [(y - e, y + e) for y, e in zip(ys, errors, strict=True) if e is not None]
    return Curve(xs, ys, [low for low, _ in around], [high for _, high in around])


def learning_curves(
    curves: Mapping[str, Curve],
    *,
    title: str | None = None,
    x_label: str = "step",
    y_label: str = "accuracy",
    target: float | None = None,
) -> Figure:
    """Lines over the steps of training, with their bands if they have any; `target` is a dashed line."""
    if not curves:
        raise DataError("learning curves: found no curve, expected at least one; was the run evaluated while training?")
    title = title or _curves_title({label: curve.y[-1] for label, curve in curves.items()})
    with styled():
        figure, axes = drawn(8, 4.2, title)
        for k, (label, curve) in enumerate(curves.items()):
            colour, marker = COLOURS[k % len(COLOURS)], MARKERS[k % len(MARKERS)]
            every = max(1, len(curve.x) // 10)
            axes.plot(
                curve.x, curve.y, color=colour, marker=marker, markevery=every, markersize=5, linewidth=1.8, label=label
            )
            if curve.low is not None and curve.high is not None:
                axes.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.15, linewidth=0)
        if target is not None:
            axes.axhline(target, color="#444444", linewidth=1, linestyle="--", label=f"target {target:g}")
        axes.margins(y=0.08)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        legend(figure, *axes.get_legend_handles_labels())
    return figure


def _curves_title(ends: Mapping[str, float]) -> str:
    best, worst = max(ends, key=lambda label: ends[label]), min(ends, key=lambda label: ends[label])
    if best == worst:
        return f"At the end: {best} {ends[best]:.2f}"
    return f"At the end, highest: {best} ({ends[best]:.2f}); lowest: {worst} ({ends[worst]:.2f})"


# --- bars ---


def win_rate_bars(rates: Mapping[str, WinRate], title: str | None = None) -> Figure:
    """A bar an opponent: wins, ties and losses as shares; the diamond is the rate (ties half, mean over users)."""
    if not rates:
        raise DataError("win-rate plot: found no win rate, expected at least one")
    shown = {name: _headline(rate) for name, rate in rates.items()}
    won = [name for name, rate in shown.items() if rate.value > 0.5]
    if title is None:
        title = f"Preferred more often than not to {len(won)} of {len(rates)} opponents"
        if len(rates) == 1:
            title = (
                f"Preferred to {next(iter(rates))} in {next(iter(shown.values())).value:.0%} of the answers (ties half)"
            )
    with styled():
        figure, axes = drawn(8, 1.7 + 0.55 * len(rates), title)
        for row, rate in enumerate(rates.values()):
            _shares(axes, row, rate)
        for row, estimate in enumerate(shown.values()):
            _whisker(axes, estimate, row, horizontal=True)
            axes.text(1.015, row, f"{estimate.value:.2f}", va="center", fontweight="bold")
        axes.axvline(0.5, color="#444444", linewidth=0.8, linestyle=":")
        axes.set_yticks(range(len(rates)), [_short(f"against {name}", 40) for name in rates])
        axes.set_ylim(len(rates) - 0.5, -0.5)
        axes.set_xlim(0, 1)
        axes.grid(False)
        axes.set_xlabel("share of answers")
        boxes = [Patch(color=colour) for colour in (COLOURS[0], PALE, COLOURS[1])]
        diamond = Line2D([], [], color="black", marker="D", markersize=5, linewidth=1.2)
        legend(figure, [*boxes, diamond], ["win", "tie", "loss", "rate, ties half (95 %)"])
    return figure


def _headline(rate: WinRate) -> Estimate:
    return rate.per_user if rate.per_user.exists else rate.rate


def _shares(axes: Axes, row: int, rate: WinRate) -> None:
    start = 0.0
    for count, colour in ((rate.wins, COLOURS[0]), (rate.ties, PALE), (rate.losses, COLOURS[1])):
        share = count / rate.count
        axes.barh(row, share, left=start, height=0.6, color=colour)
        start += share


def _whisker(axes: Axes, estimate: Estimate, place: float, *, horizontal: bool = False) -> None:
    """The value as a diamond (horizontal) or nothing, and its interval as a line."""
    if horizontal:
        axes.plot([estimate.value], [place], marker="D", markersize=6, color="black", markeredgecolor="white", zorder=4)
    if not math.isnan(estimate.low):
        ends, across = [estimate.low, estimate.high], [place, place]
        axes.plot(*((ends, across) if horizontal else (across, ends)), color="black", linewidth=1.2, zorder=3)


def profile_bars(
    values: Mapping[str, Mapping[str, float | Estimate]],
    *,
    title: str | None = None,
    y_label: str = "accuracy",
    target: float | None = None,
) -> Figure:
    """Bars by profile (or group): profile -> series -> value (an `Estimate` has its interval drawn).

    `target` is a dashed line.
    """
    series = list(dict.fromkeys(name for row in values.values() for name in row))
    if not series:
        raise DataError("profile plot: found no value, expected at least one profile with one")
    with styled():
        figure, axes = drawn(8, 4.2, title or _profile_title(values, series[0], y_label, target))
        width = 0.8 / len(series)
        for k, name in enumerate(series):
            for place, row in enumerate(values.values()):
                if name in row:
                    _bar(axes, row[name], place + (k - (len(series) - 1) / 2) * width, width, COLOURS[k % len(COLOURS)])
        if target is not None:
            axes.axhline(target, color="#444444", linewidth=1, linestyle="--", zorder=5)
        slanted = max(len(name) for name in values) * len(values) > 75
        axes.set_xticks(range(len(values)), [_short(n) for n in values])
        if slanted:
            axes.tick_params(axis="x", rotation=30)
            for label in axes.get_xticklabels():
                label.set_horizontalalignment("right")
        axes.set_ylabel(y_label)
        axes.set_ylim(min(0.0, axes.get_ylim()[0]), max(1.0, axes.get_ylim()[1]))
        handles: list[Any] = [Patch(color=COLOURS[k % len(COLOURS)]) for k in range(len(series))]
        if target is not None:
            handles.append(Line2D([], [], color="#444444", linewidth=1, linestyle="--"))
            series.append(f"target {target:g}")
        legend(figure, handles, series)
    return figure


def _bar(axes: Axes, value: float | Estimate, place: float, width: float, colour: str) -> None:
    estimate = value if isinstance(value, Estimate) else Estimate(value)
    if estimate.exists:
        axes.bar(place, estimate.value, width * 0.94, color=colour)
        _whisker(axes, estimate, place)
        inside = "white" if colour in (COLOURS[0], COLOURS[2], COLOURS[5]) else "black"
        text = f"{estimate.value:.2f}".replace("0.", ".", 1)
        axes.text(place, 0.01, text, ha="center", va="bottom", fontsize=8, color=inside)


def _profile_title(
    values: Mapping[str, Mapping[str, float | Estimate]], first: str, y_label: str, target: float | None
) -> str:
    found = {
        profile: x.value if isinstance(x, Estimate) else x
        for profile, row in values.items()
        if (x := row.get(first)) is not None
    }
    least = min(found, key=lambda profile: found[profile])
    finding = f"{first}: {y_label} is lowest for {least}, {found[least]:.2f}"
    if target is not None:
        reached = sum(value >= target for value in found.values())
        finding = f"{first}: {reached} of {len(found)} profiles reach {target:g}; lowest is {least}, {found[least]:.2f}"
    return finding
