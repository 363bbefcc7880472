"""The planted world as a source: `planted` with the options of `prlhf.data.planted.World`."""

from __future__ import annotations

import difflib
import inspect
from typing import Any

from prlhf.data.log import Log
from prlhf.errors import ConfigError

__all__ = ["planted"]


def planted(**options: Any) -> Log:
    """Votes of planted users with known profiles, and a noise-free test side.

    Raises:
        ConfigError: an option that the world does not have.
    """
    from prlhf.data.planted import World

    known = list(inspect.signature(World).parameters)
    for option in options:
        if option not in known:
            near = difflib.get_close_matches(option, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; it has {', '.join(known)}"
            raise ConfigError(f"data.options: the source 'planted' has no option {option!r}{hint}")
    return World(**options).log()
