"""TOML recipes and `key=value` overrides to a configuration; unknown options suggest the nearest."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from prlhf.config.base import Config
from prlhf.config.explain import explain
from prlhf.config.options import Options
from prlhf.errors import ConfigError

__all__ = ["load_config", "read_recipe"]

C = TypeVar("C", bound=Config)


def load_config(
    kind: type[C],
    recipe: str | Path | None = None,
    overrides: Iterable[str] = (),
    values: Mapping[str, Any] | None = None,
    flags: Mapping[str, str] | None = None,
) -> C:
    """Build a `kind` from a `recipe`, then `values` (dotted keys), then `overrides` (`"objective.beta=0.5"`).

    A recipe is TOML, or the `config.json` of an earlier run. An override is a TOML value, `null`, or a bare string. One
    that changes a `type` keeps of the recipe's options those that the new variant has too. `flags` says what each of
    the `values` is called where the user gave it (`--data`), for messages.

    Raises:
        ConfigError: a file that is not TOML, an unknown option (the message names the nearest), or a value that does
            not fit; the message begins with where the value came from.
    """
    options = Options(kind)
    tree = {} if recipe is None else kind.options_in(read_recipe(Path(recipe)))
    sources: list[tuple[str, str]] = [] if recipe is None else [("", f"{recipe}: ")]  # dotted key, from where; in order
    for key, value in (values or {}).items():
        _put(tree, key, value, options)
        sources.append((key, f"{flags[key]}: " if flags and key in flags else ""))
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"an override is written key=value, as in objective.beta=0.5; found {text!r}")
        _put(tree, key.strip(), _parse(value.strip()), options)
        sources.append((key.strip(), f"--set {text}: "))
    try:
        return kind.model_validate(tree)
    except ValidationError as e:
        lines = [_source(options, error, sources) + explain(options, error) for error in e.errors()]
        raise ConfigError("\n".join(lines)) from e


def read_recipe(recipe: Path) -> dict[str, Any]:
    """The table in a TOML or JSON file.

    Raises:
        ConfigError: no such file, or another format.
    """
    try:
        text = recipe.read_text(encoding="utf8")
        tree = json.loads(text) if recipe.suffix == ".json" else tomllib.loads(text)
    except FileNotFoundError as e:
        raise ConfigError(f"no recipe at {recipe}") from e
    except (ValueError, OSError) as e:  # TOMLDecodeError, JSONDecodeError and UnicodeDecodeError are ValueErrors
        kind = "JSON" if recipe.suffix == ".json" else "TOML"
        raise ConfigError(f"{recipe} is not a {kind} recipe: {e}") from e
    if not isinstance(tree, dict):
        raise ConfigError(f"{recipe}: found {type(tree).__name__}, expected a table of options")
    return tree


def _parse(value: str) -> Any:
    """A TOML value where it is one, None for `null`, else the bare string (so that paths and names need no quotes)."""
    if value == "null":
        return None
    try:
        parsed = tomllib.loads(f"x = {value}")
    except tomllib.TOMLDecodeError:
        return value
    return parsed["x"] if set(parsed) == {"x"} else value


def _put(tree: dict[str, Any], key: str, value: Any, options: Options) -> None:
    *path, last = key.split(".")
    for part in path:
        if tree.get(part) is None:
            tree[part] = {}
        tree = tree[part]
        if not isinstance(tree, dict):
            raise ConfigError(f"{key}: {part} is a value, not a table")
    if last == "type" and tree.get("type") != value:
        shared = options.of_variant(".".join(path), value)
        for name in [name for name in tree if name not in shared]:
            del tree[name]
    tree[last] = value


def _source(options: Options, error: Any, sources: list[tuple[str, str]]) -> str:
    """Where the value of a complaint came from: what was given last for its option, or for a table around it."""
    place = options.place(error["loc"])
    if error["type"] == "union_tag_invalid":
        place += ".type"
    held = [source for key, source in sources if not key or f"{place}.".startswith(f"{key}.")]
    return held[-1] if held else ""
