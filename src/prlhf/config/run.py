"""Everything that a training run needs to know, in one model."""

from typing import Any, ClassVar, Self

from pydantic import Field

from prlhf.config.base import Config
from prlhf.config.data import DataConfig
from prlhf.config.model import ModelConfig
from prlhf.config.objectives import Dpo, ObjectiveConfig
from prlhf.config.training import TrainingConfig
from prlhf.config.users import Individual, UserModelConfig

__all__ = ["RunConfig"]


class RunConfig(Config):
    """One run of `prlhf train`: the same for Python, a TOML recipe and the command line."""

    COMMAND: ClassVar[str] = "prlhf train"
    """What is typed for such a run."""

    seed: int = 0
    """Of everything that is drawn; the split has its own."""
    alpha: float = Field(0.5, ge=0, le=1)
    """Weight of the specific branch: `alpha l(user) + (1 - alpha) l(generic user)`."""
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    user_model: UserModelConfig = Individual()
    """How a user becomes user tokens."""
    objective: ObjectiveConfig = Dpo()
    """The loss of a comparison."""
    training: TrainingConfig = TrainingConfig()

    @property
    def language_model(self) -> ModelConfig:
        """As the language model is made."""
        return self.model

    def described(self) -> dict[str, Any]:
        """As the run's folder keeps it, in `config.json`."""
        return self.model_dump(mode="json")

    @classmethod
    def of_described(cls, held: dict[str, Any]) -> Self:
        """From what `described` gave.

        Raises:
            pydantic.ValidationError: it is of something else.
        """
        return cls.model_validate(cls.options_in(held))
