"""Meeting a person: where they stand, from a few votes, with everything else frozen.

The same bound as in training (`em`), iterated to its fixed point: each vote is a Gaussian observation of its margin
with precision `omega(xi)`, `xi² = E[z²]`. What is unsure about the loadings of a pair adds to the ridge, so that
somebody with thousands of votes does not fit the errors that are left in them. The covariance is Laplace's at that
mean.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.linalg.lapack import dpotrf, dpotri
from scipy.special import expit

from prlhf.rewards.newton import runs

__all__ = ["Evidence", "meet", "observed", "omega"]

Floats = npt.NDArray[np.float64]
_STEPS = 25
_LEAST = 0.3
"""Share of its information that a vote keeps at least where it may be the wrong way round: steps stay bounded."""
_CLOSE = 1e-4
"""Change of a mean, in units of its prior's spread, at which it is found."""


class Evidence(NamedTuple):
    """b votes, or g people with t votes each (`[g, t]` for `[b]`)."""

    phi: Floats
    """`[b, k]`, difference of the loadings."""
    phi_variance: Floats
    """`[b, k]`."""
    offset: Floats
    """`[b]`, what the crowd and the position say of the pair; `unsure` `[b]` is its variance."""
    unsure: Floats
    y: Floats
    weight: Floats


def meet(votes: Evidence, who: npt.NDArray[np.int64], mean: Floats, flips: float) -> tuple[Floats, Floats]:
    """Mean `[n, k]` and covariance `[n, k, k]` of people under the prior N(mean, 1).

    Args:
        who: `[b]`, the person; -1 is nobody.
        mean: `[n, k]`.
        flips: the share of votes that are the wrong way round.
    """
    n, k = mean.shape
    found, covariance = mean.copy(), np.tile(np.eye(k), (n, 1, 1))
    if not k:
        return found, covariance
    if n == 1 and (who == 0).all():  # the same, with fewer calls, for the one who waits
        found[0], covariance[0] = _alone(votes, mean[0], flips)
        return found, covariance
    for people, places, there in runs(who, n, k):
        some = Evidence(*(column[places] for column in votes))
        some = some._replace(weight=some.weight * there)
        found[people], covariance[people] = _together(some, mean[people], flips)
    return found, covariance


def _together(votes: Evidence, prior: Floats, flips: float) -> tuple[Floats, Floats]:
    """Of g people with t votes each: mean `[g, k]`, covariance `[g, k, k]`."""
    phi, turned = votes.phi, votes.phi.swapaxes(1, 2)
    one = np.eye(prior.shape[1])
    mean, covariance = prior, np.broadcast_to(one, (len(prior), *one.shape))
    for _ in range(_STEPS):
        z, variance = _margins(votes, mean, covariance)
        information, pull = observed(votes.y, votes.weight, z, variance, flips)
        covariance = np.asarray(np.linalg.inv(_precision(votes, turned, information, one)), np.float64)
        target = pull - information * votes.offset
        new = (covariance @ ((turned @ target[:, :, None]) + prior[:, :, None]))[:, :, 0]
        moved = float(np.abs(new - mean).max(initial=0))
        mean = new
        if moved < _CLOSE:
            break
    z = votes.offset + (phi @ mean[:, :, None])[:, :, 0]
    precision = _precision(votes, turned, votes.weight * _information(z, flips), one)
    return mean, np.asarray(np.linalg.inv(precision), np.float64)


def _alone(votes: Evidence, prior: Floats, flips: float) -> tuple[Floats, Floats]:
    """`_together` of one person: mean `[k]`, covariance `[k, k]`."""
    phi, phi_variance, offset, unsure, y, weight = votes
    turned, mean, covariance = np.ascontiguousarray(phi.T), prior, np.eye(len(prior))

    def inverse(information: Floats) -> Floats:
        precision = (turned * information) @ phi
        precision.flat[:: len(prior) + 1] += information @ phi_variance + 1
        root, _ = dpotrf(precision, lower=1)
        half, _ = dpotri(root, lower=1)
        return np.asarray(half + half.T - np.diag(half.diagonal()))

    z = offset + phi @ mean
    for _ in range(_STEPS):
        variance = unsure + ((phi @ covariance) * phi).sum(1) + phi_variance @ (mean**2 + covariance.diagonal())
        information, pull = observed(y, weight, z, variance, flips)
        covariance = inverse(information)
        new = covariance @ (turned @ (pull - information * offset) + prior)
        moved = float(abs(new - mean).max(initial=0))
        mean = new
        z = offset + phi @ mean
        if moved < _CLOSE:
            break
    return mean, inverse(weight * _information(z, flips))


def _margins(votes: Evidence, mean: Floats, covariance: Floats) -> tuple[Floats, Floats]:
    """Mean and variance of each vote's margin `[g, t]`."""
    phi = votes.phi
    second = mean**2 + np.diagonal(covariance, axis1=1, axis2=2)
    variance = votes.unsure + ((phi @ covariance) * phi).sum(2) + (votes.phi_variance @ second[:, :, None])[:, :, 0]
    return votes.offset + (phi @ mean[:, :, None])[:, :, 0], variance


def _precision(votes: Evidence, turned: Floats, information: Floats, one: Floats) -> Floats:
    """The prior's, the votes', and what the unsure loadings add `[g, k, k]`."""
    unsure = (information[:, None, :] @ votes.phi_variance)[:, 0, :, None] * one
    return np.asarray((turned * information[:, None, :]) @ votes.phi + unsure + one)


def observed(y: Floats, weight: Floats, z: Floats, variance: Floats, flips: float) -> tuple[Floats, Floats]:
    """The votes as Gaussian observations around margins of mean `z` and `variance` (any shape): information and pull.

    A vote adds `pull z' - information z'² / 2` to what is maximised.

    A vote may be the wrong way round: its label is what it probably was. As long as that is not known a vote says less,
    which is taken off its information, since steps would be much too short otherwise.
    """
    information = omega(np.sqrt(z * z + variance))
    if not flips:
        return information * weight, (y - 0.5) * weight
    p = np.clip(expit(z), 1e-12, 1 - 1e-12)
    soft = np.where(y == 1, (1 - flips) * p / ((1 - flips) * p + flips * (1 - p)), y)
    less = np.maximum(_information(z, flips) / (p * (1 - p)), _LEAST)
    return information * less * weight, (soft - 0.5 - information * (1 - less) * z) * weight


def _information(z: Floats, flips: float) -> Floats:
    """Fisher's, of a vote on a margin `z`."""
    p = np.clip(expit(z), 1e-12, 1 - 1e-12)
    told = flips + (1 - 2 * flips) * p
    return np.asarray(((1 - 2 * flips) * p * (1 - p)) ** 2 / (told * (1 - told)))


def omega(xi: Floats) -> Floats:
    """`tanh(xi / 2) / (2 xi)`, 1/4 at 0."""
    xi = np.maximum(xi, 1e-6)
    return np.asarray(np.tanh(xi / 2) / (2 * xi))
