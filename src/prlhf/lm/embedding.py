"""User tokens as ids past the vocabulary: `v + row * t + i`, resolved by the input-embedding layer.

Two forward hooks on that layer do it, so the model's modules, parameter names and tied weights stay as they were, and
generation, KV caches and any trainer take a personalised prompt as plain ids.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from prlhf.users import UserModel

__all__ = ["UserTokens"]


class UserTokens:
    """Makes an embedding layer resolve user token ids through a user model.

    Args:
        embedding: the input-embedding layer of a causal LM; `embedding.weight` has v rows.
        user_model: maps rows `[b]` to user embeddings `[b, t, d]`.
    """

    def __init__(self, embedding: nn.Module, user_model: UserModel):
        self.user_model = user_model
        self.vocab_rows = len(cast(Tensor, embedding.weight))
        self._hooks = [
            embedding.register_forward_pre_hook(self._before),
            embedding.register_forward_hook(self._after),
        ]

    def remove(self) -> None:
        """Leave the embedding layer as it was."""
        for hook in self._hooks:
            hook.remove()

    def ids(self, row: int) -> tuple[int, ...]:
        """The `t` user token ids of one row of the user table."""
        t = self.user_model.tokens
        return tuple(range(self.vocab_rows + row * t, self.vocab_rows + (row + 1) * t))

    def _before(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Give the layer ids that it has; the true ones travel with them, so that threads do not meet."""
        ids = args[0]
        is_user = ids >= self.vocab_rows
        if not bool(is_user.any()):
            return args
        known = ids.masked_fill(is_user, 0)
        known.with_users = ids, is_user  # type: ignore[attr-defined]
        return (known, *args[1:])

    def _after(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        if not hasattr(args[0], "with_users") or self.user_model.tokens == 0:
            return output
        ids, is_user = args[0].with_users
        flat = ids[is_user] - self.vocab_rows
        rows, inverse = (flat // self.user_model.tokens).unique(return_inverse=True)
        embeddings = self.user_model(rows)[inverse, flat % self.user_model.tokens]
        return output.index_put((is_user,), embeddings.to(output.dtype))

    @torch.no_grad()
    def explicit(self, embedding: nn.Module, ids: Tensor) -> Tensor:
        """`inputs_embeds` of ids with user tokens, by plain concatenation: the second source for tests. `[b, s, d]`."""
        parts = []
        for row in ids:
            vectors = []
            for token in row.tolist():
                if token < self.vocab_rows:
                    vectors.append(embedding(torch.tensor([token], device=ids.device))[0])
                else:
                    user, slot = divmod(token - self.vocab_rows, self.user_model.tokens)
                    vectors.append(self.user_model(torch.tensor([user], device=ids.device))[0, slot])
            parts.append(torch.stack([v.to(vectors[0].dtype) for v in vectors]))
        return torch.stack(parts)
