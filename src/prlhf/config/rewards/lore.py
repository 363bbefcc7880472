"""Options of `lore`."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from prlhf.config.rewards.base import AnyReward

__all__ = ["Lore"]


class Lore(AnyReward):
    """LoRe (arXiv 2504.14439): `r_u = <softmax(w_u), V' x> / temperature`, a few rewards `V` that all people share and
    weights of each person on them; a new person's are learned with `V` frozen."""

    SEARCH: ClassVar[dict[str, tuple[Any, ...]]] = {
        "bases": (5, 10, 20),
        "temperature": (100.0, 1000.0, 10000.0),
        "weight_decay": (0.0, 10.0, 100.0, 300.0),
        "prior": (0.0, 1.0, 10.0),
        "user_weights": ("simplex", "signed"),
    }

    type: Literal["lore"] = "lore"
    bases: int = Field(5, ge=1)
    """B; the paper's runs go from 1 (which is `bt`) to 50."""
    temperature: float = Field(100.0, gt=0)
    """Divides the margins. With a fixed learning rate it says how far `V` gets in so many steps."""
    steps: int = Field(1000, ge=1)
    """Adam's, on all votes at once."""
    learning_rate: float = Field(0.5, gt=0)
    few_shot_steps: int = Field(500, ge=1)
    """The same for people who are met later."""
    few_shot_learning_rate: float = Field(0.1, gt=0)
    balance: Literal["user", "vote"] = "user"
    """What counts the same: `user`, each person, as in the paper; `vote`, each vote."""
    user_weights: Literal["simplex", "signed"] = "simplex"
    """`signed`: `w_u` itself instead of its softmax, so that a person can want the opposite of another."""
    weight_decay: float = Field(0.0, ge=0)
    """Strength of a prior `V / temperature ~ N(0, 1 / weight_decay)`, where a feature's differences have root mean
    square 1; the paper has none."""
    prior: float = Field(0.0, ge=0)
    """Strength of a prior `w_u ~ N(mean over people, 1 / prior)`, in training and later; the paper has none."""
