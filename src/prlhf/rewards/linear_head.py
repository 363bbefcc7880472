"""`linear_head`: P-RM's second architecture (P-RLHF, arXiv 2402.05133, App. F.2) on features, to its exact optimum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.sparse import block_diag, csr_array
from scipy.special import expit

from prlhf.config.rewards.linear_head import LinearHead
from prlhf.rewards.base import Progress
from prlhf.rewards.linear import LinearReward
from prlhf.rewards.logistic import Design, Span, by_person, fit_around
from prlhf.rewards.scales import root_mean_square
from prlhf.rewards.states import States
from prlhf.rewards.votes import Votes

__all__ = ["AlphaMix", "LinearHeadReward"]

Floats = npt.NDArray[np.float64]


class LinearHeadReward(LinearReward):
    """`r = <e_0 + o_u, x>`; the generic user is `e_0`."""

    Config = LinearHead

    @classmethod
    def fit(
        cls,
        config: LinearHead,
        votes: Votes,
        *,
        validation: Votes | None = None,
        seed: int = 0,
        progress: Progress = lambda steps: steps,
    ) -> Self:
        scale = root_mean_square(votes)
        common = AlphaMix.of(config, votes, scale).fit()[: len(scale)]
        return cls._of(config, {"scale": scale, "common": common}, common, votes)

    def states_of(self, votes: Votes) -> States:
        scale, common = self.parameters["scale"], self.parameters["common"]
        offsets = fit_around(votes, scale, common, self.config.user_l2, self.config.alpha)
        return self._states(common + offsets, votes.counts)


@dataclass(frozen=True)
class AlphaMix:
    """`sum_b weight (alpha l(u) + (1 - alpha) l(u_0)) + common_l2 |e_0|^2 / 2 + user_l2 sum_u |o_u|^2 / 2`, convex in
    `e_0` and all `o_u` together. An offset is held in the span of its person's votes: the prior is 0 beyond it."""

    config: LinearHead
    common: Design
    own: csr_array
    """`[b, sum r]`, block by block the votes of each person in coordinates of their span."""
    y: Floats
    weight: Floats

    @classmethod
    def of(cls, config: LinearHead, votes: Votes, scale: Floats) -> AlphaMix:
        people = by_person(votes)
        blocks = [Span.of(votes.take(rows).differences / scale).z for _, rows in people]
        nobody = np.flatnonzero(votes.user < 0)
        blocks.append(np.zeros((len(nobody), 0)))
        order = np.concatenate([*(rows for _, rows in people), nobody])
        own = csr_array(block_diag(blocks, format="csr"))[np.argsort(order)]
        return cls(config, Design.of(votes, scale), own, votes.y, votes.weight)

    def loss(self, theta: Floats) -> tuple[float, Floats]:
        """Of `e_0` `[f]` and the coordinates of all offsets, one after the other; and its gradient."""
        f, alpha = self.common.size, self.config.alpha
        generic = self.common.margins(theta[:f])
        specific = generic + self.own @ theta[f:]
        own, common = (np.logaddexp(0, s) - self.y * s for s in (specific, generic))
        each = alpha * own + (1 - alpha) * common
        pull = self.weight * alpha * (expit(specific) - self.y)
        both = pull + self.weight * (1 - alpha) * (expit(generic) - self.y)
        l2 = np.repeat([self.config.common_l2, self.config.user_l2], [f, len(theta) - f])
        gradient = np.concatenate([self.common.pulled(both), self.own.T @ pull]) + l2 * theta
        return float(self.weight @ each + 0.5 * l2 @ theta**2), gradient

    def fit(self) -> Floats:
        """Where it is least, found in units in which its curvature is about 1."""
        f, alpha = self.common.size, self.config.alpha
        common = np.full(f, self.weight.sum() / 4 + self.config.common_l2)
        own = alpha / 4 * (self.own.multiply(self.own).T @ self.weight) + self.config.user_l2
        root = np.sqrt(np.concatenate([common, own]))

        def loss(scaled: Floats) -> tuple[float, Floats]:
            value, gradient = self.loss(scaled / root)
            return value, gradient / root

        settings = {"maxiter": 1000, "maxcor": 20, "ftol": 1e-10, "gtol": 1e-5}
        return np.asarray(minimize(loss, np.zeros(len(root)), jac=True, method="L-BFGS-B", options=settings).x) / root
