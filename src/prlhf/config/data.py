"""What to read, and how to split it."""

from typing import Any, Literal

from pydantic import Field

from prlhf.config.base import Config

__all__ = ["DataConfig", "SplitConfig"]


class SplitConfig(Config):
    """How training, validation and test are kept apart (`prlhf.data.splits`)."""

    by: Literal["pair", "prompt", "response"] = "pair"
    """What no two sides share. `pair`: the same two responses, or pairs of one ranking; `prompt`: the same prompt;
    `response`: any response."""
    test: float = Field(0.1, ge=0, lt=1)
    """Share of the comparisons in the test side."""
    validation: float = Field(0.0, ge=0, lt=1)
    """Share of the comparisons in the validation side, taken the same way."""
    users: float = Field(0.0, ge=0, lt=1)
    """Share of the users held out altogether (side `unseen`)."""
    seed: int = 0
    """Of the split: the same seed and the same data give the same sides."""


class DataConfig(Config):
    """A preference log and how to read it."""

    source: str = "planted"
    """A file (JSONL, JSON, CSV, Parquet), a folder saved by `datasets`, a named source (`planted`, `convarg`, `polis`,
    `tldr`, `psoups`, `prism`) or a Hugging Face data-set id."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Options of a named source (as `top = 10` of `convarg`, `path` of `prism`) or of `datasets.load_dataset` (`name`,
    `split`)."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Our name -> the file's name, for columns that are called otherwise: `{user_id = "worker"}`."""
    rankings: Literal["judgement", "comparison"] = "judgement"
    """`judgement`: the comparisons of one ranking share the weight 1; `comparison`: each has weight 1."""
    user_text: bool = True
    """False: texts about users are left out, so that only their votes tell."""
    on_bad_row: Literal["stop", "skip"] = "stop"
    """`stop`: an error that names the row; `skip`: bad rows are counted and listed."""
    max_comparisons: int | None = Field(None, gt=0)
    """Keep at most so many training comparisons (a seeded sample)."""
    split: SplitConfig = SplitConfig()
