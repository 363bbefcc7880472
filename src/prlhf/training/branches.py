"""Which branches of a comparison a step looks at: the user's, the generic one, both, or one of them drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from torch import Tensor

from prlhf.config import RunConfig
from prlhf.objectives import mix

__all__ = ["Branches"]


@dataclass(frozen=True)
class Branches:
    """The alpha mix `alpha l(user) + (1 - alpha) l(generic)` of P-RLHF, or an estimate from half the token-passes.

    `sampled` looks at one branch of each comparison: the user's with probability alpha, else the generic one. The mean
    of its loss, and of its gradient, over the draws is that of the mix. What is drawn depends on seed, step and
    comparison alone, so a resumed run draws the same, and so does one with other micro-batches or processes.
    """

    alpha: float
    sampled: bool = False
    seed: int = 0

    @classmethod
    def of(cls, config: RunConfig) -> Branches:
        """Those of a run."""
        return cls(config.alpha, config.training.branches == "sampled", config.seed)

    @property
    def looked_at(self) -> int:
        """k, how many branches of an item a step looks at."""
        return 1 if self.sampled or self.alpha in (0, 1) else 2

    def rows(self, rows: Sequence[int], ids: Sequence[str], step: int) -> list[list[int]]:
        """The rows of the user table that each of b items is looked at with: k of them, the user's first."""
        if self.alpha in (0, 1):
            return [[row if self.alpha else 0] for row in rows]
        if self.sampled:
            return [[row if self._specific(i, step) else 0] for row, i in zip(rows, ids, strict=True)]
        return [[row, 0] for row in rows]

    def mixed(self, losses: Tensor) -> Tensor:
        """One loss an item, `[b]`, from those of its k branches, `[b, k]`."""
        return losses[:, 0] if losses.shape[1] == 1 else mix(losses[:, 0], losses[:, 1], self.alpha)

    def _specific(self, item: str, step: int) -> bool:
        drawn = blake2b(f"{self.seed} {step} {item}".encode("utf8", "surrogatepass"), digest_size=8)
        return int.from_bytes(drawn.digest(), "big") < self.alpha * 2**64
