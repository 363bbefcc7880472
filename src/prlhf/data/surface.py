"""How far votes follow from length and formatting alone: a logistic regression on a handful of surface features.

Accuracy is out of sample: five folds, all votes on one pair in the same fold.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from prlhf.data.log import decided
from prlhf.types import Comparison

__all__ = [
    "FEATURES",
    "Predictability",
    "fit_logistic",
    "fold_of",
    "held_out_margins",
    "hits",
    "predictability",
    "surface_features",
]

FEATURES = ("log length", "line breaks", "list items", "digits", "punctuation", "markdown", "capitals")
_FOLDS = 5
_LIST = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s", re.MULTILINE)
_MARKDOWN = re.compile(r"\*\*|__|`|^#{1,6}\s|\]\(", re.MULTILINE)
_PUNCTUATION = re.compile(r"[.,;:!?()\"'“”‘’…–—-]")
_CROWD = 10.0  # votes' worth of the pooled preference that each user's own votes are added to
_SHOWN_FROM = 10  # users with fewer votes are not in the histogram of users


@dataclass(frozen=True)
class Predictability:
    """Out-of-sample accuracies (ties of the predictor count half); None where there are too few votes to tell."""

    votes: int
    longer: float | None
    """Share of votes for the longer response, in characters."""
    length: float | None
    """Everybody prefers the longer, or everybody the shorter, whichever fits the training folds."""
    length_by_user: float | None
    """Each user by the sign of their own votes in the training folds, to which the crowd adds ten votes' worth."""
    surface: float | None
    """Logistic regression on all surface features, the same for everybody."""
    coefficients: dict[str, float]
    """Of that regression on all votes, for standardised differences chosen - rejected."""
    longer_by_user: tuple[float, ...]
    """Share of votes for the longer response, for each user with at least 10 votes."""

    def sentence(self) -> str:
        """In words."""
        if self.length is None or self.surface is None or self.length_by_user is None:
            return "There are too few votes to say how far they follow from length and formatting."
        gain = self.length_by_user - self.length
        return (
            f"Length alone predicts {self.length:.1%} of the votes, length and formatting {self.surface:.1%}; knowing "
            f"whether each user likes long or short gives {self.length_by_user:.1%} ({gain * 100:+.1f} points). "
            "A model that does no better has learnt length, not content."
        )


def surface_features(text: str) -> tuple[float, ...]:
    """Length and formatting of a text, in the order of `FEATURES`; counts as log(1 + count)."""
    counts = (
        text.count("\n"),
        len(_LIST.findall(text)),
        sum(ch.isdigit() for ch in text),
        len(_PUNCTUATION.findall(text)),
        len(_MARKDOWN.findall(text)),
        sum(ch.isupper() for ch in text),
    )
    return float(np.log1p(len(text))), *(float(np.log1p(count)) for count in counts)


def predictability(comparisons: Sequence[Comparison], seed: int = 0) -> Predictability:
    """Measure how far votes follow from surface features; ties and equal texts are left out."""
    votes = [c for c in comparisons if decided(c)]
    sign = np.array([np.sign(len(c.chosen) - len(c.rejected)) for c in votes], dtype=np.float64)
    folds = np.array([fold_of(c.pair_key, seed) for c in votes], dtype=np.int64)
    by_user: dict[str, list[int]] = defaultdict(list)
    for i, c in enumerate(votes):
        if c.user is not None:
            by_user[c.user].append(i)
    shares = tuple(float(hits(sign[rows])) for rows in by_user.values() if len(rows) >= _SHOWN_FROM)
    longer = float(hits(sign)) if votes else None
    if len(set(folds.tolist())) < _FOLDS:
        return Predictability(len(votes), longer, None, None, None, {}, shares)
    x = _differences(votes)
    return Predictability(
        votes=len(votes),
        longer=longer,
        length=_pooled_length(sign, folds),
        length_by_user=_length_by_user(sign, folds, list(by_user.values())),
        surface=float(hits(held_out_margins(x, folds))),
        coefficients=dict(zip(FEATURES, (float(round(w, 4)) for w in fit_logistic(x)), strict=True)),
        longer_by_user=shares,
    )


def fold_of(key: str, seed: int = 0) -> int:
    """One of five folds, by content: the same key is always in the same one."""
    return int.from_bytes(hashlib.sha256(f"{seed}\0{key}".encode()).digest()[:4], "little") % _FOLDS


def hits(margins: np.ndarray) -> np.floating:
    """Accuracy of margins chosen - rejected, zero counting half."""
    return np.mean((np.sign(margins) + 1) / 2)


def _differences(votes: Sequence[Comparison]) -> np.ndarray:
    """Standardised feature differences [b, f]; without centring, so that swapping a pair changes only the sign."""
    cache: dict[str, tuple[float, ...]] = {}
    for c in votes:
        for text in (c.chosen, c.rejected):
            if text not in cache:
                cache[text] = surface_features(text)
    x = np.array([cache[c.chosen] for c in votes]) - np.array([cache[c.rejected] for c in votes])
    scale = np.sqrt((x**2).mean(axis=0))
    return x / np.where(scale > 0, scale, 1.0)


def fit_logistic(x: np.ndarray, ridge: float = 1.0, steps: int = 20) -> np.ndarray:
    """Weights [f] that minimise `sum log(1 + exp(-x w)) + ridge/2 |w|^2` over rows x = chosen - rejected [b, f].

    Newton steps, halved while they do not descend; no intercept, since a comparison has no order.
    """
    w = np.zeros(x.shape[1])

    def loss(v: np.ndarray) -> float:
        return float(np.logaddexp(0.0, -(x @ v)).sum() + ridge / 2 * v @ v)

    for _ in range(steps):
        p = 0.5 * (1 - np.tanh(x @ w / 2))  # sigmoid(-x w), the chance given to the other answer
        gradient = -x.T @ p + ridge * w
        hessian = (x * (p * (1 - p))[:, None]).T @ x + ridge * np.eye(len(w))
        step = np.linalg.solve(hessian, gradient)
        while loss(w - step) > loss(w) and np.abs(step).max() > 1e-9:
            step = step / 2
        w = w - step
        if np.abs(step).max() < 1e-8:
            break
    return w


def held_out_margins(x: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Margins [b] of rows `x` [b, f], each under a regression on the other folds."""
    margins = np.empty(len(x))
    for fold in range(_FOLDS):
        out = folds == fold
        margins[out] = x[out] @ fit_logistic(x[~out])
    return margins


def _pooled_length(sign: np.ndarray, folds: np.ndarray) -> float:
    margins = [sign[folds == fold] * np.sign(sign[folds != fold].sum()) for fold in range(_FOLDS)]
    return float(hits(np.concatenate(margins)))


def _length_by_user(sign: np.ndarray, folds: np.ndarray, users: Sequence[Sequence[int]]) -> float:
    """Accuracy over all votes, those without a user by the common sign."""
    crowd = np.array([sign[folds != fold].mean() for fold in range(_FOLDS)])
    margins = sign * np.sign(crowd[folds])
    for indices in users:
        rows = np.asarray(indices)
        for fold in set(folds[rows].tolist()):
            own = sign[rows[folds[rows] != fold]].sum() + _CROWD * crowd[fold]
            out = rows[folds[rows] == fold]
            margins[out] = sign[out] * np.sign(own)
    return float(hits(margins))
