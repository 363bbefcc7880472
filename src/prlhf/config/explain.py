"""What pydantic says of a configuration, in our words: the option, found, expected, and the nearest name."""

from __future__ import annotations

import difflib
import json
from typing import Any

from prlhf.config.options import Options

__all__ = ["explain"]


def explain(options: Options, error: Any) -> str:
    """One line of pydantic's complaints in our words: place, found, expected, and the nearest name."""
    place = options.place(error["loc"])
    if error["type"] == "extra_forbidden":
        others = options.variants(place)
        if others:
            table = place.rpartition(".")[0]
            here = error["loc"][-2]
            return f"option {place} belongs to {table}.type={' or '.join(others)}; the type here is {here}"
        return f"unknown option {place}{_did_you_mean(options.nearest(place))}"
    if error["type"] == "union_tag_invalid":
        found, expected = error["ctx"]["tag"], error["ctx"]["expected_tags"].replace("'", "")
        nearest = difflib.get_close_matches(found, expected.split(", "), n=1)
        return f"option {place}.type: found {found!r}, expected {expected}{_did_you_mean(nearest)}"
    found = json.dumps(error["input"], default=str)
    if error["type"] == "literal_error":
        expected = error["ctx"]["expected"]
        names = expected.replace("'", "").replace(" or ", ", ").split(", ")
        return f"option {place}: found {found}, expected {expected}" + _did_you_mean(
            difflib.get_close_matches(str(error["input"]), names, n=1)
        )
    if error["type"] == "model_type" or error["type"].startswith("model_attributes"):
        variant = options.of_variant(place, error["input"]) if isinstance(error["input"], str) else set()
        meant = _did_you_mean([f"{place}.type={error['input']}"] if variant else [])
        return f"option {place}: found {found}, expected a table of options{meant}"
    return f"option {place}: {error['msg'][0].lower()}{error['msg'][1:]}; found {found}"


def _did_you_mean(names: list[str]) -> str:
    return f"; did you mean {names[0]}?" if names else ""
