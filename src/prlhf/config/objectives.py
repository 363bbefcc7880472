"""The objectives: a union on `type`, each with its paper's defaults."""

from typing import Annotated, Any, Literal

from pydantic import Field

from prlhf.config.base import Config

__all__ = ["Cdpo", "Custom", "Dpo", "Hinge", "Ipo", "Kto", "ObjectiveConfig", "Robust", "Simpo"]


class AnyObjective(Config):
    """What every objective can add to its own loss."""

    sft_weight: float = Field(0.0, ge=0)
    """Weight of the chosen response's negative log-probability per token, which keeps the language while a small `beta`
    sharpens the preference (arXiv 2404.19733, eq. 2; TRL: `loss_type=["sigmoid", "sft"]`)."""

    @property
    def learns_ties(self) -> bool:
        """Whether ties are trained on."""
        return getattr(self, "ties", None) is not None

    @property
    def learns_thumbs(self) -> bool:
        """Whether it learns from responses judged alone; a comparison is then two of them."""
        return False


class Dpo(AnyObjective):
    """`-log sigmoid(beta h)` (Rafailov et al., arXiv 2305.18290)."""

    type: Literal["dpo"] = "dpo"
    beta: float = Field(0.1, gt=0)
    """How strongly the model is held to the reference; smaller = more freedom."""
    ties: float | None = Field(None, gt=0, lt=1)
    """Learn from ties too (Rao-Kupper; arXiv 2409.17431): the probability of a tie between two responses that are
    equally good; 0.5 is that paper's. By default ties are not trained on."""


class Ipo(AnyObjective):
    """`(h - 1/(2 beta))^2` (Azar et al., arXiv 2310.12036)."""

    type: Literal["ipo"] = "ipo"
    beta: float = Field(0.1, gt=0)
    """How strongly the model is held to the reference; smaller = more freedom."""
    average: bool = False
    """False: log-probabilities summed over the response, as in the paper; True: their mean per token, as in TRL."""


class Hinge(AnyObjective):
    """`max(0, 1 - beta h)` (SLiC-HF, arXiv 2305.10425, with the reference of DPO as in TRL)."""

    type: Literal["hinge"] = "hinge"
    beta: float = Field(0.1, gt=0)
    """The inverse of the margin `h` beyond which a comparison is left alone."""


class Cdpo(AnyObjective):
    """`-(1 - epsilon) log sigmoid(beta h) - epsilon log sigmoid(-beta h)` (conservative DPO; Mitchell 2023)."""

    type: Literal["cdpo"] = "cdpo"
    beta: float = Field(0.1, gt=0)
    """How strongly the model is held to the reference; smaller = more freedom."""
    epsilon: float = Field(0.1, ge=0, lt=0.5)
    """Share of the votes that are taken to be flipped."""


class Robust(AnyObjective):
    """DPO's loss without the bias of flipped votes (rDPO, arXiv 2403.00409)."""

    type: Literal["robust"] = "robust"
    beta: float = Field(0.1, gt=0)
    """How strongly the model is held to the reference; smaller = more freedom."""
    epsilon: float = Field(0.1, ge=0, lt=0.5)
    """Share of the votes that are taken to be flipped."""


class Simpo(AnyObjective):
    """`-log sigmoid(beta (lp+ / |y+| - lp- / |y-|) - gamma)`: no reference (SimPO, arXiv 2405.14734)."""

    type: Literal["simpo"] = "simpo"
    beta: float = Field(2.0, gt=0)
    """Scale of the difference of mean log-probabilities; far larger than that of DPO, whose are sums."""
    gamma: float = Field(1.0, ge=0)
    """The margin by which the chosen response should win; the paper tunes `gamma / beta` between 0 and 1."""


class Kto(AnyObjective):
    """Responses judged alone: `1 - sigmoid(beta (r - z0))` of one with a thumb up, `1 - sigmoid(beta (z0 - r))` of one
    with a thumb down (KTO, arXiv 2402.01306)."""

    type: Literal["kto"] = "kto"
    beta: float = Field(0.1, gt=0)
    """How strongly the model is held to the reference; smaller = more freedom."""
    desirable_weight: float = Field(1.0, ge=0)
    """Weight of thumbs up; where they are much rarer than thumbs down, raise it: the paper keeps the two products of
    weight and number about equal."""
    undesirable_weight: float = Field(1.0, ge=0)
    """Weight of thumbs down."""
    sft_weight: float = Field(0.0, ge=0)
    """Weight of the negative log-probability per token of responses with a thumb up, which keeps the language."""

    @property
    def learns_thumbs(self) -> bool:
        """It does."""
        return True


class Custom(AnyObjective):
    """A function of your own: `function(policy, reference, **options)` gives the loss of each comparison."""

    type: Literal["custom"] = "custom"
    function: str = Field(pattern=r"^[\w.]+:\w+$")
    """Where it is, as `module:name`; the module has to be importable (installed, or in a folder of PYTHONPATH)."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Passed to the function by name."""
    beta: float = Field(0.1, gt=0)
    """Scale of the margin in reported log-losses; the function does not see it."""


ObjectiveConfig = Annotated[
    Dpo | Ipo | Hinge | Cdpo | Robust | Simpo | Kto | Custom,
    Field(discriminator="type"),
]
"""The loss of a comparison, or of a thumb."""
