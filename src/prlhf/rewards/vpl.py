"""VPL (Poddar et al., arXiv 2408.10075): a person is a latent vector that a network reads off their votes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import numpy.typing as npt

from prlhf.config.rewards.base import AnyReward
from prlhf.config.rewards.vpl import Vpl
from prlhf.rewards.base import Progress, Reward, VectorReward
from prlhf.rewards.scales import inverse_scales, scaled
from prlhf.rewards.states import States, UserTable
from prlhf.rewards.votes import Items, Votes

if TYPE_CHECKING:
    from prlhf.rewards.vpl_network import Network

__all__ = ["VplReward"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

NETWORK = "network."
ACTIVE = 0.01
"""A dimension is active where its mean varies more than this over users (Burda et al., arXiv 1509.00519)."""
ROWS = 1 << 14
"""Rewards that are computed at a time."""


class VplReward(VectorReward):
    """`r(x, y, z)`; a state is the mean and the variance of a person's `z`, which give a reward its own (delta method).

    `z` is 0 with variance 1, the prior, for whoever has no votes.
    """

    Config: ClassVar[type[AnyReward]] = Vpl
    stops_early: ClassVar[bool] = True

    @classmethod
    def fit(
        cls,
        config: Vpl,
        votes: Votes,
        *,
        validation: Votes | None = None,
        seed: int = 0,
        progress: Progress = lambda steps: steps,
    ) -> Self:
        from prlhf.rewards.vpl_training import train

        scale = {"inverse_scale": inverse_scales(votes), "centre": votes.items.x.mean(axis=0, dtype=np.float64)}
        held_out = (
            (validation, _standard(validation.items, scale)) if validation is not None and len(validation) else None
        )
        network, epochs = train(config, votes, _standard(votes.items, scale), held_out, seed, progress)
        weights = {NETWORK + name: value.numpy() for name, value in network.state_dict().items()}
        d = config.latent
        generic = States({"mean": np.zeros((1, d)), "variance": np.ones((1, d))}, np.zeros(1, np.int64))
        model = cls(config, scale | weights, UserTable.of(generic, [], generic.take(slice(0, 0))))
        mean, log_variance = model._posteriors(votes)
        model.parameters |= _usage(mean[votes.counts > 0], log_variance[votes.counts > 0])
        model.users = UserTable.of(generic, votes.names, model._states(mean, log_variance, votes))
        model.ended = None if held_out is None else config.model_copy(update={"stop": epochs})
        return model

    @property
    def active_units(self) -> int:
        """Dimensions of `z` that say something about people; 0 = the posterior collapsed, all are the same person."""
        return int((self.parameters["usage.variance"] > ACTIVE).sum())

    @property
    def kl(self) -> Floats:
        """The mean over training users of each latent dimension's KL to the prior, in nats `[d]`."""
        return np.asarray(self.parameters["usage.kl"])

    def states_of(self, votes: Votes) -> States:
        return self._states(*self._posteriors(votes), votes)

    def reward(self, items: Items, a: Ints, b: Ints | None, states: States, who: Ints) -> Reward:
        import torch

        with torch.no_grad():
            response = self._network.response(torch.from_numpy(_standard(items, self.parameters)).double())
        mean, variance = np.empty(len(a)), np.empty(len(a))
        for rows in _pieces(len(a)):
            z = torch.from_numpy(np.array(states["mean"][who[rows]], np.float64)).requires_grad_()
            found = self._network.decode(response[a[rows]], z)
            if b is not None:
                found = found - self._network.decode(response[b[rows]], z)
            (slope,) = torch.autograd.grad(found.sum(), z)
            mean[rows] = found.detach().numpy()
            variance[rows] = (slope.numpy() ** 2 * states["variance"][who[rows]]).sum(axis=1)
        return Reward(mean, variance)

    @cached_property
    def _network(self) -> Network:
        """In double precision, so that a reward does not depend on what it is computed beside."""
        import torch

        from prlhf.rewards.vpl_network import Network

        with torch.random.fork_rng(devices=[]):
            network = Network(self.config, len(self.parameters["inverse_scale"])).double()
        weights = {n: torch.tensor(a) for n, a in self.parameters.items() if n.startswith(NETWORK)}
        network.load_state_dict({name.removeprefix(NETWORK): w for name, w in weights.items()})
        return network.eval().requires_grad_(False)

    def _posteriors(self, votes: Votes) -> tuple[Floats, Floats]:
        import torch

        from prlhf.rewards.vpl_training import posteriors

        found = posteriors(self._network, votes, torch.from_numpy(_standard(votes.items, self.parameters)).double())
        return found[0].numpy(), found[1].numpy()

    def _states(self, mean: Floats, log_variance: Floats, votes: Votes) -> States:
        variance = np.exp(log_variance)
        if self.config.normalise == "always":
            length = np.linalg.norm(mean, axis=1, keepdims=True)
            whole = math.sqrt(mean.shape[1])
            factor = np.divide(whole, length, out=np.ones_like(length), where=length > 0)
            mean, variance = mean * factor, variance * factor**2
        return States({"mean": mean, "variance": variance}, votes.counts)


def _standard(items: Items, scale: dict[str, npt.NDArray[np.float64]]) -> npt.NDArray[np.float32]:
    """Features of which the mean over training items is 0; a network, unlike a linear model, would notice."""
    return scaled(items, scale["inverse_scale"]) - (scale["centre"] * scale["inverse_scale"]).astype(np.float32)


def _usage(mean: Floats, log_variance: Floats) -> dict[str, Floats]:
    """What `active_units` and `kl` are made of; nothing where nobody voted."""
    if not len(mean):
        return {"usage.variance": np.zeros(mean.shape[1]), "usage.kl": np.zeros(mean.shape[1])}
    kl = 0.5 * (mean**2 + np.exp(log_variance) - log_variance - 1)
    return {"usage.variance": mean.var(axis=0), "usage.kl": kl.mean(axis=0)}


def _pieces(n: int) -> Iterator[slice]:
    for i in range(0, n, ROWS):
        yield slice(i, i + ROWS)
