"""Trackers of transformers (`report_to`): whether they exist and are installed, asked before anything is prepared."""

from __future__ import annotations

from collections.abc import Sequence

from transformers.integrations import get_reporting_integration_callbacks

from prlhf.errors import ConfigError
from prlhf.words import did_you_mean

__all__ = ["check_trackers"]


def check_trackers(names: Sequence[str], option: str) -> None:
    """Refuse a tracker that the Trainer would fall over when it is made.

    Args:
        names: as the option has them; `all` or `none` alone mean those installed and no one.
        option: its name, for the message.

    Raises:
        ConfigError: a name that transformers does not know, or a tracker whose package is not installed.
    """
    for name in [] if list(names) in (["all"], ["none"]) else names:
        try:
            (callback,) = get_reporting_integration_callbacks([name])
        except ValueError as e:
            known = str(e).partition("only ")[2].removesuffix(" are supported.")
            hint = did_you_mean(name, known.split(", "))
            raise ConfigError(f"option {option}: found {name!r}, expected {known or 'another one'}{hint}") from e
        try:
            callback()
        except (RuntimeError, ImportError) as e:
            raise ConfigError(f"option {option}: {name} cannot be used: {e}; install it, or leave it out") from e
