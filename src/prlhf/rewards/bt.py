"""`bt`: one Bradley-Terry model for everybody (Bradley & Terry 1952), with a ridge, and optionally item effects."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

from prlhf.config.rewards.bt import Bt
from prlhf.rewards.base import Progress, Reward, VectorReward
from prlhf.rewards.logistic import Design, Regression, folds
from prlhf.rewards.scales import checked, products, root_mean_square, slices
from prlhf.rewards.states import States, UserTable
from prlhf.rewards.votes import Items, Votes

__all__ = ["BtReward", "choose_ridge", "fit_pooled"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

GRID = tuple(10.0 ** (e / 2) for e in range(8, -3, -1))
"""Ridges that `auto` tries, strongest first: 10,000 to 0.1."""
FOLDS = 5
LARGE = 2e8
"""Where a Hessian costs more multiplications, one of the folds decides for all."""
COVARIANCE = 1024
"""With more parameters there is no variance: a covariance would cost more than the rest."""


class BtReward(VectorReward):
    """`r = <w, x> + v_item`, the same for everybody; `variance` is Laplace's, 0 with more than 1,024 parameters."""

    Config = Bt

    @classmethod
    def fit(
        cls,
        config: Bt,
        votes: Votes,
        *,
        validation: Votes | None = None,
        seed: int = 0,
        progress: Progress = lambda steps: steps,
    ) -> Self:
        scale = root_mean_square(votes)
        design = Design.of(votes, scale, effects=config.item_effects)
        ridge = config.ridge
        if ridge == "auto":
            ridge = choose_ridge(design, votes, config.item_ridge, seed, progress)
        regression = _regression(design, votes, ridge, config.item_ridge)
        theta = regression.fit()
        root = np.zeros((len(theta), 0))
        if len(theta) <= COVARIANCE:
            root = np.linalg.inv(np.linalg.cholesky(regression.hessian(theta))).T
        each = np.concatenate([1 / scale, np.ones(len(theta) - len(scale))])[:, None]
        keys = votes.items.keys if config.item_effects else np.zeros(0, np.uint64)
        parameters = {"weights": each * np.column_stack([theta, root]), "keys": keys, "ridge": np.array([ridge])}
        nobody = States({}, np.zeros(1, np.int64))
        return cls(config, parameters, UserTable.of(nobody, votes.names, States({}, votes.counts)))

    def states_of(self, votes: Votes) -> States:
        checked(votes.items, self._width)
        return States({}, votes.counts)

    def reward(self, items: Items, a: Ints, b: Ints | None, states: States, who: Ints) -> Reward:
        weights, f = self.parameters["weights"], self._width
        parts = products(checked(items, f), weights[:f])
        place, seen = items.places_in(self.parameters["keys"])
        parts[seen] += weights[f:][place[seen]]
        beyond = np.where(seen, 0.0, 1 / self.config.item_ridge if self.config.item_effects else 0.0)
        mean, variance = np.empty(len(a)), np.empty(len(a))
        for rows in slices(len(a), parts.shape[1]):
            part, unseen = parts[a[rows]], beyond[a[rows]]
            if b is not None:
                part, unseen = part - parts[b[rows]], (unseen + beyond[b[rows]]) * (a[rows] != b[rows])
            mean[rows], variance[rows] = part[:, 0], (part[:, 1:] ** 2).sum(axis=1) + unseen
        return Reward(mean, variance if parts.shape[1] > 1 else np.zeros(len(a)))

    @property
    def personal(self) -> bool:
        return False

    @property
    def ridge(self) -> float:
        """What was given, or chosen."""
        return float(self.parameters["ridge"][0])

    @property
    def _width(self) -> int:
        return len(self.parameters["weights"]) - len(self.parameters["keys"])


def fit_pooled(
    votes: Votes, scale: Floats, ridge: float | Literal["auto"], seed: int, progress: Progress = lambda steps: steps
) -> Floats:
    """The weights of everybody together `[f]`, of features divided by `scale`."""
    design = Design.of(votes, scale)
    if ridge == "auto":
        ridge = choose_ridge(design, votes, 1.0, seed, progress)
    return _regression(design, votes, ridge, 1.0).fit()


def choose_ridge(design: Design, votes: Votes, item_ridge: float, seed: int, progress: Progress) -> float:
    """The ridge of `GRID` with the least log-loss on held-out pairs: from the strongest down, each from the fit before,
    until it becomes worse."""
    fold = folds(votes, FOLDS, seed)
    parts = [fold == i for i in range(FOLDS) if 0 < (fold == i).sum() < len(fold)]
    if not parts:
        return 10.0  # a single pair
    parts = parts[:1] if design.cost > LARGE else parts
    starts: list[Floats | None] = [None for _ in parts]
    losses: list[float] = []
    for ridge in progress(GRID):
        loss = 0.0
        for i, held in enumerate(parts):
            others = replace(votes, weight=votes.weight * ~held)
            theta = starts[i] = _regression(design, others, ridge, item_ridge).fit(starts[i], rough=True)
            s = design.margins(theta)
            loss += float((votes.weight * held) @ (np.logaddexp(0, s) - votes.y * s))
        losses.append(loss)
        if losses[-1] > min(losses):
            break
    return GRID[int(np.argmin(losses))]


def _regression(design: Design, votes: Votes, ridge: float, item_ridge: float) -> Regression:
    precision = np.full(design.size, item_ridge)
    precision[: design.x.shape[1]] = ridge
    return Regression(design, votes.y, votes.weight, precision)
