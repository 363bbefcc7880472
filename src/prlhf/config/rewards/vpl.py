"""Options of `vpl`."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from prlhf.config.rewards.base import AnyReward

__all__ = ["Vpl"]


class Vpl(AnyReward):
    """`r(x, y, z)` of a latent `z ~ q(z | the user's votes)`, a network over the set of them (VPL, arXiv 2408.10075).
    Minimises `-E_q log sigma(r(chosen, z) - r(rejected, z)) + weight KL(q | N(0, I))`."""

    SEARCH: ClassVar[dict[str, tuple[Any, ...]]] = {
        "clamp": (1.0, 4.0),
        "kl_weight": (1e-4, 1e-2),
        "weight_decay": (1e-3, 1.0),
        "dropout": (0.0, 0.3),
        "counted": (False, True),
    }

    type: Literal["vpl"] = "vpl"
    latent: int = Field(16, ge=1)
    """d, the length of `z`. The paper's is 512, on embeddings of a language model."""
    hidden: int = Field(64, ge=1)
    """Width of the encoder and of the decoder. The paper's is 512."""
    kl_weight: float = Field(1e-4, ge=0)
    """The paper's is 1e-4 (Pets), 3e-6 (UF-P-4) or 0 (UF-P-2), which is no longer variational."""
    annealing: Literal["cosine", "none"] = "cosine"
    """`cosine`: the weight of the KL rises by a cosine from a tenth of itself, `cycles` times, as released."""
    cycles: int = Field(4, ge=1)
    """How often it rises in a training of `epochs`. Released: once every 10,000 steps."""
    clamp: float = Field(1.0, gt=0)
    """Means and log-variances of `q` are held to [-clamp, clamp], as released."""
    counted: bool = False
    """Whether the encoder is told how many votes there are. A mean over votes does not know, so that one vote counts
    as much as fifty; the paper's is not told."""
    normalise: Literal["never", "always", "training"] = "never"
    """Whether `z` is brought to length sqrt(d) before it is decoded. `training`: only there, as released; training and
    use then differ."""
    context: int = Field(64, ge=1)
    """Votes attended to together: in training at most so many of a user's others, afterwards all, in groups of
    this size."""
    epochs: int = Field(30, ge=1)
    """Passes over the votes, each with other contexts (the paper's M copies of a pair). Fewer where held-out votes say
    so."""
    stop: int | None = Field(None, ge=1)
    """After so many of the `epochs` training ends, whose schedules stay what they are; by default after all."""
    batch: int = Field(64, ge=1)
    """Contexts in a step, with up to 16 votes to predict from each."""
    learning_rate: float = Field(1e-3, gt=0)
    """Of AdamW; 3 % warm-up, then a cosine to 0. The paper's is 1e-4, with LoRA under it."""
    weight_decay: float = Field(1e-3, ge=0)
    """Of AdamW; the paper's."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """In encoder and decoder."""
