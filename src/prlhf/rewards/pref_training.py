"""PReF's training: phi to its first targets, then phi and every user's weights by regularised maximum likelihood."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, embedding

from prlhf.config.rewards.pref import Pref
from prlhf.rewards.base import Progress
from prlhf.rewards.pref_start import start
from prlhf.rewards.votes import Votes

__all__ = ["factorise"]

Floats = npt.NDArray[np.float64]
Vectors = npt.NDArray[np.float32]

EVERY = 5
"""Iterations between two looks at the held-out votes."""
PATIENCE = 4
"""So many looks without a better one end the training."""


def factorise(
    config: Pref, votes: Votes, x: Vectors, held_out: tuple[Votes, Vectors] | None, seed: int, progress: Progress
) -> tuple[list[Floats], Floats, int]:
    """The weights of phi (one `[f, J]`, or those of two layers), the users' `[n, J]`, and after how many steps.

    Args:
        x: `[m, f]`, the items' standardised features.
        held_out: votes of the same users, and their items' features.
    """
    rng = np.random.default_rng(seed)
    begin = start(config, votes, x, rng)
    phi = [torch.tensor(a, dtype=torch.float32).requires_grad_() for a in _layers(config, x.shape[1], rng)]
    noise = 0.01 * rng.normal(size=begin.weights.shape)  # a factor of which both sides are 0 would stay so
    people = torch.tensor(begin.weights + noise, dtype=torch.float32).requires_grad_()
    items, target = torch.from_numpy(x), torch.tensor(begin.targets, dtype=torch.float32)
    first, second = torch.tensor(begin.first), torch.tensor(begin.second)

    def regression() -> Tensor:
        found = _phi(items, phi)
        error = embedding(first, found) - embedding(second, found) - target
        return error.square().sum() + 0.1 * sum(w.square().sum() for w in phi)

    if config.init != "random":
        _minimise(regression, phi, 50)
    train = _Loss(votes, items)
    variables = [*phi, people]

    def loss() -> Tensor:
        penalty = config.l2 / 2 * people.square().sum()
        return train(phi, people) + penalty + config.l2_features / 2 * sum(w.square().sum() for w in phi)

    check = None
    if held_out is not None:
        held = _Loss(held_out[0].of_users(votes.names), torch.from_numpy(held_out[1]))

        def check() -> float:
            return float(held(phi, people))

    steps = _minimise(loss, variables, config.steps, check, progress)
    return [a.detach().double().numpy() for a in phi], people.detach().double().numpy(), steps


def _layers(config: Pref, f: int, rng: np.random.Generator) -> list[Floats]:
    widths = [f, config.hidden, config.factors] if config.hidden else [f, config.factors]
    return [rng.normal(size=(a, b)) / np.sqrt(max(a, 1)) for a, b in pairwise(widths)]


def _phi(x: Tensor, weights: Sequence[Tensor]) -> Tensor:
    for w in weights[:-1]:
        x = torch.tanh(x @ w)
    return x @ weights[-1]


class _Loss:
    """The sum of `-w [y log sigma(s) + (1 - y) log sigma(-s)]` over votes; the generic user has the mean weights."""

    def __init__(self, votes: Votes, items: Tensor):
        self.items = items
        self.chosen, self.rejected = torch.tensor(votes.chosen), torch.tensor(votes.rejected)
        self.user = torch.tensor(votes.user)
        self.y = torch.tensor(votes.y, dtype=torch.float32)
        self.weight = torch.tensor(votes.weight, dtype=torch.float32)

    def __call__(self, phi: Sequence[Tensor], people: Tensor) -> Tensor:
        found = _phi(self.items, phi)
        everybody = torch.cat([people, people.mean(0, keepdim=True)])
        user = torch.where(self.user < 0, len(people), self.user)
        s = ((embedding(self.chosen, found) - embedding(self.rejected, found)) * embedding(user, everybody)).sum(1)
        return binary_cross_entropy_with_logits(s, self.y, weight=self.weight, reduction="sum")


def _minimise(
    loss: Callable[[], Tensor],
    variables: Sequence[Tensor],
    steps: int,
    check: Callable[[], float] | None = None,
    progress: Progress = lambda steps: steps,
) -> int:
    """L-BFGS over all data; where `check` is given, the variables end where it was smallest. Returns the steps."""
    optimizer = torch.optim.LBFGS(
        variables, max_iter=EVERY, max_eval=2 * EVERY, history_size=20, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    best, kept, since, taken = np.inf, [v.detach().clone() for v in variables], 0, steps
    for part in progress(range(1, -(-steps // EVERY) + 1)):
        optimizer.step(closure)  # type: ignore[no-untyped-call]
        if check is None:
            continue
        with torch.no_grad():
            now = check()
            since = 0 if now < best else since + 1
            if now < best:
                best, kept, taken = now, [v.detach().clone() for v in variables], part * EVERY
        if since == PATIENCE:
            break
    if check is not None:
        with torch.no_grad():
            for variable, value in zip(variables, kept, strict=True):
                variable.copy_(value)
    return taken
