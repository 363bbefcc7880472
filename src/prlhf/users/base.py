"""What every user model is: rows of the user table in, user embeddings out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from prlhf.config.users import UserModelConfig
from prlhf.errors import UnknownUserError

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = ["UserModel", "draw"]


class UserModel(nn.Module, ABC):
    """Maps rows `[b]` of the user table to user embeddings `[b, t, d]`; row 0 is the generic user.

    What belongs to one user is one row of `table`, the user's *state* `[s]`; every other parameter is shared by all and
    dense. `table` is an `nn.Embedding` with sparse gradients, so that a step costs as much as the rows in its batch; it
    is None where users have no state. With `tokens = 0` there are no parameters at all.
    """

    def __init__(self, config: UserModelConfig, n: int, width: int) -> None:
        """Allocate, without values: use `make_user_model` or `load_users`.

        Args:
            config: the options of this model.
            n: rows of the table, the generic user's included.
            width: `d`, the width of the language model.
        """
        super().__init__()
        self.config, self.tokens, self.width, self.n = config, config.tokens, width, n
        size = self.state_width() if self.tokens else 0
        self.table: nn.Embedding | None = self._new_table(n, size) if size else None

    def _new_table(self, n: int, size: int) -> nn.Embedding:
        empty = torch.empty(n, size, dtype=torch.float32)
        # the padding row is left out of the gradient, even of its indices: exactly a pinned generic user
        return nn.Embedding(n, size, padding_idx=0 if self.pinned else None, sparse=True, _weight=empty)

    @property
    def pinned(self) -> bool:
        """Whether the generic user's state is fixed at zero; it then gets no gradient."""
        return False

    @property
    def trained(self) -> int:
        """How many parameters training moves (the paper's N_u): all but a pinned row."""
        pinned = self.table.embedding_dim if self.table is not None and self.pinned else 0
        return sum(p.numel() for p in self.parameters()) - pinned

    def row_scale(self, embedding_scale: float) -> float:
        """The size of a typical entry of a user's row, which the default learning rate of rows is a share of.

        Rows are in units of the token embeddings, whose root mean square is `embedding_scale`, unless a model says
        otherwise.
        """
        return embedding_scale

    @abstractmethod
    def state_width(self) -> int:
        """`s`, the number of parameters of one user; 0 where users have none."""

    @abstractmethod
    def initialise(self, vocabulary: Float[Tensor, "v d"], generator: torch.Generator) -> None:
        """Set the start values; called without gradients and only with `tokens > 0`."""

    @abstractmethod
    def embed(self, state: Float[Tensor, "*b s"]) -> Float[Tensor, "*b t d"]:
        """User embeddings from the users' states (shape `[*b, 0]` where users have none)."""

    def forward(self, rows: Int[Tensor, "*b"]) -> Float[Tensor, "*b t d"]:
        """User embeddings of `rows`.

        Raises:
            UnknownUserError: a row outside the table.
        """
        state = self.state(rows)
        return self.embed(state) if self.tokens else state.new_zeros(*rows.shape, 0, self.width)

    def state(self, rows: Int[Tensor, "*b"]) -> Float[Tensor, "*b s"]:
        """The users' own parameters; `s = 0` where users have none. Raises UnknownUserError as `forward` does."""
        if rows.numel() and not 0 <= int(rows.min()) <= int(rows.max()) < self.n:
            wrong = int(rows.min()) if int(rows.min()) < 0 else int(rows.max())
            raise UnknownUserError(
                f"row {wrong} is outside the user table (rows 0 to {self.n - 1}); see UserIndex.rows"
            )
        if self.table is not None:
            return self.table(rows)
        like = next(self.parameters(), torch.empty(0, device=rows.device))
        return like.new_zeros(*rows.shape, 0)

    def penalty(self, rows: Int[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        """Half the squared distance of each user's state from the generic user's; 0 for row 0.

        The generic state counts as a constant here, so the prior pulls users to it and never it to them.
        """
        state = self.state(rows)
        generic = 0.0 if self.table is None else self.table.weight[0].detach()
        return 0.5 * (state - generic).square().sum(-1)

    def add(self, count: int) -> None:
        """Append `count` users whose state is the generic user's as it is now; all other rows keep their bits.

        The table becomes a new parameter: make a new optimiser afterwards.
        """
        self.resize(self.n + count)

    @torch.no_grad()
    def resize(self, n: int) -> None:
        """Have n rows: the first of those there are, then as many of the generic user's state as are missing.

        The table becomes a new parameter, as with `add`.
        """
        if self.table is not None:
            old, kept = self.table.weight, min(n, self.n)
            new = self._new_table(n, old.shape[1]).to(old)
            new.weight[:kept] = old[:kept]
            new.weight[kept:] = old[0]
            new.weight.requires_grad_(old.requires_grad)
            self.table = new
        self.n = n

    def extra_repr(self) -> str:
        """One line for `print(model)`."""
        return f"n={self.n}, tokens={self.tokens}, width={self.width}"


def draw(vocabulary: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` random rows of `vocabulary`, `[count, d]`; without replacement as long as there are enough."""
    v = len(vocabulary)
    if count <= v:
        chosen = torch.randperm(v, generator=generator)[:count]
    else:
        chosen = torch.randint(v, (count,), generator=generator)
    return vocabulary[chosen]
