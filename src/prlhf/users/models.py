"""The user models of P-RLHF (arXiv 2402.05133) and `low_rank`, which is ours.

    uniform      e_i = e_0
    individual   e_i = e_0 + o_i, with o_0 = 0          without the common part: e_i = o_i
    cluster      e_i = sum_k softmax(w_i)_k V_k         the generic user is row 0 of w
    low_rank     e_i = e_0 + sum_k l_ik V_k, l_0 = 0    signed factors

Each `e` is `[t, d]`. Sums over k are taken one term at a time and element by element: a user's embedding is then the
same to the last bit whatever else is in the batch, which a matrix product does not promise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from prlhf.config.users import Cluster, Individual, LowRank, Uniform, UserModelConfig
from prlhf.errors import ConfigError
from prlhf.users.base import UserModel, draw

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = [
    "ClusterModel",
    "IndividualModel",
    "LowRankModel",
    "UniformModel",
    "make_user_model",
    "new_user_model",
    "subset",
]

_CHUNK = 4096
"""Rows that are filled at a time, so that a large table needs no second copy."""


def _parameter(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(*shape, dtype=torch.float32))


def _rows(vocabulary: Tensor, n: int, tokens: int, generator: torch.Generator) -> Tensor:
    """`n` states made of random vocabulary embeddings, `[n, t * d]`."""
    return draw(vocabulary, n * tokens, generator).reshape(n, -1)


def _combine(weights: Float[Tensor, "*b k"], parts: Float[Tensor, "k t d"]) -> Float[Tensor, "*b t d"]:
    first, *others = (weights[..., k, None, None] * part for k, part in enumerate(parts))
    for term in others:
        first = first + term
    return first


class UniformModel(UserModel):
    """The same user tokens for everybody."""

    def __init__(self, config: Uniform, n: int, width: int) -> None:
        super().__init__(config, n, width)
        if config.tokens:
            self.common = _parameter(config.tokens, width)

    def state_width(self) -> int:
        return 0

    def initialise(self, vocabulary: Tensor, generator: torch.Generator) -> None:
        self.common.copy_(draw(vocabulary, self.tokens, generator))

    def embed(self, state: Tensor) -> Tensor:
        return self.common.expand(*state.shape[:-1], -1, -1)


class IndividualModel(UserModel):
    """A free embedding per user: the common part plus the user's offset, or (`common = false`) no common part."""

    config: Individual

    def __init__(self, config: Individual, n: int, width: int) -> None:
        super().__init__(config, n, width)
        if config.tokens and config.common:
            self.common = _parameter(config.tokens, width)

    @property
    def pinned(self) -> bool:
        return self.config.common

    def state_width(self) -> int:
        return self.tokens * self.width

    def initialise(self, vocabulary: Tensor, generator: torch.Generator) -> None:
        assert self.table is not None
        generic = _rows(vocabulary, 1, self.tokens, generator)
        if self.config.common:
            self.common.copy_(generic.view_as(self.common))
            generic = torch.zeros_like(generic)
        table = self.table.weight
        table.copy_(generic)  # broadcast over the users
        if self.config.start == "vocabulary":
            for start in range(1, self.n, _CHUNK):
                part = table[start : start + _CHUNK]
                part.copy_(_rows(vocabulary, len(part), self.tokens, generator))

    def embed(self, state: Tensor) -> Tensor:
        own = state.unflatten(-1, (self.tokens, self.width))
        return self.common + own if self.config.common else own


class ClusterModel(UserModel):
    """A soft choice among K centres."""

    config: Cluster

    def __init__(self, config: Cluster, n: int, width: int) -> None:
        super().__init__(config, n, width)
        if config.tokens:
            self.centres = _parameter(config.clusters, config.tokens, width)

    def state_width(self) -> int:
        return self.config.clusters

    def row_scale(self, embedding_scale: float) -> float:
        """1, since a row holds logits of a softmax."""
        return 1.0

    def initialise(self, vocabulary: Tensor, generator: torch.Generator) -> None:
        assert self.table is not None
        self.centres.copy_(draw(vocabulary, self.config.clusters * self.tokens, generator).view_as(self.centres))
        if self.config.start == "vocabulary":
            self.table.weight.normal_(generator=generator)
        else:
            self.table.weight.zero_()

    def embed(self, state: Tensor) -> Tensor:
        return _combine(state.softmax(-1), self.centres)


