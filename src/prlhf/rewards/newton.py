"""Logistic regressions of many people at once: a few votes and dimensions each, one Gaussian prior (batched Newton)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.linalg.lapack import dposv
from scipy.special import expit

from prlhf.errors import DataError

__all__ = ["fit_many", "runs"]

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int64]

NUMBERS = 1 << 18
"""About so many numbers of votes and of Hessians are worked on at a time."""
CLOSE = 1e-7
"""A step this short, in units of the prior, is the last one: Newton's next error is about its square."""
MOST = 100
"""Steps; the worst of contradictory and separable votes took 20."""


def fit_many(
    z: Floats, offset: Floats, y: Floats, weight: Floats, who: Ints, n: int, mean: Floats, precision: Floats
) -> tuple[Floats, Floats]:
    """The most likely `l` of each person under `P(vote) = sigma(offset + <z, l>)` and `l ~ N(mean, precision^-1)`.

    Minimises `sum_votes weight (log(1 + e^s) - y s) + (l - mean)' precision (l - mean) / 2`, which is strictly convex,
    by damped Newton steps in coordinates in which the prior is N(0, 1).

    Args:
        z: `[b, k]`.
        offset, y, weight: `[b]`; `y` may be anything from 0 to 1.
        who: `[b]`, the person, below `n`; votes of -1 are nobody's. Sorted is fastest.
        mean: `[k]` or `[n, k]`.
        precision: `[k, k]`, positive definite.

    Returns:
        The maximum `[n, k]`, and Laplace's covariance there `[n, k, k]`: the prior's for a person without votes.

    Raises:
        DataError: numbers that are not finite.
    """
    if not all(np.isfinite(array.sum()) for array in (z, offset, y, weight)):  # a sum is finite where all of it is
        raise DataError("votes: found features, targets or weights that are not finite numbers")
    k = len(precision)
    if not k:
        return np.zeros((n, 0)), np.zeros((n, 0, 0))
    root = np.linalg.inv(np.linalg.cholesky(precision)).T  # l = mean + root @ eta
    mean = np.broadcast_to(np.asarray(mean, np.float64), (n, k))
    found, covariance = np.array(mean), np.empty((n, k, k))
    if n == 1 and (who == 0).all():  # many times faster for the one who waits
        eta, hessian = _newton_of_one(z @ root, offset + z @ mean[0], y, weight)
        return found + root @ eta, (root @ np.linalg.inv(hessian) @ root.T)[None]
    covariance[:] = root @ root.T
    for rows, votes in _groups(z, offset, y, weight, who, n):
        centred = votes.offset + (votes.z @ mean[rows][:, :, None])[:, :, 0]
        eta, hessian = _newton(votes._replace(z=votes.z @ root, offset=centred))
        found[rows] += eta @ root.T
        covariance[rows] = root @ np.linalg.inv(hessian) @ root.T
    return found, covariance


class _Group(NamedTuple):
    """g people with at most t votes each; what is missing has weight 0."""

    z: Floats
    """`[g, t, k]`."""
    offset: Floats
    """`[g, t]`."""
    y: Floats
    weight: Floats


def runs(who: Ints, n: int, k: int) -> Iterator[tuple[Ints, Ints, npt.NDArray[np.bool_]]]:
    """People of about as many votes together, so that all of it is a few large products.

    Yields people `[g]`, the places of their votes in `who` `[g, t]`, and which of these are there; people without votes
    are left out. `k` numbers are worked on for each vote, and `k²` for each person.
    """
    order = np.arange(len(who)) if (np.diff(who) >= 0).all() else np.argsort(who, kind="stable")
    counts = np.bincount(who[who >= 0], minlength=n)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]]) + (who < 0).sum()
    octave = np.floor(np.log2(np.maximum(counts - 1, 4))).astype(np.int64)
    step = 2 ** (octave - 2)
    padded = -(-counts // step) * step  # 1 to 8, 10, 12, 14, 16, 20, 24, …
    for most in np.unique(padded[counts > 0]):
        people = np.flatnonzero((padded == most) & (counts > 0))
        at_once = max(1, NUMBERS // int(k * (most + k)))
        for rows in (people[i : i + at_once] for i in range(0, len(people), at_once)):
            slot = np.arange(most)
            there = slot < counts[rows][:, None]
            yield rows, order[np.where(there, starts[rows][:, None] + slot, starts[rows][:, None])], there


def _groups(z: Floats, offset: Floats, y: Floats, weight: Floats, who: Ints, n: int) -> Iterator[tuple[Ints, _Group]]:
    for rows, votes, there in runs(who, n, z.shape[1]):
        yield rows, _Group(z[votes].astype(np.float64), offset[votes], y[votes], weight[votes] * there)


def _newton(votes: _Group) -> tuple[Floats, Floats]:
    """The maximum `[g, k]` with the prior N(0, 1), and the Hessian there `[g, k, k]`."""
    z, s, y, weight = votes
    turned, one = z.swapaxes(1, 2), np.eye(z.shape[2])
    eta: Floats = np.zeros((len(z), z.shape[2]))
    loss = _loss(s, y, weight, eta)
    last = False
    for _ in range(MOST):
        p = expit(s)
        hessian = (turned * (weight * p * (1 - p))[:, None]) @ z + one
        if last:
            break
        gradient = (turned @ (weight * (p - y))[:, :, None])[:, :, 0] + eta
        step = np.linalg.solve(hessian, -gradient[:, :, None])[:, :, 0]
        along = (z @ step[:, :, None])[:, :, 0]
        eta, s, loss = _descend(votes, (eta, s, loss), step, along)
        last = bool(np.abs(step).max() < CLOSE)
    return eta, hessian


def _descend(
    votes: _Group, at: tuple[Floats, Floats, Floats], step: Floats, along: Floats
) -> tuple[Floats, Floats, Floats]:
    """Take the step, halved for whomever it would take uphill."""
    eta, s, loss = at
    slack = 1e-12 * (1 + loss)  # what rounding may add
    length = np.ones((len(eta), 1))
    for _ in range(60):
        new = _loss(s + length * along, votes.y, votes.weight, eta + length * step)
        uphill = ~(new <= loss + slack)
        if not uphill.any():
            break
        length[uphill] /= 2
    return eta + length * step, s + length * along, new


def _newton_of_one(z: Floats, s: Floats, y: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """`_newton` for one person: `z` `[t, k]`, the others `[t]`."""
    eta, one = np.zeros(z.shape[1]), np.eye(z.shape[1])
    loss, close = float(_loss(s, y, weight, eta)), False
    for _ in range(MOST):
        p = expit(s)
        hessian = (z.T * (weight * p * (1 - p))) @ z + one
        if close:
            break
        _, step, _ = dposv(hessian, z.T @ (weight * (y - p)) - eta)
        along, length, slack = z @ step, 1.0, 1e-12 * (1 + loss)
        for _ in range(60):
            new = float(_loss(s + length * along, y, weight, eta + length * step))
            if new <= loss + slack:
                break
            length /= 2
        eta, s, loss, close = eta + length * step, s + length * along, new, bool(abs(step).max() < CLOSE)
    return eta, hessian


def _loss(s: Floats, y: Floats, weight: Floats, eta: Floats) -> Floats:
    """What is minimised, summed over the last dimension."""
    return np.asarray((weight * (np.logaddexp(0, s) - y * s)).sum(-1) + 0.5 * (eta * eta).sum(-1))
