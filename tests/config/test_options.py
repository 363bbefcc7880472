"""The options of a configuration, read from its models."""

from typing import Any

import pytest

from prlhf.config import RunConfig, SftConfig
from prlhf.config.base import Config
from prlhf.config.options import Option, Options


def leaves(config: Config, prefix: str = "") -> dict[str, Any]:
    """Every dotted option that a configuration holds."""
    found: dict[str, Any] = {}
    for name, value in config:
        found |= leaves(value, f"{prefix}{name}.") if isinstance(value, Config) else {f"{prefix}{name}": value}
    return found


@pytest.mark.parametrize("kind", [RunConfig, SftConfig])
def test_nothing_is_missing_and_defaults_are_right(kind):
    rows = Options(kind).rows()
    for name, value in leaves(kind()).items():
        defaults = {row.default for row in rows if row.name == name}
        expected = (
            {True: "true", False: "false", None: "null"}.get(value) if value in (None, True, False) else str(value)
        )
        assert any(found == expected or float_equal(found, value) for found in defaults), (name, value, defaults)


def float_equal(text: str, value: Any) -> bool:
    try:
        return float(text) == value
    except ValueError:
        return False


def test_a_row():
    rows = {(row.name, row.variant): row for row in Options(RunConfig).rows()}
    row = rows["alpha", ""]
    assert (row.values, row.default) == ("number ≥ 0, ≤ 1", "0.5") and row.meaning.startswith("Weight of the specific")
    assert rows["user_model.rank", "low_rank"].values == "whole number ≥ 1"
    assert rows["user_model.type", ""].values == "uniform · individual · cluster · low_rank"
    assert rows["model.tuning.target_modules", "lora"].values == "text or list"
    assert isinstance(row, Option)


def test_variants_and_their_options():
    options = Options(RunConfig)
    assert options.place(("user_model", "cluster", "cluster")) == "user_model.cluster"
    assert options.place(("model", "tuning", "lora", "r")) == "model.tuning.r"
    assert options.place(("data", "columns", "lora", 0)) == "data.columns.lora.0"
    assert options.of_variant("objective", "ipo") == {"type", "beta", "sft_weight", "average"}
    assert options.of_variant("model.tuning", "full") == {"type"}
    assert options.of_variant("objective", "nonesuch") == options.of_variant("nowhere", "ipo") == set()


def test_nearest_prefers_the_same_word_elsewhere():
    options = Options(RunConfig)
    assert options.nearest("lora.dropout") == ["model.tuning.dropout"]
    assert options.nearest("trainings") == ["training"]
    assert options.nearest("training.xyzzy") != ["training"]


def test_which_variants_have_an_option():
    options = Options(RunConfig)
    assert options.variants("objective.average") == ["ipo"]
    assert options.variants("user_model.start") == ["individual", "cluster", "low_rank"]
    assert options.variants("seed") == options.variants("nonesuch") == []
