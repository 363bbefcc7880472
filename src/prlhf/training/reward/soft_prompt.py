"""`soft_prompt` by the trainer of P-DPO: the same steps, branches, layouts and run folder, on rewards."""

from __future__ import annotations

from pathlib import Path

from prlhf.config.rewards import SoftPrompt
from prlhf.data import Log
from prlhf.lm import RewardLM
from prlhf.rewards.soft_prompt import SoftPromptReward
from prlhf.training.train import train

__all__ = ["train_soft_prompt"]


def train_soft_prompt(
    config: SoftPrompt, output: str | Path, *, log: Log | None = None, resume: bool = False, cache: Path | None = None
) -> SoftPromptReward:
    """Train a personalised LM with a scalar head on the votes of `config.data`, and write a complete run folder.

    The folder is that of `prlhf.training.train.train` (metrics, evaluation on held-out votes, plots, checkpoints to go
    on from), and the reward model's too: `load_reward(output)` reads its `config.json` and `model/`. Arguments and
    errors are those of `train`.
    """
    result = train(config, output, log=log, resume=resume, cache=cache)
    assert isinstance(result.lm, RewardLM)
    return SoftPromptReward(config, result.lm)
