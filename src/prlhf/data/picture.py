"""The picture of `prlhf data inspect`: four panels from an `Inspection`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from prlhf.errors import ConfigError

if TYPE_CHECKING:
    from prlhf.data.inspect import Inspection

__all__ = ["check_picture", "draw"]

_THUMBS = "measured on comparisons, not on thumbs"
_BLUE, _ORANGE, _GREY, _GREEN, _RED = "#3b6ea8", "#d9822b", "#9aa3ad", "#3f8f4f", "#b5403c"


def check_picture(path: str | Path) -> None:
    """Refuse a file that `draw` could not write, by its suffix.

    Raises:
        ConfigError: no suffix, or one that is no picture's; names those that are.
    """
    from matplotlib.figure import Figure

    known = [f".{name}" for name in sorted(Figure().canvas.get_supported_filetypes())]
    if (suffix := Path(path).suffix.lower()) not in known:
        raise ConfigError(f"{path}: unknown suffix {suffix!r} of a picture; expected one of {', '.join(known)}")


def draw(found: Inspection, path: str | Path) -> None:
    """Write the picture to `path`; the suffix gives the format (png, svg, pdf)."""
    from matplotlib.figure import Figure  # without pyplot: no window system, no global state

    figure = Figure(figsize=(10, 7), layout="constrained")
    rows = np.ravel(np.asarray(figure.subfigures(2, 1)))  # laid out apart, since the bars have long names
    panels = [panel for row in rows for panel in row.subplots(1, 2)]
    for fill, panel in zip((_users, _lengths, _taste, _accuracies), panels, strict=True):
        fill(panel, found)
        panel.spines[["top", "right"]].set_visible(False)
    counts = found.counts
    held = counts["comparisons"] + counts["thumbs"]
    figure.suptitle(f"{found.source}: {held:,} {found.kinds} of {counts['users']:,} users")
    figure.savefig(path, dpi=130)


def _nothing(panel: Any, why: str) -> None:
    panel.text(0.5, 0.5, why, ha="center", va="center", color=_GREY, transform=panel.transAxes)
    panel.set(xticks=[], yticks=[])


def _users(panel: Any, found: Inspection) -> None:
    panel.set_title(f"{found.kinds.capitalize()} per user")
    if not found.user_counts:
        _nothing(panel, "no user ids")
        return
    rank = np.arange(1, len(found.user_counts) + 1)
    panel.plot(rank, found.user_counts, color=_BLUE, lw=2, marker="." if len(rank) < 50 else None)
    panel.fill_between(rank, 0.8, found.user_counts, color=_BLUE, alpha=0.15, lw=0)
    panel.set(xlabel="users, the busiest first", ylabel=found.kinds, xscale="log", yscale="log", ylim=(0.8, None))


def _lengths(panel: Any, found: Inspection) -> None:
    panel.set_title("Length of responses")
    top = max(float(np.quantile(np.concatenate(list(found.lengths.values())), 0.99)), 1.0)
    bins = np.linspace(0, top, 41).tolist()
    colours = {"chosen": _BLUE, "rejected": _ORANGE, "liked": _GREEN, "disliked": _RED}
    for name, values in found.lengths.items():
        colour = colours[name]
        panel.hist(
            values, bins=bins, histtype="step", lw=2, color=colour, label=f"{name}, median {np.median(values):.0f}"
        )
    panel.set(xlabel="characters (the longest 1 % not shown)", ylabel=found.kinds)
    panel.legend(frameon=False)


def _taste(panel: Any, found: Inspection) -> None:
    shares = found.surface.longer_by_user
    panel.set_title("How often each user prefers the longer response")
    if not shares:
        _nothing(
            panel, "measured on comparisons, not on thumbs" if found.kinds == "thumbs" else "no user with 10 votes"
        )
        return
    panel.hist(shares, bins=np.linspace(0, 1, 21).tolist(), color=_BLUE, alpha=0.8)
    panel.axvline(0.5, color=_GREY, ls=":", lw=1)
    if found.surface.longer is not None:
        panel.axvline(found.surface.longer, color=_ORANGE, lw=2, label=f"all votes: {found.surface.longer:.0%}")
        panel.legend(frameon=False)
    panel.set(
        xlabel="share of votes for the longer one", ylabel=f"users with 10 votes or more ({len(shares):,})", xlim=(0, 1)
    )


def _accuracies(panel: Any, found: Inspection) -> None:
    panel.set_title("How predictable is a vote?")
    s, a, b = found.surface, found.agreement, found.pooled
    named = [
        ("length", s.length, _GREY),
        ("length and formatting", s.surface, _GREY),
        ("length, sign of each user", s.length_by_user, _GREY),
        ("another user's vote", None if a.disagreement is None else 1 - a.disagreement, _ORANGE),
        ("majority of other users", a.majority_of_others, _ORANGE),
        ("bound for any model\nwithout the user", b.upper, _ORANGE),
        ("the same user again", a.self_agreement, _BLUE),
    ]
    bars = [(name, value, colour) for name, value, colour in named if value is not None]
    if not bars:
        _nothing(panel, _THUMBS if found.kinds == "thumbs" else "too few votes")
        return
    names, values, colours = zip(*bars, strict=True)
    panel.barh(range(len(bars)), values, color=colours, height=0.65)
    for y, value in enumerate(values):
        panel.text(value + 0.01, y, f"{value:.0%}", va="center")
    panel.axvline(0.5, color="black", ls=":", lw=1)
    panel.set(
        yticks=range(len(bars)), yticklabels=names, xlim=(0, 1.08), xlabel="share of votes predicted (chance: 50 %)"
    )
    panel.invert_yaxis()
