"""Made-up comparisons, a tiny model away from step 0, and its trainer: what the tests of the loss begin with."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from transformers import TrainingArguments

from prlhf.config import Dpo, Individual, ModelConfig, RunConfig
from prlhf.lm import PersonalizedLM
from prlhf.objectives import make_objective
from prlhf.training.branches import Branches
from prlhf.training.dataset import PreferenceDataset
from prlhf.training.train import prepare
from prlhf.training.trainer import PreferenceTrainer
from prlhf.types import Comparison, Feedback, Thumb

USERS = ["ann", "bob", "cem"]
WORDS = ["red", "green as grass", "a blue sky", "no", "yes, of course", "perhaps tomorrow"]


def comparisons(count: int) -> list[Comparison]:
    """Made up, with uneven lengths; ann has most, cem one."""
    owner = ["ann", "bob", "ann", None]
    made = [
        Comparison(
            f"question {i}?" + "?" * (i % 5),
            WORDS[i % 6] + "!" * (i % 3),
            WORDS[(i + 1 + i % 4) % 6],
            user=owner[i % 4],
        )
        for i in range(count)
    ]
    return [replace(c, user="cem" if i == 5 else c.user, id=f"row {i}") for i, c in enumerate(made)]


def thumbs(count: int) -> list[Thumb]:
    """One response of each of the comparisons, up and down in turn."""
    return [
        Thumb(c.prompt, c.chosen, i % 2 == 0, user=c.user, id=f"thumb {i}") for i, c in enumerate(comparisons(count))
    ]


def model(base: str, user_model=None, **options) -> PersonalizedLM:
    lm = PersonalizedLM.create(ModelConfig(base=base, **options), user_model or Individual(tokens=2), USERS, seed=1)
    return moved(lm).double() if options.get("dtype") == "float64" else moved(lm)


@torch.no_grad()
def moved(lm):
    """Away from step 0, so that every term of the loss counts."""
    torch.manual_seed(7)
    for name, p in lm.named_parameters():
        if p.requires_grad and "lora_A" not in name:
            p.add_(torch.randn_like(p) * 0.05)
    if lm.user_model.table is not None:
        lm.user_model.table.weight[0] = 0.0
    return lm


def dataset(lm: PersonalizedLM, log: Sequence[Feedback], config=None, **changes) -> PreferenceDataset:
    return replace(prepare(lm, log, config or RunConfig(), layout="plain", cache=None), **changes)


def trainer(
    lm, data, folder, *, alpha=0.5, sampled=False, objective=None, user_l2=0.0, lr=0.0, layout="plain", callbacks=None,
    **args,
):  # fmt: skip
    defaults = {"num_train_epochs": 1, "save_strategy": "no", "logging_steps": 1, "lr_scheduler_type": "constant"}
    arguments = TrainingArguments(
        str(folder), learning_rate=lr, max_grad_norm=0.0, report_to="none", disable_tqdm=True, use_cpu=True,
        remove_unused_columns=False, dataloader_pin_memory=False, **{**defaults, **args},
    )  # fmt: skip
    return PreferenceTrainer(
        lm, arguments, data, objective=make_objective(objective or Dpo()),
        branches=Branches(alpha, sampled), layout=layout,
        user_learning_rate=10 * lr, user_l2=user_l2, max_grad_norm=0.0, callbacks=callbacks,
    )  # fmt: skip


def gradients(lm: PersonalizedLM) -> dict[str, torch.Tensor]:
    found = {n: p.grad for n, p in lm.named_parameters() if p.grad is not None}
    return {n: (g.to_dense() if g.is_sparse else g).clone() for n, g in found.items()}