class LowRankModel(UserModel):
    """The common part plus K directions with signed factors, so that opposite users can share a direction."""

    config: LowRank

    def __init__(self, config: LowRank, n: int, width: int) -> None:
        super().__init__(config, n, width)
        if config.tokens:
            self.common = _parameter(config.tokens, width)
            self.directions = _parameter(config.rank, config.tokens, width)

    @property
    def pinned(self) -> bool:
        return True

    def state_width(self) -> int:
        return self.config.rank

    def row_scale(self, embedding_scale: float) -> float:
        """1 where directions are vocabulary embeddings; else directions have size 1 and factors the embeddings'."""
        return 1.0 if self.config.start == "vocabulary" else embedding_scale

    def initialise(self, vocabulary: Tensor, generator: torch.Generator) -> None:
        assert self.table is not None
        self.common.copy_(draw(vocabulary, self.tokens, generator))
        factors = self.table.weight.zero_()
        if self.config.start == "vocabulary":
            directions = draw(vocabulary, self.config.rank * self.tokens, generator)
            self.directions.copy_(directions.view_as(self.directions))
            factors[1:].normal_(generator=generator)
        else:  # one side of the product must differ from zero, or neither has a gradient
            # of size 1, so that factors are in units of the embedding and one learning rate fits all user models
            self.directions.normal_(generator=generator)

    def embed(self, state: Tensor) -> Tensor:
        return self.common + _combine(state, self.directions)


def new_user_model(config: UserModelConfig, n: int, width: int) -> UserModel:
    """A user model without values, for whoever fills it next (see `load_users`).

    Raises:
        ConfigError: `n < 1` (the generic user always has a row).
    """
    if n < 1:
        raise ConfigError(f"a user table has at least the generic user's row, found n = {n}")
    if isinstance(config, Uniform):
        return UniformModel(config, n, width)
    if isinstance(config, Individual):
        return IndividualModel(config, n, width)
    if isinstance(config, Cluster):
        return ClusterModel(config, n, width)
    return LowRankModel(config, n, width)


@torch.no_grad()
def make_user_model(config: UserModelConfig, n: int, vocabulary: Float[Tensor, "v d"], seed: int = 0) -> UserModel:
    """A user model at its start, in float32 on the CPU.

    Args:
        config: which model, with its options.
        n: rows of the table: the number of users plus one, the generic user.
        vocabulary: input embeddings of the language model, or a sample of them; sets width, scale and start.
        seed: the same seed gives the same values.

    Raises:
        ConfigError: `n < 1`, or a vocabulary that is not a non-empty matrix.
    """
    if vocabulary.ndim != 2 or not len(vocabulary):
        raise ConfigError(f"vocabulary is a matrix [v, d] of embeddings, found shape {tuple(vocabulary.shape)}")
    model = new_user_model(config, n, vocabulary.shape[1])
    if model.tokens:
        generator = torch.Generator().manual_seed(seed)
        model.initialise(vocabulary.detach().to("cpu", torch.float32), generator)
    return model


@torch.no_grad()
def subset(model: UserModel, rows: Sequence[int]) -> UserModel:
    """A copy with these rows of the table alone, in this order (row 0, the generic user, first); the shared parameters
    stay whole."""
    values = {name: value.detach().clone() for name, value in model.state_dict().items() if name != "table.weight"}
    if model.table is not None:
        values["table.weight"] = model.table.weight.detach()[torch.tensor(list(rows))]
    with torch.device("meta"):
        new = new_user_model(model.config, len(rows), model.width)
    new.load_state_dict(values, assign=True)
    return new
