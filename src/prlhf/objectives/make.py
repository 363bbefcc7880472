"""From a configuration to its objective: one line for each `type`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from prlhf.config.objectives import ObjectiveConfig
from prlhf.objectives.cdpo import cdpo_loss
from prlhf.objectives.custom import custom_loss
from prlhf.objectives.dpo import dpo_loss
from prlhf.objectives.hinge import hinge_loss
from prlhf.objectives.ipo import ipo_loss
from prlhf.objectives.kto import kto_loss
from prlhf.objectives.objective import Objective, OfPair, ThumbObjective, on_margin
from prlhf.objectives.pair import margin, mean_margin
from prlhf.objectives.robust import robust_loss
from prlhf.objectives.simpo import mean_difference, simpo_loss
from prlhf.objectives.ties import decided_loss, tie_loss

__all__ = ["MARGINS", "OBJECTIVES", "make_objective", "margin_of"]


def _dpo(c: Any) -> Objective:
    if c.ties is None:
        return on_margin(lambda h: dpo_loss(h, c.beta))
    return on_margin(lambda h: decided_loss(h, c.beta, c.ties), tie=lambda h: tie_loss(h, c.beta, c.ties))


def _kto(c: Any) -> ThumbObjective:
    return ThumbObjective(lambda r, z0, up: kto_loss(r, z0, up, c.beta, c.desirable_weight, c.undesirable_weight))


OBJECTIVES: dict[str, Callable[[Any], Objective | ThumbObjective]] = {
    "dpo": _dpo,
    "ipo": lambda c: on_margin(lambda h: ipo_loss(h, c.beta), margin_of(c)),
    "hinge": lambda c: on_margin(lambda h: hinge_loss(h, c.beta)),
    "cdpo": lambda c: on_margin(lambda h: cdpo_loss(h, c.beta, c.epsilon)),
    "robust": lambda c: on_margin(lambda h: robust_loss(h, c.beta, c.epsilon)),
    "simpo": lambda c: on_margin(lambda d: simpo_loss(d, c.beta, c.gamma), margin_of(c)),
    "kto": _kto,
    "custom": lambda c: Objective(custom_loss(c.function, c.options)),
}
"""Type of an objective -> what makes it from its configuration."""

MARGINS: dict[str, Callable[[Any], OfPair]] = {
    "ipo": lambda c: mean_margin if c.average else margin,
    "simpo": lambda c: mean_difference,
}
"""Type of an objective -> what its model ranks two responses by, where that is not always `margin`."""


def make_objective(config: ObjectiveConfig) -> Objective | ThumbObjective:
    """The objective that `config` describes.

    Raises:
        ConfigError: a custom function that cannot be found, or does not take these options.
    """
    return replace(OBJECTIVES[config.type](config), sft_weight=config.sft_weight)


def margin_of(config: ObjectiveConfig) -> OfPair:
    """What ranks two responses under this objective: all that evaluation needs of it.

    No custom function is looked for, so that a run can be measured where its module is not: it has the margin of
    implicit rewards in any case.
    """
    return MARGINS.get(config.type, lambda _: margin)(config)
