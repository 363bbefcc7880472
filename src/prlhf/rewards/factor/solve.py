"""Preconditioned conjugate gradients on several arrays at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["Arrays", "solve"]

Arrays = list[npt.NDArray[np.float64]]


def solve(
    operator: Callable[[Arrays], Arrays],
    right: Arrays,
    start: Arrays,
    diagonal: Arrays,
    steps: int,
    close: float = 1e-5,
) -> Arrays:
    """`x` with `operator(x) = right`, for a symmetric positive definite operator of about this `diagonal`.

    At most `steps` from `start`; fewer where the residual has become `close` to nothing beside the right side.
    """
    x = [np.array(a) for a in start]
    residual = [b - a for b, a in zip(right, operator(x), strict=True)]
    scaled = [r / d for r, d in zip(residual, diagonal, strict=True)]
    direction = [s.copy() for s in scaled]
    size = _dot(residual, scaled)
    enough = close**2 * _dot(right, [b / d for b, d in zip(right, diagonal, strict=True)])
    for _ in range(steps):
        if size <= enough:
            break
        image = operator(direction)
        length = size / _dot(direction, image)
        for a, d, r, i in zip(x, direction, residual, image, strict=True):
            a += length * d
            r -= length * i
        scaled = [r / d for r, d in zip(residual, diagonal, strict=True)]
        size, before = _dot(residual, scaled), size
        direction = [s + size / before * d for s, d in zip(scaled, direction, strict=True)]
    return x


def _dot(a: Sequence[npt.NDArray[np.float64]], b: Sequence[npt.NDArray[np.float64]]) -> float:
    return float(sum(np.vdot(x, y) for x, y in zip(a, b, strict=True)))
