"""Options of sources, which come from recipes and command lines: of the right type, and in their range."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

from prlhf.errors import ConfigError

__all__ = ["one_of", "share", "whole", "yes_or_no"]


def whole(where: str, name: str, value: Any, least: int | None = None) -> None:
    """Refuse everything but a whole number, from `least` on.

    Raises:
        ConfigError: names the option, what was found and what is expected.
    """
    expected = "a whole number" + ("" if least is None else f", at least {least}")
    if isinstance(value, bool) or not isinstance(value, Integral) or (least is not None and value < least):
        raise ConfigError(f"{where}: option {name}: found {value!r}, expected {expected}")


def share(where: str, name: str, value: Any, meaning: str) -> None:
    """Refuse everything but a number from 0 to 1.

    Raises:
        ConfigError: names the option, its meaning and what was found.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) <= 1:
        raise ConfigError(f"{where}: option {name}: found {value!r}, expected {meaning}, a number from 0 to 1")


def yes_or_no(where: str, name: str, value: Any) -> None:
    """Refuse everything but true and false.

    Raises:
        ConfigError: names the option and what was found.
    """
    if not isinstance(value, bool):
        raise ConfigError(f"{where}: option {name}: found {value!r}, expected true or false")


def one_of(where: str, name: str, value: Any, choices: Sequence[str]) -> None:
    """Refuse everything but one of the `choices`.

    Raises:
        ConfigError: names the option, what was found and what is expected.
    """
    if value not in choices:
        raise ConfigError(f"{where}: option {name}: found {value!r}, expected one of {', '.join(choices)}")
