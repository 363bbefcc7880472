"""Variants of a recipe: what is varied, what comes with it, and what is refused."""

import pytest

from prlhf.config import Cluster, Individual, RunConfig
from prlhf.config.variants import variants
from prlhf.errors import ConfigError


def test_one_option_at_a_time():
    found = variants(None, ["alpha=0.5,1", "user_model.tokens=1,3", "seed=4"], {"model.base": "here"})
    assert [v.name for v in found] == ["base", "alpha=1", "user_model.tokens=1", "user_model.tokens=3"]
    base, alpha, one, three = (v.config for v in found)
    assert base == RunConfig.model_validate({"seed": 4, "model": {"base": "here"}})
    assert alpha == base.model_copy(update={"alpha": 1.0})  # 0.5 is the base itself
    assert [c.user_model for c in (one, three)] == [Individual(tokens=1), Individual(tokens=3)]


def test_all_combinations():
    found = variants(None, ["alpha=0.5,1", "user_model.tokens=1,10"], grid=True)
    assert [v.name for v in found] == [
        "base",
        "alpha=0.5, user_model.tokens=1",
        "alpha=1, user_model.tokens=1",
        "alpha=1, user_model.tokens=10",
    ]


def test_an_option_of_another_type_brings_it_along():
    found = variants(None, ["user_model.clusters=5,10", "user_model.common=true,false"])
    assert [v.name for v in found] == [
        "base",
        "user_model.type=cluster, user_model.clusters=5",
        "user_model.type=cluster, user_model.clusters=10",
        "user_model.common=false",
    ]
    assert found[2].config.user_model == Cluster(clusters=10)
    assert found[1].folder == "user_model.type=cluster_user_model.clusters=5"


def test_commas_inside_a_value_belong_to_it():
    found = variants(None, ['model.tuning.target_modules=["q", "v"],all-linear', "data.source='a,b.csv'"])
    assert [v.config.model.tuning.target_modules for v in found] == ["all-linear", ["q", "v"]]
    assert found[0].config.data.source == "a,b.csv"


@pytest.mark.parametrize(
    ("settings", "grid", "found"),
    [
        (["alpha=1"], False, "nothing is varied"),
        (["alhpa=0.5,1"], False, "unknown option alhpa; did you mean alpha"),
        (["alpha=0.5,2"], False, "--set alpha=2: option alpha: .* found 2"),
        (["user_model.clusters=5,10", "user_model.common=true,false"], True, "belongs to user_model.type="),
    ],
)
def test_what_does_not_fit_is_refused(settings, grid, found):
    with pytest.raises(ConfigError, match=found):
        variants(None, settings, grid=grid)
