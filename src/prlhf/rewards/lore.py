"""`lore`: LoRe (Bose et al., arXiv 2504.14439): each person weighs a few rewards that all share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from prlhf.config.rewards.lore import Lore
from prlhf.rewards.base import Progress, Reward, VectorReward
from prlhf.rewards.logistic import Design
from prlhf.rewards.scales import checked, inverse_scales, products
from prlhf.rewards.states import States, UserTable
from prlhf.rewards.votes import Items, Votes

if TYPE_CHECKING:
    import torch

__all__ = ["EVERY", "LoreReward", "lore_loss"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

EVERY = 20
"""Steps between two looks at the validation votes."""


class LoreReward(VectorReward):
    """A person's state is `logits` `[n, B]`, the generic user's the mean of those trained; no variance (0)."""

    Config = Lore
    stops_early = True

    @classmethod
    def fit(
        cls,
        config: Lore,
        votes: Votes,
        *,
        validation: Votes | None = None,
        seed: int = 0,
        progress: Progress = lambda steps: steps,
    ) -> Self:
        inverse = inverse_scales(votes)
        scale = np.divide(1, inverse, out=np.ones_like(inverse), where=inverse > 0)
        data = _Data.of(votes, scale, config.balance)
        held = None if validation is None else _Data.of(validation.of_users(votes.names), scale, "vote")
        basis, logits, steps = _train(config, data, held, len(votes.names), seed, progress)
        known = logits[votes.counts > 0] if votes.counts.any() else logits
        generic = States({"logits": known.mean(axis=0, keepdims=True)}, np.zeros(1, np.int64))
        whole = np.where(votes.counts[:, None] > 0, logits, generic["logits"])
        table = UserTable.of(generic, votes.names, States({"logits": whole}, votes.counts))
        # what never differs has no gradient, and would keep the random weight that it started with
        model = cls(config, {"basis": basis * (inverse[:, None] / config.temperature)}, table)
        model.ended = None if held is None else config.model_copy(update={"steps": steps})
        return model

    def states_of(self, votes: Votes) -> States:
        import torch

        own = votes.take(votes.user >= 0)
        values = products(checked(own.items, len(self._basis)), self._basis)
        d = torch.from_numpy(values[own.chosen] - values[own.rejected])
        user, y, weight = (torch.from_numpy(a) for a in (own.user, own.y, own.weight))
        start = torch.from_numpy(self.users.states["logits"][:1].astype(np.float64))
        logits = start.repeat(len(votes.names), 1).requires_grad_()
        adam = torch.optim.Adam([logits], lr=self.config.few_shot_learning_rate)
        for _ in range(self.config.few_shot_steps if len(own) else 0):
            adam.zero_grad()
            s = (d * _mixed(logits, self.config)[user]).sum(1)
            apart = (logits - start).square().sum()
            (_vote_loss(s, y, weight) + self.config.prior / 2 * apart).backward()
            adam.step()
        return States({"logits": logits.detach().numpy()}, votes.counts)

    def reward(self, items: Items, a: Ints, b: Ints | None, states: States, who: Ints) -> Reward:
        import torch

        values = products(checked(items, len(self._basis)), self._basis)
        d = values[a] if b is None else values[a] - values[b]
        weights = _mixed(torch.from_numpy(states["logits"].astype(np.float64)), self.config).numpy()
        return Reward(np.einsum("kb,kb->k", d, weights[who]), np.zeros(len(a)))

    @property
    def _basis(self) -> Floats:
        """`[f, B]`, of features as they are given, in log-odds."""
        return self.parameters["basis"]


@dataclass(frozen=True)
class _Data:
    """Votes as tensors; who is nobody comes after the n people."""

    x: torch.Tensor
    places: tuple[torch.Tensor, torch.Tensor] | None
    """Of chosen and rejected in `x`; None where it has the differences."""
    user: torch.Tensor
    y: torch.Tensor
    weight: torch.Tensor
    """`[b]`, what each vote counts; their sum is that of the votes' own weights."""
    balance: torch.Tensor
    """`[n]`, what each person's votes were multiplied with."""

    @classmethod
    def of(cls, votes: Votes, scale: Floats, balance: str) -> _Data:
        import torch

        n = len(votes.names)
        user = np.where(votes.user < 0, n, votes.user)
        factor = np.ones(n + 1)
        if balance == "user":
            mass = np.bincount(user, votes.weight, n + 1)
            factor = np.where(mass > 0, mass.sum() / max((mass > 0).sum(), 1) / np.maximum(mass, 1e-12), 0.0)
        design = Design.of(votes, scale)
        places = None
        if design.chosen is not None and design.rejected is not None:
            places = torch.from_numpy(design.chosen), torch.from_numpy(design.rejected)
        columns = (design.x, votes.y, votes.weight * factor[user], factor[:n])
        x, y, weight, each = (torch.from_numpy(column.astype(np.float32)) for column in columns)
        return cls(x, places, torch.from_numpy(user), y, weight, each)

    def margins(self, config: Lore, basis: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        """`[b]`."""
        import torch

        weights = (basis / config.temperature).T.contiguous()  # so that the gradient is eight times as fast as of `@`
        values = torch.nn.functional.linear(self.x, weights)
        if self.places is not None:
            values = values.index_select(0, self.places[0]) - values.index_select(0, self.places[1])
        everybody = torch.cat([logits, logits.mean(0, keepdim=True)])
        return (values * _mixed(everybody, config).index_select(0, self.user)).sum(1)


def lore_loss(config: Lore, data: _Data, basis: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """The mean over votes, with both priors; `basis` `[f, B]`, `logits` `[n, B]`."""
    loss = _vote_loss(data.margins(config, basis, logits), data.y, data.weight)
    if config.weight_decay:
        loss = loss + config.weight_decay / 2 * (basis / config.temperature).square().sum()
    if config.prior:
        apart = (logits - logits.mean(0)).square().sum(1)
        loss = loss + config.prior / 2 * (data.balance * apart).sum()
    return loss / data.weight.sum()


def _vote_loss(margins: torch.Tensor, y: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    import torch

    return weight @ (torch.nn.functional.softplus(margins) - y * margins)


def _mixed(logits: torch.Tensor, config: Lore) -> torch.Tensor:
    """A weight for each reward of the basis."""
    return logits.softmax(-1) if config.user_weights == "simplex" else logits


def _train(
    config: Lore, data: _Data, held: _Data | None, n: int, seed: int, progress: Progress
) -> tuple[Floats, Floats, int]:
    """Basis `[f, B]`, logits `[n, B]` and their step: the last, or that which fits the held-out votes best."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    shapes = ((data.x.shape[1], config.bases), (n, config.bases))
    basis, logits = (torch.randn(*shape, generator=generator).requires_grad_() for shape in shapes)
    adam = torch.optim.Adam([basis, logits], lr=config.learning_rate)
    least, best = np.inf, (basis, logits, config.steps)
    for step in progress(range(1, config.steps + 1)):
        adam.zero_grad()
        lore_loss(config, data, basis, logits).backward()
        adam.step()
        if held is not None and (step % EVERY == 0 or step == config.steps):
            with torch.no_grad():
                loss = float(_vote_loss(held.margins(config, basis, logits), held.y, held.weight))
            if loss < least:
                least, best = loss, (basis.detach().clone(), logits.detach().clone(), step)
    return best[0].detach().double().numpy(), best[1].detach().double().numpy(), best[2]
