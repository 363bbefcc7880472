"""Preference objectives: pure functions of log-probabilities, one file a method."""

from prlhf.objectives.cdpo import cdpo_loss
from prlhf.objectives.dpo import dpo_loss
from prlhf.objectives.hinge import hinge_loss
from prlhf.objectives.ipo import ipo_loss
from prlhf.objectives.kto import kto_loss
from prlhf.objectives.make import MARGINS, OBJECTIVES, make_objective, margin_of
from prlhf.objectives.mix import mix
from prlhf.objectives.objective import Objective, ThumbObjective, on_margin
from prlhf.objectives.pair import PairLogps, margin, mean_margin
from prlhf.objectives.robust import robust_loss
from prlhf.objectives.sft import sft_loss
from prlhf.objectives.simpo import mean_difference, simpo_loss
from prlhf.objectives.ties import decided_loss, tie_loss

__all__ = [
    "MARGINS",
    "OBJECTIVES",
    "Objective",
    "PairLogps",
    "ThumbObjective",
    "cdpo_loss",
    "decided_loss",
    "dpo_loss",
    "hinge_loss",
    "ipo_loss",
    "kto_loss",
    "make_objective",
    "margin",
    "margin_of",
    "mean_difference",
    "mean_margin",
    "mix",
    "on_margin",
    "robust_loss",
    "sft_loss",
    "simpo_loss",
    "tie_loss",
]
