"""`soft_prompt` by the trainer of P-DPO: the same steps, branches, layouts and run folder, on rewards."""

from __future__ import annotations

from pathlib import Path

from prlhf.config.rewards import SoftPrompt
from prlhf.data import Log
from prlhf.evaluation.reward import RewardEvaluation
from prlhf.evaluation.scores import Scores
from prlhf.lm import RewardLM
from prlhf.rewards.soft_prompt import SoftPromptReward
from prlhf.training.reward.run import RewardResult
from prlhf.training.train import train

__all__ = ["soft_prompt_result", "train_soft_prompt"]


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


def soft_prompt_result(reward: SoftPromptReward, folder: Path) -> RewardResult:
    """What `train_soft_prompt` made, as other reward models tell it: the figures are those that the run measured."""
    lm, config = reward.lm, reward.config
    shared = sum(p.numel() for p in lm.parameters() if p.requires_grad)
    own = 0 if lm.user_model.table is None else lm.user_model.table.weight.shape[1]
    learned = (
        f"{config.type}: {config.model.base} with {lm.user_model.tokens} user tokens and a scalar head, "
        f"{len(lm.users):,} users. It keeps {shared - own * (len(lm.users) + 1):,} trained numbers that all share, and "
        f"{own:,} of each user."
    )
    held = folder / "scores.parquet"
    return RewardResult(folder, reward, _measured(Scores.load(held), config) if held.is_file() else None, learned)


def _measured(scores: Scores, config: SoftPrompt) -> RewardEvaluation:
    seen, unseen = (scores.select(rows) if rows.any() else None for rows in (scores.seen, ~scores.seen))
    return RewardEvaluation(config.type, seen, unseen, 0, 0, {}, bootstrap=1000, seed=config.seed)
