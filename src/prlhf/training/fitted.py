"""Where head and rows of a reward model start: at what a frozen language model's states say of the votes.

A head that is drawn, and users who are all alike, have a product to learn of two things that are both about zero: what
of a text counts, and for whom. On states of a model that is not trained this is a logistic regression with a factor for
each user,

    sum_c w_c [ alpha l(x_c.(w + V' l_u)) + (1 - alpha) l(x_c.w) ] + 1/2 sum |l_u|^2 + _PRIOR/2 (|w|^2 + |V|^2)

with `x` the differences of pooled states over their root mean square. It takes seconds; training goes on from there.
"""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from prlhf.config.rewards import SoftPrompt
from prlhf.lm import RewardLM
from prlhf.lm.layout import extent, plain_rows, slices
from prlhf.lm.logprobs import tokens_at_once
from prlhf.training.dataset import PairDataset

__all__ = ["fit_start"]

_VOTES = 20_000
"""As many are looked at, at most."""
_PRIOR = 40.0
_STEPS, _RATE = 300, 0.02

logger = logging.getLogger(__name__)


@torch.no_grad()
def fit_start(lm: RewardLM, data: PairDataset, config: SoftPrompt) -> None:
    """Set head and rows of a model at step 0: a row is the generic one and the user's factors, in random directions of
    the size of token embeddings, from which the head has them back."""
    kept = [i for i in range(len(data)) if not data.ties[i]][:: max(len(data) // _VOTES, 1)]
    if not kept:
        return
    x, rows = _differences(lm, data, kept), torch.from_numpy(data.rows[kept])
    scale = x.square().mean(0).sqrt()
    x = x / torch.where(scale > 0, scale, torch.inf)
    head, table = lm.reward_head, lm.user_model.table
    weight = torch.from_numpy(data.weight[kept]).float()
    generator = torch.Generator().manual_seed(config.seed)
    common, directions, factors = _fitted(x, rows, weight, lm.user_model.n, head.tastes, config.alpha, generator)
    inverse = torch.where(scale > 0, 1 / scale, 0.0)
    head.weight.copy_((common * inverse)[None])
    if head.tastes and table is not None:
        size = factors[1:].square().mean().sqrt().clamp(min=1e-6)
        placed = torch.empty(head.tastes, table.embedding_dim).normal_(generator=generator)
        placed *= lm.user_model.row_scale(lm.embedding_scale) / head.tastes**0.5
        table.weight[1:] = table.weight[0] + (factors[1:] / size @ placed).to(table.weight)
        head.directions.copy_(directions * inverse * size)
        head.tasted.copy_(torch.linalg.pinv(placed).T)
    lm.fitted = True


def _differences(lm: RewardLM, data: PairDataset, kept: list[int]) -> Tensor:
    """Pooled states of the chosen responses less those of the rejected ones, as the generic user has them `[n, d]`."""
    encoded = [data.encoded[i] for i in kept]
    order = sorted(range(len(kept)), key=lambda i: encoded[i].length)
    extents = (extent(encoded[i], 1, lm.user_model.tokens, "plain") for i in order)
    found = torch.empty(len(kept), lm.reward_head.weight.shape[1])
    training = lm.training
    lm.eval()
    for cut in slices(extents, 64, tokens_at_once(lm.device)):
        batch = order[cut]
        rows = plain_rows([encoded[i] for i in batch], [[0]] * len(batch), lm.user_token_ids, lm.pad_id)
        states = lm.states(rows.to(lm.device)).float().cpu().unflatten(0, (-1, 2))
        found[batch] = states[:, 0] - states[:, 1]
    lm.train(training)
    return found


@torch.enable_grad()
def _fitted(
    x: Tensor, rows: Tensor, weight: Tensor, n: int, rank: int, alpha: float, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """`w` `[d]`, V `[k, d]` and each row's factors `[n, k]`, by Adam."""
    width = x.shape[1]
    w = torch.zeros(width, requires_grad=True)
    v = (torch.empty(rank, width).normal_(generator=generator) * width**-0.5).requires_grad_()
    factors = (torch.empty(n, rank).normal_(generator=generator) * 0.3).requires_grad_()
    optimiser = torch.optim.Adam([w, v, factors], lr=_RATE)
    known = (rows > 0)[:, None]
    loss = torch.nn.functional.softplus
    for _ in range(_STEPS):
        common = x @ w
        own = common + ((x @ v.T) * factors[rows] * known).sum(1)
        total = weight @ (alpha * loss(-own) + (1 - alpha) * loss(-common))
        total = total + factors.square().sum() / 2 + _PRIOR / 2 * (w.square().sum() + v.square().sum())
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
    return w.detach(), v.detach(), factors.detach()
