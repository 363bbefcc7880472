"""Learning curves: a sample of the held-out side, scored again and again while the model learns."""

from __future__ import annotations

import math
from pathlib import Path

from prlhf.config import RunConfig
from prlhf.data import Log, Split, subsample
from prlhf.evaluation.metrics import summarise
from prlhf.evaluation.policy import EvaluationSet, policy_logprobs, scores_of
from prlhf.lm import PersonalizedLM
from prlhf.objectives import margin_of
from prlhf.training.fallen import falls, warn_fallen
from prlhf.training.progress import bar

__all__ = ["LearningCurves"]

CURVES = (
    "accuracy_seen",
    "accuracy_per_user",
    "accuracy_worst_tenth",
    "accuracy_generic",
    "accuracy_permuted",
    "margin_seen",
    "log_loss_seen",
)
"""What is logged while training; the whole table is written at the end."""


class LearningCurves:
    """Call it for the figures of this moment. It warns, once, when chosen responses have become far less likely than
    under the reference: then preference is bought with language.

    Args:
        lm: the model that learns.
        data: what it is scored on.
        config: of the run.
    """

    def __init__(self, lm: PersonalizedLM, data: EvaluationSet, config: RunConfig):
        self.lm = lm
        self.data = data
        self.config = config
        self.warned = False

    @classmethod
    def of(
        cls, lm: PersonalizedLM, log: Log, sides: Split, config: RunConfig, *, cache: Path | None
    ) -> LearningCurves | None:
        """On a sample of the validation side (else the test side); None where nothing can be measured, or is wanted."""
        chosen = subsample(sides.validation or sides.test, config.training.eval_comparisons, config.seed)
        if not chosen or not config.training.eval_steps:
            return None
        held_out = [log.items[i] for i in chosen]
        layout = config.training.layout  # chosen for these rows: they may be longer than those of training
        data = EvaluationSet.of(lm, held_out, cache=cache, layout=layout, seed=config.seed, progress=bar)
        return cls(lm, data, config) if len(data) else None

    def __call__(self) -> dict[str, float]:
        """Name -> value: `CURVES`, the standard error of the mean over users (`accuracy_per_user_se`, where there are
        two), `accuracy_group_<group>` of each group, `chosen_fall` and `chosen_fall_worst_tenth`."""
        objective = self.config.objective
        logps = policy_logprobs(self.lm, self.data)
        scores = scores_of(self.data, logps, margin_of(objective))
        metrics = summarise(scores, beta=objective.beta, bootstrap=0)
        groups = {name: figures.values().get("accuracy_seen") for name, figures in metrics.groups.items()}
        curves = {name: value for name, value in metrics.values().items() if name in CURVES}
        error = metrics.overall.accuracy_per_user.standard_error
        curves |= {} if math.isnan(error) else {"accuracy_per_user_se": error}
        curves |= {f"accuracy_group_{name}": value for name, value in groups.items() if value is not None}
        found = falls(self.data, logps) if self.lm.answers else {}
        self.warned = self.warned or warn_fallen(found, objective)
        return curves | found
