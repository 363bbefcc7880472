"""From features to the coordinates that the factor model is linear in: scaled, rotated, perhaps with smooth ones."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import numpy.typing as npt
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.utils.extmath import randomized_range_finder

from prlhf.rewards.scales import slices, spread
from prlhf.rewards.votes import Votes

__all__ = ["Bases", "Basis"]

Array = npt.NDArray[np.floating]
_LANDMARKS = 400
_COORDINATES, _SEARCHED = 128, 1 << 23
"""Strengths are looked for in the first coordinates: so many at least, or so many numbers in all."""
_ENOUGH, _NUMBERS = 1 << 13, 1 << 25
"""Votes whose differences say what the principal directions are; or so many numbers in all."""
_NEGLIGIBLE = 1e-6  # of the largest variance
_ROUNDING = 1e-6  # of a feature's largest value: what differs by less does not differ, in 32 bits


@dataclass(frozen=True)
class Basis:
    """Divide by `scale` `[f]`, append the Gaussian kernel's `landmarks` `[q, f]` where there are any, rotate.

    Differences between responses have mean square 1 in each feature before the rotation; a feature that never differs
    counts nothing. Coordinates are ordered by how much pairs differ in them.
    """

    scale: Array
    rotation: Array
    """`[f + q, r]`."""
    centre: Array
    """`[r]`, of the responses in the votes: where a score is 0."""
    landmarks: Array
    whitening: Array
    """`[q, q]`, which makes the kernel's values at the landmarks uncorrelated features."""
    width: Array
    """`[1]`, of the kernel: its squared length."""

    @classmethod
    def of(cls, votes: Votes, components: int, *, nonlinear: bool = False) -> Self:
        """Learned from the responses of votes, whichever of a pair was chosen."""
        x, apart = votes.items.x, spread(votes)
        scale = np.where(apart > _ROUNDING * np.abs(x).max(0, initial=0), apart, np.inf)
        plain = cls(scale, np.zeros((0, 0)), np.zeros(0), np.zeros((0, x.shape[1])), np.zeros((0, 0)), np.ones(1))
        held = plain._with_kernel(x) if nonlinear else plain
        gram, mean = held._moments(votes)
        rotation = _leading(gram, min(components, len(votes)))
        centre = mean @ rotation
        return cls(held.scale, rotation, centre, held.landmarks, held.whitening, held.width)

    def __call__(self, x: npt.NDArray[np.float32], first: int | None = None) -> npt.NDArray[np.float32]:
        """Coordinates `[m, r]` of features `[m, f]`, or the `first` of them."""
        rotation, centre = np.ascontiguousarray(self.rotation[:, :first]), self.centre[:first]
        found = np.empty((len(x), rotation.shape[1]), np.float32)
        for some in slices(len(x), x.shape[1]):
            found[some] = self._spread(x[some]) @ rotation - centre
        return found

    def weights(self, along: Array) -> Array:
        """What weights `along` `[r, q]` of coordinates are on features `[f, q]`, up to a constant; where there are no
        landmarks."""
        return np.asarray((self.rotation @ along) / self.scale[:, None])

    def _moments(self, votes: Votes) -> tuple[Array, Array]:
        """Of scaled features: the products of the differences `[f + q, f + q]`, not centred since a pair has no order,
        and the mean over the responses in votes `[f + q]`."""
        f = votes.items.width + self.whitening.shape[1]
        rows = np.linspace(0, len(votes) - 1, min(len(votes), max(_ENOUGH, _NUMBERS // f))).astype(np.int64)
        x, gram, total = votes.items.x, np.zeros((f, f)), np.zeros(f)
        for some in slices(len(rows), f):
            chosen, rejected = (self._spread(x[side[rows[some]]]) for side in (votes.chosen, votes.rejected))
            total += chosen.sum(0, np.float64) + rejected.sum(0, np.float64)
            d = chosen - rejected
            gram += d.T @ d
        return gram, total / max(2 * len(rows), 1)

    def _with_kernel(self, x: npt.NDArray[np.float32]) -> Self:
        """With landmarks among the responses, evenly spaced, and a width of the median distance."""
        landmarks = x[np.linspace(0, len(x) - 1, min(_LANDMARKS, len(x))).astype(np.int64)] / self.scale
        apart = euclidean_distances(landmarks, squared=True)
        width = float(np.median(apart[apart > 0])) if (apart > 0).any() else 1.0
        values, vectors = np.linalg.eigh(np.exp(-apart / width))
        keep = values > 1e-6 * values[-1]
        whitening = vectors[:, keep] / np.sqrt(values[keep])
        return type(self)(self.scale, self.rotation, self.centre, landmarks, whitening, np.array([width]))

    def _spread(self, x: npt.NDArray[np.float32]) -> Array:
        """Scaled features `[m, f]`, and the kernel's `[m, q]`, which weigh as much as those together."""
        z = np.asarray(x / self.scale.astype(np.float32), np.float32)
        if not len(self.landmarks):
            return z
        middle = self.landmarks.mean(0)  # taken away, since distances are those of 32 bits
        centred, landmarks = (z - middle).astype(np.float32), (self.landmarks - middle).astype(np.float32)
        apart = -2 * (centred @ landmarks.T) + np.einsum("mf,mf->m", centred, centred)[:, None] + (landmarks**2).sum(1)
        kernel = np.exp(-np.maximum(apart, 0) / np.float32(self.width[0])) @ self.whitening.astype(np.float32)
        return np.concatenate([z, kernel * np.float32(np.sqrt(x.shape[1] / 2))], 1)

    def arrays(self) -> dict[str, Array]:
        """To be stored."""
        return {f"basis.{f.name}": getattr(self, f.name) for f in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, npt.NDArray[np.floating]]) -> Self:
        """What `arrays` gave."""
        return cls(**{f.name: arrays[f"basis.{f.name}"] for f in fields(cls)})


class Bases:
    """The bases of votes without and with smooth functions of the features, each made once: it looks at no label, so
    that parts of the votes may share it."""

    def __init__(self, votes: Votes, components: int):
        self.votes, self.components = votes, components
        self._made: dict[bool, Basis] = {}

    def __call__(self, nonlinear: bool) -> Basis:
        """One of them."""
        if nonlinear not in self._made:
            self._made[nonlinear] = Basis.of(self.votes, self.components, nonlinear=nonlinear)
        return self._made[nonlinear]

    def first(self, nonlinear: bool) -> npt.NDArray[np.float32]:
        """The coordinates `[m, r]` of all items in which strengths are looked for."""
        few = max(_COORDINATES, _SEARCHED // max(min(len(self.votes), len(self.votes.items)), 1))
        return self(nonlinear)(self.votes.items.x, few)


def _leading(gram: Array, components: int) -> npt.NDArray[np.float32]:
    """Eigenvectors `[f, r]` of the largest eigenvalues, those that are nothing left out."""
    if not components:
        return np.zeros((len(gram), 0), np.float32)
    if len(gram) <= components:
        values, vectors = np.linalg.eigh(gram)
    else:
        gram = (gram / max(float(np.trace(gram)), 1e-30)).astype(np.float32)
        size = min(components + 10, len(gram))
        range_ = randomized_range_finder(gram, size=size, n_iter=1, power_iteration_normalizer="LU", random_state=0)
        values, inside = np.linalg.eigh((range_.T @ (gram @ range_)).astype(np.float64))
        vectors = range_ @ inside[:, -components:].astype(np.float32)
        values = values[-components:]
    values, vectors = values[::-1], vectors[:, ::-1]
    return np.asarray(vectors[:, values > _NEGLIGIBLE * max(float(values[0]), 1e-30)], np.float32)
