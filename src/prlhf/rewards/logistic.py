"""Ridge logistic regression on differences of features: among items where they repeat, by Newton or by L-BFGS."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.sparse import coo_array
from scipy.special import expit

from prlhf.rewards.newton import fit_many
from prlhf.rewards.scales import checked, slices
from prlhf.rewards.votes import Votes

__all__ = ["Design", "Regression", "Span", "fit_around", "folds"]

Array = npt.NDArray[np.floating]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

DOUBLE = 30_000_000
"""So many numbers are held in 64 bits; more in 32, which L-BFGS bears."""
NEWTON = 5e9
"""So many multiplications may a Hessian cost; beyond, L-BFGS's many steps are cheaper than Newton's few."""


@dataclass(frozen=True)
class Design:
    """b margins as a linear function of p parameters: a weight for each scaled feature, then, with `effects`, one for
    each item."""

    x: Array
    """Scaled features of items `[m, f]`, or of the differences `[b, f]`: whatever is less."""
    chosen: Ints | None
    """`[b]`, place in `x`; None where its rows are differences."""
    rejected: Ints | None
    effects: bool = False

    @classmethod
    def of(cls, votes: Votes, scale: Floats, *, effects: bool = False) -> Design:
        """Of votes whose features are divided by `scale` `[f]`."""
        x = checked(votes.items, len(scale))
        repeated = effects or len(x) < len(votes)
        kind = np.float64 if min(len(x), len(votes)) * len(scale) <= DOUBLE else np.float32
        if repeated:
            return cls(x / scale.astype(kind), votes.chosen, votes.rejected, effects)
        d = np.empty((len(votes), len(scale)), kind)  # not `votes.differences`, which would be held as well
        for rows in slices(*d.shape):
            d[rows] = (x[votes.chosen[rows]] - x[votes.rejected[rows]]) / scale
        return cls(d, None, None)

    @property
    def size(self) -> int:
        """p."""
        return int(self.x.shape[1]) + (len(self.x) if self.effects else 0)

    @property
    def cost(self) -> int:
        """Multiplications of a Hessian."""
        return len(self.x) * self.size**2

    def margins(self, theta: Floats) -> Floats:
        """`[b]`."""
        width = self.x.shape[1]
        scores = (self.x @ theta[:width].astype(self.x.dtype)).astype(np.float64)
        if self.effects:
            scores += theta[width:]
        if self.chosen is None or self.rejected is None:
            return scores
        return scores[self.chosen] - scores[self.rejected]

    def pulled(self, pull: Floats) -> Floats:
        """The transpose: what each parameter gets `[p]` of what each margin gets `[b]`."""
        if self.chosen is not None and self.rejected is not None:
            m = len(self.x)
            pull = np.bincount(self.chosen, pull, m).astype(np.float64) - np.bincount(self.rejected, pull, m)
        weights = (self.x.T @ pull.astype(self.x.dtype)).astype(np.float64)
        return np.concatenate([weights, pull]) if self.effects else weights

    def gram(self, weight: Floats) -> Floats:
        """`sum_b weight d d'` `[p, p]` of the differences d."""
        if self.chosen is None or self.rejected is None:
            return np.asarray((self.x.T * weight.astype(self.x.dtype)) @ self.x, np.float64)
        a, b, m = self.chosen, self.rejected, len(self.x)
        values = np.concatenate([weight, weight, -weight, -weight])
        laplacian = coo_array((values, (np.r_[a, b, a, b], np.r_[a, b, b, a])), shape=(m, m)).tocsr()
        pulled = laplacian @ self.x
        whole = np.asarray(self.x.T @ pulled, np.float64)
        return np.block([[whole, pulled.T], [pulled, laplacian.toarray()]]) if self.effects else whole


@dataclass(frozen=True)
class Regression:
    """The loss `sum_b weight (log(1 + e^s) - y s) + theta' diag(precision) theta / 2` of the margins s of a design."""

    design: Design
    y: Floats
    weight: Floats
    precision: Floats
    """`[p]`."""

    def loss(self, theta: Floats) -> tuple[float, Floats]:
        """And its gradient `[p]`."""
        s = self.design.margins(theta)
        value = self.weight @ (np.logaddexp(0, s) - self.y * s) + 0.5 * self.precision @ theta**2
        pull = self.weight * (expit(s) - self.y)
        return float(value), self.design.pulled(pull) + self.precision * theta

    def hessian(self, theta: Floats) -> Floats:
        """`[p, p]`."""
        p = expit(self.design.margins(theta))
        return self.design.gram(self.weight * p * (1 - p)) + np.diag(self.precision)

    def fit(self, start: Floats | None = None, *, rough: bool = False) -> Floats:
        """The parameters `[p]` where the loss is least; `rough`: near enough to compare losses."""
        theta = np.zeros(self.design.size) if start is None else start
        if self.design.cost <= NEWTON:
            return self._newton(theta, 1e-6 if rough else 1e-14)
        rough = rough or self.design.x.dtype == np.float32
        settings = {"maxiter": 500, "maxcor": 20, "ftol": 1e-9 if rough else 1e-12, "gtol": 1e-3 if rough else 1e-5}
        return np.asarray(minimize(self.loss, theta, jac=True, method="L-BFGS-B", options=settings).x)

    def _newton(self, theta: Floats, tolerance: float) -> Floats:
        """Until a step promises less than `tolerance` of the loss."""
        value, gradient = self.loss(theta)
        for _ in range(100):
            step = np.linalg.solve(self.hessian(theta), -gradient)
            length, promised = 1.0, -gradient @ step
            while (new := self.loss(theta + length * step))[0] > value + 1e-12 * (1 + abs(value)) and length > 1e-12:
                length /= 2
            theta, (value, gradient) = theta + length * step, new
            if promised <= tolerance * (1e-12 + abs(value)):
                break
        return theta


@dataclass(frozen=True)
class Span:
    """The directions of feature space that a person's votes say anything about; beside them a ridge keeps weights at 0.

    With r directions instead of f features a person's regression, and its ridge, stay what they are.
    """

    difference: Floats
    """`[t, f]`, scaled."""
    z: Floats
    """`[t, r]`, the votes in an orthonormal basis of the directions."""
    basis: Floats | None
    """`[t, r]`: a vector `l` in that basis has the weights `difference' basis l`; None: the basis is the features."""

    @classmethod
    def of(cls, difference: Floats) -> Span:
        if len(difference) >= difference.shape[1]:
            return cls(difference, difference, None)
        values, vectors = np.linalg.eigh(difference @ difference.T)
        kept = values > 1e-10 * max(values.max(initial=0), 1e-10)
        root = np.sqrt(values[kept])
        return cls(difference, vectors[:, kept] * root, vectors[:, kept] / root)

    def weights(self, coordinates: Floats) -> Floats:
        """Of r coordinates, in feature space `[f]`."""
        return coordinates if self.basis is None else self.difference.T @ (self.basis @ coordinates)


def fit_around(
    votes: Votes, scale: Floats, centre: Floats, ridge: float, weight: float = 1.0
) -> npt.NDArray[np.float32]:
    """Each person's own weights minus `centre` `[n, f]`: their ridge logistic regression, drawn towards the centre.

    Args:
        scale: `[f]`, divides the features.
        centre: `[f]`, of scaled features.
        weight: times that of each vote.
    """
    checked(votes.items, len(scale))
    offsets = np.zeros((len(votes.names), len(scale)), np.float32)
    for person, rows in by_person(votes):
        own = votes.take(rows)
        span = Span.of(own.differences / scale)
        r, t = span.z.shape[1], len(rows)
        data = (span.z, span.difference @ centre, own.y, weight * own.weight, np.zeros(t, np.int64))
        found, _ = fit_many(*data, 1, np.zeros(r), ridge * np.eye(r))
        offsets[person] = span.weights(found[0])
    return offsets


def by_person(votes: Votes) -> list[tuple[int, Ints]]:
    """Each person with votes, and the rows of theirs."""
    order = np.argsort(votes.user, kind="stable")
    people, counts = np.unique(votes.user, return_counts=True)
    ends = np.cumsum(counts)
    return [(int(u), order[end - t : end]) for u, t, end in zip(people, counts, ends, strict=True) if u >= 0]


def folds(votes: Votes, count: int, seed: int) -> Ints:
    """One of `count` folds for each vote `[b]`; all votes on a pair are in one."""
    pairs, which = np.unique(votes.pair, return_inverse=True)
    return np.asarray(np.random.default_rng(seed).permutation(len(pairs))[which] % count)
