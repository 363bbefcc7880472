"""Logistic regressions of many people at once in few dimensions, with one Gaussian prior."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["fit_many"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def fit_many(
    z: Floats, offset: Floats, y: Floats, weight: Floats, who: Ints, n: int, mean: Floats, precision: Floats
) -> tuple[Floats, Floats]:
    """The most likely `l` of each person under `P(vote) = sigma(offset + <z, l>)` and `l ~ N(mean, precision^-1)`
    `[n, k]`, and Laplace's covariance there `[n, k, k]`; the votes `z` `[b, k]` of -1 are nobody's."""
    kept = np.flatnonzero(who >= 0)
    kept = kept[np.argsort(who[kept], kind="stable")]
    z, offset, y, weight, who = z[kept], offset[kept], y[kept], weight[kept], who[kept]
    found = np.tile(np.asarray(mean, np.float64), (n, 1))
    covariance = np.empty((n, z.shape[1], z.shape[1]))
    covariance[:] = np.linalg.inv(precision)
    ends = np.searchsorted(who, np.arange(n + 1))
    for person in np.unique(who):
        rows = slice(ends[person], ends[person + 1])
        found[person], covariance[person] = _fit(z[rows], offset[rows], y[rows], weight[rows], mean, precision)
    return found, covariance


def _fit(
    z: Floats, offset: Floats, y: Floats, weight: Floats, mean: Floats, precision: Floats
) -> tuple[Floats, Floats]:
    def loss(at: Floats) -> float:
        s = offset + z @ at
        return float(weight @ (np.logaddexp(0, s) - y * s) + (at - mean) @ precision @ (at - mean) / 2)

    at = np.array(mean, np.float64)
    for _ in range(100):
        p = 0.5 + 0.5 * np.tanh((offset + z @ at) / 2)
        hessian = (z.T * (weight * p * (1 - p))) @ z + precision
        step = np.linalg.solve(hessian, z.T @ (weight * (p - y)) + precision @ (at - mean))
        if np.abs(step).max() < 1e-9 * (1 + np.abs(at).max()):
            break
        now, length = loss(at), 1.0
        while length > 1e-9 and loss(at - length * step) > now + 1e-12 * (1 + now):
            length /= 2
        at = at - length * step
    return at, np.asarray(np.linalg.inv(hessian))
