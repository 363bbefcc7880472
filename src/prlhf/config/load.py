"""TOML recipes and `key=value` overrides to a configuration; unknown options suggest the nearest."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from prlhf.config.base import Config
from prlhf.errors import ConfigError

__all__ = ["load_config", "option_names"]

C = TypeVar("C", bound=Config)


def load_config(
    kind: type[C], recipe: str | Path | None = None, overrides: Iterable[str] = (), values: Mapping[str, Any] | None = None
) -> C:
    """Build a `kind` from a TOML `recipe`, then `values` (dotted keys), then `overrides` (`"objective.beta=0.5"`).

    Raises:
        ConfigError: a file that is not TOML, an unknown option (the message names the nearest), or a value that does
            not fit.
    """
    tree: dict[str, Any] = {}
    if recipe is not None:
        try:
            tree = tomllib.loads(Path(recipe).read_text(encoding="utf8"))
        except FileNotFoundError as e:
            raise ConfigError(f"no recipe at {recipe}") from e
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as e:
            raise ConfigError(f"{recipe} is not a TOML recipe: {e}") from e
    for key, value in (values or {}).items():
        _put(tree, key, value)
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"an override is written key=value, as in objective.beta=0.5; found {text!r}")
        _put(tree, key.strip(), _parse(value.strip()))
    try:
        return kind.model_validate(tree)
    except ValidationError as e:
        raise ConfigError("\n".join(_explain(kind, error) for error in e.errors())) from e


def _parse(value: str) -> Any:
    """A TOML value where it is one, else the bare string (so that paths and names need no quotes)."""
    try:
        return tomllib.loads(f"x = {value}")["x"]
    except tomllib.TOMLDecodeError:
        return value


def _put(tree: dict[str, Any], key: str, value: Any) -> None:
    *path, last = key.split(".")
    for part in path:
        tree = tree.setdefault(part, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"{key}: {part} is a value, not a table")
    if last == "type" and tree.get("type") not in (None, value):
        tree.clear()  # another variant: the recipe's options of the old one do not apply to it
    tree[last] = value


def option_names(kind: type[Config]) -> list[str]:
    """Every dotted option of a configuration, over all variants of its unions."""
    names: set[str] = set()

    def walk(schema: dict[str, Any], prefix: str) -> None:
        if "$ref" in schema:
            schema = definitions[schema["$ref"].rsplit("/", 1)[1]]
        for variant in schema.get("oneOf", []) + schema.get("anyOf", []):
            walk(variant, prefix)
        for key, sub in schema.get("properties", {}).items():
            names.add(f"{prefix}{key}")
            walk(sub, f"{prefix}{key}.")

    top = kind.model_json_schema()
    definitions = top.get("$defs", {})
    walk(top, "")
    return sorted(names)


def _explain(kind: type[Config], error: Any) -> str:
    variants = {"uniform", "individual", "cluster", "low_rank", "dpo", "ipo", "lora", "full"}
    place = ".".join(str(part) for part in error["loc"] if part not in variants)
    if error["type"] == "extra_forbidden":
        names = option_names(kind)
        last = place.rsplit(".", 1)[-1]
        tails = [name.rsplit(".", 1)[-1] for name in names]
        nearest = [name for name, tail in zip(names, tails, strict=True) if tail == last][:1]  # right word, wrong table
        nearest = nearest or difflib.get_close_matches(place, names, n=1, cutoff=0.6)
        near_tail = difflib.get_close_matches(last, tails, n=1, cutoff=0.6)
        nearest = nearest or [name for name, tail in zip(names, tails, strict=True) if [tail] == near_tail][:1]
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        return f"unknown option {place}{hint}"
    found = json.dumps(error["input"], default=str)
    return f"option {place}: {error['msg'][0].lower()}{error['msg'][1:]}; found {found}"
