"""Learning curves: a sample of the held-out side, scored again and again while the model learns."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import numpy as np

from prlhf.config import RunConfig
from prlhf.data import Log, Split, subsample
from prlhf.evaluation.bootstrap import clusters, lowest
from prlhf.evaluation.metrics import WORST, summarise
from prlhf.evaluation.policy import EvaluationSet, policy_logprobs, scores_of
from prlhf.lm import PersonalizedLM
from prlhf.objectives import margin_of
from prlhf.training.progress import bar

__all__ = ["FALLEN", "LearningCurves"]

logger = logging.getLogger(__name__)
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

FALLEN = 0.5
"""By which share of the reference's log-probability that of chosen responses may fall, for everybody together and for
the tenth of users who lost most. Of our runs those whose answers lost words were above it, the planted recipe and the
demo below (docs/results.md)."""


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
        return curves | self._falls(logps)

    def _falls(self, logps: np.ndarray) -> dict[str, float]:
        """How far the log-probability of chosen responses lies below the reference's, as a share of the latter: of
        all comparisons, and as the mean of the tenth of users with the largest falls."""
        reference, own = self.data.reference[:, 0], logps[:, 0, 0]
        codes, _ = clusters([c.user for c in self.data.comparisons])
        lost, whole = np.bincount(codes, reference - own), np.bincount(codes, np.abs(reference))
        fall = float(lost.sum() / max(whole.sum(), 1e-9))
        worst = float(-lowest(-lost / np.maximum(whole, 1e-9), WORST))
        self._warn(fall, "chosen responses")
        self._warn(worst, "chosen responses of the tenth of users who lost most")
        return {"chosen_fall": fall, "chosen_fall_worst_tenth": worst}

    def _warn(self, fall: float, whose: str) -> None:
        """Warn of a fall that is too large; once for a run."""
        if fall > FALLEN and not self.warned:
            self.warned = True
            logger.warning(
                "%s: their log-probability has fallen by %.2f times what it was before training: the model tells "
                "preferences apart by making all responses unlikely, and its answers may lose words, then sense. Read "
                "some; if they suffer, raise objective.beta (now %g) or objective.sft_weight (now %g)",
                whose,
                fall,
                self.config.objective.beta,
                self.config.objective.sft_weight,
            )
