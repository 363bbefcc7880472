"""VPL's training: the lower bound of the evidence, with contexts drawn anew in each epoch."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from prlhf.config.rewards.vpl import Vpl
from prlhf.rewards.base import Progress
from prlhf.rewards.votes import Votes
from prlhf.rewards.vpl_contexts import Batch, batches, groups, steps
from prlhf.rewards.vpl_network import Network, divergence

__all__ = ["NUMBERS", "kl_share", "posteriors", "train"]

Vectors = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

PATIENCE = 8
"""So many epochs without a better log-loss of the held-out votes end the training."""
WARM_UP = 0.03
FLOOR = 0.1
"""What is left of the KL's weight where a cycle begins."""
NUMBERS = 1 << 13
"""Votes that are read at a time where nothing is trained."""


def train(
    config: Vpl, votes: Votes, x: Vectors, held_out: tuple[Votes, Vectors] | None, seed: int, progress: Progress
) -> tuple[Network, int]:
    """A network that was trained on votes on items with the standardised features `x` `[m, f]`, and for
    how many epochs.

    Args:
        held_out: votes of the same users, and their items' features; the best epoch by them is kept.
    """
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Network(config, x.shape[1])
        items = torch.from_numpy(x)
        optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
        total = steps(votes, config.batch) * config.epochs
        rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step / total))
        check = _checker(network, config, votes, items, held_out) if held_out is not None else None
        best, kept, since, step = math.inf, dict(network.state_dict()), 0, 0
        most = taken = min(config.stop or config.epochs, config.epochs)
        for epoch in progress(range(1, most + 1)):
            network.train()
            for batch in batches(votes, config.context, config.batch, rng):
                weight = config.kl_weight * kl_share(config, step / total)
                optimizer.zero_grad()
                _loss(network, config, votes, items, batch, weight).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                rate.step()
                step += 1
            if check is not None:
                now = check()
                since = 0 if now < best else since + 1
                if now < best:
                    best, kept, taken = now, {k: v.clone() for k, v in network.state_dict().items()}, epoch
                if since == PATIENCE:
                    break
        if check is not None:
            network.load_state_dict(kept)
    return network.eval(), taken


def kl_share(config: Vpl, done: float) -> float:
    """Of the KL's weight, where the share `done` of the training is behind: in each cycle from `FLOOR` up to 1."""
    if config.annealing == "none":
        return 1.0
    return FLOOR + (1 - FLOOR) * (1 - math.cos(math.pi * (done * config.cycles % 1))) / 2


def _rate(done: float) -> float:
    return min((done + 1e-3) / WARM_UP, 0.5 * (1 + math.cos(math.pi * min(done, 1))))


def _loss(network: Network, config: Vpl, votes: Votes, items: Tensor, batch: Batch, weight: float) -> Tensor:
    """The mean over the votes that are asked of their own loss and of their context's KL."""
    mean, log_variance = _read(network, votes, items, batch.context)
    z = mean + (log_variance / 2).exp() * torch.randn_like(mean)
    if config.normalise != "never":
        z = _lengthened(z)
    z = z[batch.of]
    good, bad = (
        network.decode(network.response(items[places[batch.asked]]), z) for places in (votes.chosen, votes.rejected)
    )
    y, importance = (torch.tensor(a[batch.asked], dtype=torch.float32) for a in (votes.y, votes.weight))
    wrong = binary_cross_entropy_with_logits(good - bad, y, reduction="none")
    kl = divergence(mean, log_variance).sum(dim=1)[batch.of]
    return (importance * (wrong + weight * kl)).sum() / importance.sum().clamp(min=1e-9)


def _read(network: Network, votes: Votes, items: Tensor, context: Ints) -> tuple[Tensor, Tensor]:
    """The posterior of each context `[e, c]`."""
    total, weight = _attended(network, votes, items, context)
    return network.posterior(total, weight, torch.tensor((context >= 0).sum(axis=1)))


def _attended(network: Network, votes: Votes, items: Tensor, context: Ints) -> tuple[Tensor, Tensor]:
    there = context >= 0
    seen = context[there]
    chosen, rejected = (items[torch.from_numpy(places[seen])] for places in (votes.chosen, votes.rejected))
    y, weight = (torch.tensor(a[seen], dtype=items.dtype) for a in (votes.y, votes.weight))
    return network.attended(chosen, rejected, y, weight, torch.from_numpy(there))


def posteriors(network: Network, votes: Votes, items: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log-variance of `z` `[n, d]` of every user from all of their votes: attention within groups of them, one
    mean over all."""
    n = len(votes.names)
    total = torch.zeros(n, network.query.out_features, dtype=items.dtype)
    weight = torch.zeros(n, dtype=items.dtype)
    with torch.no_grad():
        for users, context in groups(votes, network.most, NUMBERS):
            some, of_them = _attended(network, votes, items, context)
            total.index_add_(0, torch.from_numpy(users), some)
            weight.index_add_(0, torch.from_numpy(users), of_them)
        return network.posterior(total, weight, torch.tensor(votes.counts))


def _lengthened(z: Tensor) -> Tensor:
    """Of length sqrt(d); 0 stays 0."""
    return z * math.sqrt(z.shape[1]) / z.norm(dim=1, keepdim=True).clamp(min=1e-6)


def _checker(
    network: Network, config: Vpl, votes: Votes, items: Tensor, held_out: tuple[Votes, Vectors]
) -> Callable[[], float]:
    """The log-loss of held-out votes, each with the mean latent of its user."""
    held = held_out[0].of_users(votes.names)
    x = torch.from_numpy(held_out[1])
    y, importance = torch.tensor(held.y, dtype=torch.float32), torch.tensor(held.weight, dtype=torch.float32)

    def check() -> float:
        network.eval()
        with torch.no_grad():
            mean, _ = posteriors(network, votes, items)
            mean = _lengthened(mean) if config.normalise == "always" else mean
            z = torch.cat([mean, torch.zeros(1, config.latent)])[held.user]  # whose row is -1 has no votes
            response = network.response(x)
            margin = network.decode(response[held.chosen], z) - network.decode(response[held.rejected], z)
            return float(binary_cross_entropy_with_logits(margin, y, weight=importance))

    return check
