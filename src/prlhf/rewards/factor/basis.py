"""From features to the coordinates that the factor model is linear in: scaled, rotated, with smooth functions or not."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist
from sklearn.utils.extmath import randomized_svd

from prlhf.rewards.votes import Votes

__all__ = ["Basis"]

Array = npt.NDArray[np.floating]
_LANDMARKS = 400
_NEGLIGIBLE = 1e-6  # of the largest variance


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
        x = votes.items.x
        d = votes.differences
        mean_square = np.einsum("bf,bf->f", d, d, dtype=np.float64) / max(len(d), 1)
        scale = np.sqrt(mean_square)
        scale = np.where(scale > 1e-7 * max(float(np.abs(x).max(initial=0)), 1e-30), scale, np.inf)
        plain = cls(scale, np.zeros((0, 0)), np.zeros(0), np.zeros((0, x.shape[1])), np.zeros((0, 0)), np.ones(1))
        held = plain._with_kernel(x) if nonlinear else plain
        z = held._spread(x)
        rotation = _principal(z[votes.chosen] - z[votes.rejected], components)
        centre = z[np.concatenate([votes.chosen, votes.rejected])].mean(0) @ rotation if len(d) else rotation.sum(0) * 0
        return cls(held.scale, rotation, centre, held.landmarks, held.whitening, held.width)

    def __call__(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Coordinates `[m, r]` of features `[m, f]`."""
        return np.asarray(self._spread(x) @ self.rotation - self.centre, np.float32)

    def _with_kernel(self, x: npt.NDArray[np.float32]) -> Self:
        """With landmarks among the responses, evenly spaced, and a width of the median distance."""
        z = x / self.scale
        landmarks = z[np.linspace(0, len(z) - 1, min(_LANDMARKS, len(z))).astype(np.int64)]
        apart = cdist(landmarks, landmarks, "sqeuclidean")
        width = float(np.median(apart[apart > 0])) if (apart > 0).any() else 1.0
        values, vectors = np.linalg.eigh(np.exp(-apart / width))
        keep = values > 1e-6 * values[-1]
        whitening = vectors[:, keep] / np.sqrt(values[keep])
        return type(self)(self.scale, self.rotation, self.centre, landmarks, whitening, np.array([width]))

    def _spread(self, x: npt.NDArray[np.float32]) -> Array:
        """Scaled features `[m, f]`, and the kernel's `[m, q]`, which weigh as much as those together."""
        z = np.asarray(x / self.scale, np.float32)
        if not len(self.landmarks):
            return z
        kernel = np.exp(-cdist(z, self.landmarks, "sqeuclidean") / self.width[0]) @ self.whitening
        return np.concatenate([z, (kernel * np.sqrt(x.shape[1] / 2)).astype(np.float32)], 1)

    def arrays(self) -> dict[str, Array]:
        """To be stored."""
        return {f"basis.{f.name}": getattr(self, f.name) for f in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, npt.NDArray[np.floating]]) -> Self:
        """What `arrays` gave."""
        return cls(**{f.name: arrays[f"basis.{f.name}"] for f in fields(cls)})


def _principal(d: Array, components: int) -> npt.NDArray[np.float32]:
    """Principal directions `[f, r]` of differences `[b, f]`, not centred: a pair has no order."""
    if not len(d):
        return np.zeros((d.shape[1], 0), np.float32)
    if d.shape[1] <= components:
        values, vectors = np.linalg.eigh((d.T @ d).astype(np.float64))
        values, vectors = values[::-1], vectors[:, ::-1]
    else:
        few = min(components, *d.shape)
        _, singular, across = randomized_svd(d, few, n_oversamples=10, n_iter=1, random_state=0)
        values, vectors = singular**2, across.T
    return vectors[:, values > _NEGLIGIBLE * max(float(values[0]), 1e-30)].astype(np.float32)
