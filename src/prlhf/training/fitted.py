"""Where head and rows of a reward model start: at what a frozen language model's states say of the votes.

A head that is drawn, and users who are all alike, have a product to learn of two things that are both about zero: what
of a text counts, and for whom. On states of a model that is not trained this is the factor model of `prlhf.rewards`,
which finds by held-out votes in how many directions people differ, and how far. Training goes on from there.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import pad

from prlhf.config.rewards import Factor, SoftPrompt
from prlhf.lm import Encoded, RewardLM
from prlhf.lm.layout import extent, plain_rows, slices
from prlhf.lm.logprobs import tokens_at_once
from prlhf.rewards import Items, Votes
from prlhf.rewards.factor import FactorReward
from prlhf.rewards.factor.basis import Basis
from prlhf.training.dataset import PairDataset

__all__ = ["fit_start"]

_VOTES = 20_000
"""As many are looked at, at most."""


@torch.no_grad()
def fit_start(lm: RewardLM, data: PairDataset, config: SoftPrompt) -> None:
    """Set head and rows of a model at step 0: a row is the generic one and the user's factors, in random directions of
    the size of token embeddings, from which the head has them back. Tastes that the votes do not show stay at 0."""
    kept = np.flatnonzero(~data.ties)[:: max(len(data) // _VOTES, 1)]
    if not len(kept):
        return
    head, table = lm.reward_head, lm.user_model.table
    rows = np.unique(data.rows[kept])
    rows = rows[rows > 0]
    # the loss of training knows no votes that are the wrong way round either, and would undo the margins of such a fit
    factors = Factor(item_effects="off", nonlinear="off", rank=head.tastes, flips=0.0)
    fitted = FactorReward.fit(factors, _votes(lm, data, kept, rows), seed=config.seed)
    basis, k = Basis.from_arrays(fitted.parameters), fitted.rank
    head.weight.copy_(torch.from_numpy(basis.weights(fitted.parameters["w"][:, None]).T))
    if head.tastes and table is not None:
        unused = (0, 0, 0, head.tastes - k)
        placed = torch.empty(k, table.embedding_dim).normal_(generator=torch.Generator().manual_seed(config.seed))
        placed *= lm.user_model.row_scale(lm.embedding_scale) / max(k, 1) ** 0.5
        offsets = torch.from_numpy(fitted.users.states["l"][1:, :k]).float() @ placed
        table.weight[1:] = table.weight[0]
        table.weight[torch.from_numpy(rows)] += offsets.to(table.weight)
        head.directions.copy_(pad(torch.from_numpy(basis.weights(fitted.parameters["v"][:, :k]).T), unused))
        head.tasted.copy_(pad(torch.linalg.pinv(placed).T, unused))
    lm.fitted = k


def _votes(lm: RewardLM, data: PairDataset, kept: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]) -> Votes:
    """The votes `kept` of the users in `rows`, on pooled states of the responses, as the generic user has them."""
    encoded = [lm.read_by(0, data.encoded[i]) for i in kept]
    places: dict[tuple[tuple[int, ...], tuple[int, ...]], int] = {}
    both = np.array([[places.setdefault((c.prompt, y), len(places)) for y in (c.chosen, c.rejected)] for c in encoded])
    x = np.zeros((len(places), lm.reward_head.weight.shape[1]), np.float32)
    _fill(x, lm, encoded, both)
    who = data.rows[kept]
    return Votes(
        items=Items(np.arange(len(x), dtype=np.uint64), x),
        chosen=both[:, 0],
        rejected=both[:, 1],
        user=np.where(who > 0, np.searchsorted(rows, who), -1),
        names=tuple(map(str, rows)),
        y=np.ones(len(kept)),
        weight=data.weight[kept].astype(np.float64),
        first=np.zeros(len(kept)),
        pair=np.unique(np.sort(both, 1), axis=0, return_inverse=True)[1].reshape(-1).astype(np.uint64),
    )


def _fill(x: npt.NDArray[np.float32], lm: RewardLM, encoded: list[Encoded], both: npt.NDArray[np.int64]) -> None:
    """Put the states of the responses of each comparison where `both` `[b, 2]` says."""
    order = sorted(range(len(encoded)), key=lambda i: encoded[i].length)
    extents = (extent(encoded[i], 1, lm.user_model.tokens, "plain") for i in order)
    training = lm.training
    lm.eval()
    for cut in slices(extents, 64, tokens_at_once(lm.device)):
        batch = order[cut]
        rows = plain_rows([encoded[i] for i in batch], [[0]] * len(batch), lm.user_token_ids, lm.pad_id)
        x[both[batch].reshape(-1)] = lm.states(rows.to(lm.device)).float().cpu().numpy()
    lm.train(training)
