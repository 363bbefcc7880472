"""Whether preference is bought with language: chosen responses that become unlikely too."""

from __future__ import annotations

import logging

import numpy as np

from prlhf.config.objectives import ObjectiveConfig
from prlhf.evaluation.bootstrap import clusters, lowest
from prlhf.evaluation.metrics import WORST
from prlhf.evaluation.policy import EvaluationSet

__all__ = ["FALLEN", "falls", "warn_fallen"]

logger = logging.getLogger(__name__)
FALLEN = 0.5
"""By which share of the reference's log-probability that of chosen responses may fall, for everybody together and for
the tenth of users who lost most. Of our runs those whose answers lost words were above it, the planted recipe and the
demo below (docs/results.md)."""


def falls(data: EvaluationSet, logps: np.ndarray) -> dict[str, float]:
    """How far the log-probability of chosen responses lies below the reference's, as a share of the latter: of all
    comparisons, and as the mean of the tenth of users with the largest falls."""
    reference, own = data.reference[:, 0], logps[:, 0, 0]
    codes, _ = clusters([c.user for c in data.comparisons])
    lost, whole = np.bincount(codes, reference - own), np.bincount(codes, np.abs(reference))
    fall = float(lost.sum() / max(whole.sum(), 1e-9))
    worst = float(-lowest(-lost / np.maximum(whole, 1e-9), WORST))
    return {"chosen_fall": fall, "chosen_fall_worst_tenth": worst}


def warn_fallen(found: dict[str, float], objective: ObjectiveConfig) -> bool:
    """Warn of a fall that is too large; whether there is one."""
    whose = {"chosen_fall": "", "chosen_fall_worst_tenth": " of the tenth of users who lost most"}
    large = [name for name in whose if found.get(name, 0.0) > FALLEN]
    if large:
        logger.warning(
            "chosen responses%s: their log-probability has fallen by %.2f times what it was before training: the model "
            "tells preferences apart by making all responses unlikely, and its answers may lose words, then sense. "
            "Read some; if they suffer, raise objective.beta (now %g) or objective.sft_weight (now %g)",
            whose[large[0]],
            found[large[0]],
            objective.beta,
            objective.sft_weight,
        )
    return bool(large)
