"""Objectives from outside the package: a function found by `module:name`."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from prlhf.errors import ConfigError, TrainingError
from prlhf.objectives.objective import OfPair
from prlhf.objectives.pair import PairLogps

__all__ = ["custom_loss"]


def custom_loss(place: str, options: Mapping[str, Any]) -> OfPair:
    """The function at `place` (`module:name`), with `options` given by name.

    It is called with the `PairLogps` of policy and reference, and returns the loss of each comparison in the shape of
    `policy.chosen`.

    Raises:
        ConfigError: no such module or function, or options that it does not take.
        TrainingError: when it is called and returns something else.
    """
    function = _find(place)
    try:
        inspect.signature(function).bind(None, None, **options)
    except TypeError as e:
        expected = f"{place} is called with (policy, reference, **options)"
        raise ConfigError(f"objective.options: {expected}, and does not take these: {e}") from e

    def loss(policy: PairLogps, reference: PairLogps) -> Tensor:
        losses = function(policy, reference, **options)
        if not isinstance(losses, Tensor) or losses.shape != policy.chosen.shape:
            found = f"shape {tuple(losses.shape)}" if isinstance(losses, Tensor) else f"a {type(losses).__name__}"
            expected = f"one loss for each comparison and branch, shape {tuple(policy.chosen.shape)}"
            raise TrainingError(f"objective.function: {place} returned {found}; expected {expected}")
        return losses

    return loss


def _find(place: str) -> Callable[..., Any]:
    module, _, name = place.partition(":")
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError as e:
        how = "install its package, or name its folder: PYTHONPATH=FOLDER prlhf …"
        raise ConfigError(f"objective.function: cannot import {module!r} ({e}); {how}") from e
    if not callable(found):
        raise ConfigError(f"objective.function: the module {module!r} has no function {name!r}")
    return found
