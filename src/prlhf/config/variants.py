"""Several configurations from one recipe: options with more than one value, one at a time or in all combinations."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prlhf.config.load import load_config
from prlhf.config.options import Options
from prlhf.config.run import RunConfig
from prlhf.errors import ConfigError

__all__ = ["BASE", "Variant", "variants"]

BASE = "base"
"""Name of the configuration in which nothing is varied."""


@dataclass(frozen=True)
class Variant:
    """A configuration and what is other in it, as `alpha=1, user_model.tokens=1`."""

    name: str
    config: RunConfig

    @property
    def folder(self) -> str:
        """The name as part of a path."""
        return re.sub(r"[^\w.=+-]+", "_", self.name)


def variants(
    recipe: str | Path | None,
    settings: Sequence[str],
    values: Mapping[str, Any] | None = None,
    flags: Mapping[str, str] | None = None,
    *,
    grid: bool = False,
) -> list[Variant]:
    """The recipe itself, then one variant for each value of each option that has several.

    An option of another variant of its table, as `user_model.clusters` where the recipe's users are `individual`,
    brings that variant with it. Values that are the recipe's own give no variant of their own.

    Args:
        recipe, values, flags: as `load_config` takes them.
        settings: `key=value`, for all of them, or `key=value,value,…`, to be varied.
        grid: all combinations of the values, instead of one option at a time.

    Raises:
        ConfigError: as `load_config`; nothing to vary; or with `grid` options that exclude each other.
    """
    several = [text for text in settings if len(_values(text)) > 1]
    fixed = [text for text in settings if text not in several]
    if not several:
        raise ConfigError("nothing is varied: give an option several values, as --set alpha=0.5,1")
    base = load_config(RunConfig, recipe, fixed, values, flags)
    options = Options(RunConfig)
    found = [Variant(BASE, base)]
    factors = [[f"{text.partition('=')[0].strip()}={value}" for value in _values(text)] for text in several]
    chosen = itertools.product(*factors) if grid else ((one,) for factor in factors for one in factor)
    for settings_here in chosen:
        brought = [text for one in settings_here for text in _brought(one, base, options)]
        config = load_config(RunConfig, recipe, [*fixed, *brought, *settings_here], values, flags)
        if all(config != other.config for other in found):
            found.append(Variant(", ".join([*brought, *settings_here]), config))
    return found


def _values(text: str) -> list[str]:
    """The values of `key=a,b`; commas inside quotes, lists and tables belong to a value."""
    _, _, value = text.partition("=")
    parts, depth, quote = [""], 0, ""
    for character in value:
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        depth += (character in "[{") - (character in "]}") if not quote else 0
        if character == "," and not depth and not quote:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def _brought(setting: str, base: RunConfig, options: Options) -> list[str]:
    """The `type` that has the option, where the base's has not and just one other has."""
    key = setting.partition("=")[0]
    table = key.rpartition(".")[0]
    owners = {name for owner in options.variants(key) for name in re.split(r"[\s,·]+", owner)}
    here: Any = base
    for part in table.split("."):
        here = getattr(here, part, None)
    if len(owners) != 1 or getattr(here, "type", None) in owners:
        return []
    return [f"{table}.type={owners.pop()}"]
