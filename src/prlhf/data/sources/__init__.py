"""Named sources of comparisons: functions from their options to a `Log`. A new one is a line in `SOURCES`."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from prlhf.data.log import Log
from prlhf.data.sources.convarg import convarg
from prlhf.data.sources.planted import planted
from prlhf.data.sources.polis import polis
from prlhf.data.sources.prism import prism
from prlhf.data.sources.psoups import psoups
from prlhf.data.sources.tldr import tldr
from prlhf.errors import ConfigError

__all__ = ["SOURCES", "call_source"]

SOURCES: dict[str, Callable[..., Log]] = {
    "planted": planted,
    "convarg": convarg,
    "polis": polis,
    "tldr": tldr,
    "psoups": psoups,
    "prism": prism,
}


def call_source(name: str, options: Mapping[str, Any]) -> Log:
    """Run a source with options from a config.

    Raises:
        ConfigError: an option that it does not have (the message names the nearest), one that it needs and is not
            given, or a value that does not fit.
    """
    source = SOURCES[name]
    known = inspect.signature(source).parameters
    open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in known.values())
    for option in options:
        if option not in known and not open_ended:
            near = difflib.get_close_matches(option, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; it has {', '.join(known) or 'none'}"
            raise ConfigError(f"data.options: the source {name!r} has no option {option!r}{hint}")
    for option, parameter in known.items():
        needed = parameter.default is inspect.Parameter.empty and parameter.kind is not inspect.Parameter.VAR_KEYWORD
        if needed and option not in options:
            raise ConfigError(
                f"data.options: the source {name!r} needs the option {option!r} (--set data.options.{option}=…)"
            )
    return source(**options)
