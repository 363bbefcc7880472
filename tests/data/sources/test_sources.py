"""The registry, and the small sources."""

import inspect
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from prlhf.config import DataConfig
from prlhf.data import SOURCES, Log, inherit, load_comparisons
from prlhf.data.planted import World
from prlhf.errors import ConfigError
from prlhf.types import Comparison


def test_names():
    assert list(SOURCES) == ["planted", "convarg", "polis", "tldr", "psoups", "prism"]


def test_polis():
    log = load_comparisons("polis")
    assert len(log) == 33_700 and len(log.users) == 1_095
    assert len({text for c in log.comparisons for text in (c.chosen, c.rejected)}) == 607
    assert len({c.prompt for c in log.comparisons}) == 1
    assert "Computational Democracy Project" in log.attribution and "CC BY 4.0" in log.attribution


@pytest.mark.parametrize("name", [name for name in SOURCES if name != "planted"])
def test_the_page_has_every_option(name):
    page = (Path(__file__).parents[3] / "docs" / "data.md").read_text(encoding="utf8")
    (cell,) = re.findall(rf"^\| `{name}` \| [^|]+\|([^|]*)\|$", page.split("## Columns")[0], re.MULTILINE)
    assert re.findall(r"`(\w+)`", cell) == list(inspect.signature(SOURCES[name]).parameters)


def test_options_are_checked():
    with pytest.raises(ConfigError, match="the source 'polis' has no option 'top'; it has none"):
        load_comparisons("polis", top=3)


@pytest.mark.parametrize(
    ("name", "value"), [("columns", {"user_id": "worker"}), ("rankings", "comparison"), ("on_bad_row", "skip")]
)
def test_options_of_reading_are_for_files(name, value):
    with pytest.raises(ConfigError, match=f"option data.{name}: it is for files.*the source 'polis' has no rows"):
        load_comparisons(DataConfig(source="polis", **{name: value}))


def test_a_named_source_inherits_nothing_about_reading():
    other = DataConfig(source="x.csv", rankings="comparison", on_bad_row="skip", columns={"user_id": "worker"})
    assert inherit(DataConfig(source="polis"), other) == DataConfig(source="polis")


@pytest.fixture
def world(monkeypatch):
    class World:
        def __init__(self, users: int = 2, seed: int = 0):
            self.users = users

        def log(self):
            return Log(tuple(Comparison("p", "a", "b", user=str(i)) for i in range(self.users)), "planted")

    module = ModuleType("prlhf.data.planted")
    module.World = World
    monkeypatch.setitem(sys.modules, "prlhf.data.planted", module)


def test_planted_passes_its_options_on(world):
    assert len(load_comparisons("planted", users=5)) == 5
    with pytest.raises(ConfigError, match="the source 'planted' has no option 'user'; did you mean users"):
        load_comparisons("planted", user=5)


def test_the_page_has_every_option_of_the_planted_world():
    page = (Path(__file__).parents[3] / "docs" / "data.md").read_text(encoding="utf8")
    section = page[page.index("### Planted world") :].split("\n## ")[0]
    told = dict(re.findall(r'^\| `(\w+)` \| `?([\w."]+)`? \|', section, re.MULTILINE))
    has = {name: json.dumps(option.default) for name, option in inspect.signature(World).parameters.items()}
    assert told == has
