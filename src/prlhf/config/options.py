"""Every option of a configuration with its type, default and meaning, from the models themselves."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import BaseModel

__all__ = ["Option", "Options"]


@dataclass(frozen=True)
class Option:
    """One dotted option; `variant` names the variants of a union that have it, and is empty where all do."""

    name: str
    variant: str
    values: str
    default: str
    meaning: str


class Options:
    """What can be set in a configuration `kind`."""

    def __init__(self, kind: type[BaseModel]):
        self._top = kind.model_json_schema()
        self._definitions: dict[str, Any] = self._top.get("$defs", {})

    def place(self, location: Iterable[object]) -> str:
        """The dotted name of a location as pydantic gives it, which has the variant of a union after its name."""
        parts: list[str] = []
        chosen = False  # whether the part before was a variant; a field may have a variant's name
        for part in map(str, location):
            chosen = not chosen and bool(self.of_variant(".".join(parts), part))
            if not chosen:
                parts.append(part)
        return ".".join(parts)

    @cached_property
    def names(self) -> list[str]:
        """Every dotted option, over all variants of the unions."""
        return sorted({option.name for option in self.rows()} | {name for name, _ in self._tables()})

    def rows(self) -> list[Option]:
        """Every option that holds a value, in the order of the models; one row for each variant of a union."""
        return list(self._walk(self._top, "", ""))

    def of_variant(self, place: str, variant: str) -> set[str]:
        """Names of the options that the table at `place` has when its `type` is `variant`."""
        field = self._top
        for part in place.split("."):
            field = self._resolve(field).get("properties", {}).get(part, {})
        reference = field.get("discriminator", {}).get("mapping", {}).get(variant)
        return set(self._resolve({"$ref": reference})["properties"]) if reference else set()

    def variants(self, place: str) -> list[str]:
        """The variants of its table that have the option `place`; none where all do, or it is no option."""
        return [option.variant for option in self.rows() if option.name == place and option.variant]

    def nearest(self, place: str) -> list[str]:
        """At most one name: the same last word in another table, else the most similar name, else last word."""
        last = place.rsplit(".", 1)[-1]
        names = [name for name in self.names if not place.startswith(f"{name}.")]
        ends = {name.rsplit(".", 1)[-1]: name for name in reversed(names)}
        if last in ends:
            return [ends[last]]
        initials = {"".join(word[:1] for word in end.split("_")): name for end, name in ends.items() if "_" in end}
        if last in initials:  # as `lr`
            return [initials[last]]
        return difflib.get_close_matches(place, names, n=1, cutoff=0.6) or [
            ends[end] for end in difflib.get_close_matches(last, ends, n=1, cutoff=0.6)
        ]

    def _resolve(self, schema: dict[str, Any]) -> dict[str, Any]:
        if "$ref" in schema:
            return self._definitions[schema["$ref"].rsplit("/", 1)[1]]  # type: ignore[no-any-return]
        return schema

    def _tables(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The options that are tables themselves."""

        def walk(schema: dict[str, Any], prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
            for key, field in schema.get("properties", {}).items():
                for variant in field.get("oneOf", [field]):
                    inner = self._resolve(variant)
                    if "properties" in inner:
                        yield f"{prefix}{key}", inner
                        yield from walk(inner, f"{prefix}{key}.")

        return walk(self._top, "")

    def _walk(self, schema: dict[str, Any], prefix: str, variant: str) -> Iterator[Option]:
        for key, field in schema.get("properties", {}).items():
            name, inner = f"{prefix}{key}", self._resolve(field)
            if "oneOf" in field:
                kinds = {kind["properties"]["type"]["const"]: kind for kind in map(self._resolve, field["oneOf"])}
                default = field.get("default", {}).get("type", "")
                yield Option(f"{name}.type", variant, " · ".join(kinds), default, field.get("description", ""))
                for tag, kind in kinds.items():
                    yield from self._walk(kind, f"{name}.", tag)
            elif "properties" in inner:
                yield from self._walk(inner, f"{name}.", variant)
            elif "const" not in field:  # the type of a variant: its union has it
                yield Option(name, variant, _values(field), _default(field), _one_line(field.get("description", "")))


def _values(field: dict[str, Any]) -> str:
    """The type of a field in words."""
    if "enum" in field:
        return " · ".join(str(value) for value in field["enum"])
    if "anyOf" in field:
        return " or ".join(_values(option) for option in field["anyOf"] if option.get("type") != "null")
    if field.get("type") == "array":
        return "list"
    if field.get("type") == "object":
        return "table"
    words = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true · false"}
    limits = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = ", ".join(f"{sign} {field[limit]:g}" for limit, sign in limits.items() if limit in field)
    return " ".join(part for part in (words.get(str(field.get("type")), "any"), bounds) if part)


def _default(field: dict[str, Any]) -> str:
    empty: dict[str, Any] = {"array": [], "object": {}}
    made = empty.get(str(field.get("type")))  # a schema does not tell what a factory makes
    default = field.get("default", made)
    return default if isinstance(default, str) else json.dumps(default)


def _one_line(text: str) -> str:
    return " ".join(text.split())
