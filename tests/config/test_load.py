"""Recipes and overrides to a configuration, and what is said when they do not fit."""

import json

import pytest

from prlhf.config import Cluster, DataConfig, Dpo, Individual, Ipo, LowRank, RunConfig, load_config
from prlhf.errors import ConfigError


def test_nothing_given_is_the_default():
    assert load_config(RunConfig) == RunConfig()


def test_values_come_after_the_recipe_and_overrides_last(tmp_path):
    recipe = tmp_path / "r.toml"
    recipe.write_text("seed = 1\nalpha = 0.1\n[objective]\nbeta = 0.2\n")
    config = load_config(RunConfig, recipe, ["objective.beta=0.4"], {"alpha": 0.3, "objective.beta": 0.3})
    assert (config.seed, config.alpha, config.objective.beta) == (1, 0.3, 0.4)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("data.source=a/b.jsonl", "a/b.jsonl"),
        ("data.source='42'", "42"),
        ('data.source="with space"', "with space"),
        ("data.source=two words", "two words"),
        ("data.source=a=b", "a=b"),
        (" data.source = x ", "x"),
    ],
)
def test_text_needs_no_quotes(text, expected):
    assert load_config(RunConfig, overrides=[text]).data.source == expected


def test_values_are_toml_and_null_unsets():
    config = load_config(DataConfig, overrides=["options.top=10", "options.deep.er=[1, 2]", "columns={user_id='w'}"])
    assert config.options == {"top": 10, "deep": {"er": [1, 2]}} and config.columns == {"user_id": "w"}
    assert load_config(DataConfig, overrides=["max_comparisons=5", "max_comparisons=null"]).max_comparisons is None
    assert load_config(RunConfig, overrides=["model.base=x\ny=1"]).model.base == "x\ny=1"


def test_another_type_keeps_what_it_shares(tmp_path):
    recipe = tmp_path / "r.toml"
    recipe.write_text('[user_model]\ntype = "cluster"\ntokens = 3\nclusters = 7\n')
    assert load_config(RunConfig, recipe).user_model == Cluster(tokens=3, clusters=7)
    assert load_config(RunConfig, recipe, ["user_model.type=low_rank"]).user_model == LowRank(tokens=3)
    both = load_config(RunConfig, recipe, ["user_model.type=low_rank", "user_model.rank=2"])
    assert both.user_model == LowRank(tokens=3, rank=2)
    assert load_config(RunConfig, recipe, ["user_model.type=cluster"]).user_model == Cluster(tokens=3, clusters=7)


def test_a_table_without_type_is_the_default_variant():
    config = load_config(RunConfig, overrides=["user_model.common=false", "objective.beta=0.3"])
    assert config.user_model == Individual(common=False) and config.objective == Dpo(beta=0.3)
    assert load_config(RunConfig, overrides=["objective.type=ipo"]).objective == Ipo()


def test_config_json_of_a_run_is_a_recipe(tmp_path):
    config = load_config(RunConfig, overrides=["user_model.type=low_rank", "data.split.users=0.2", "seed=5"])
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config.model_dump(mode="json")))
    assert load_config(RunConfig, path) == config


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("objective.bata=1", "unknown option objective.bata; did you mean objective.beta?"),
        ("beta=1", "unknown option beta; did you mean objective.beta?"),
        ("batch_size=1", "did you mean training.batch_size?"),
        ("trainin.epochs=1", "unknown option trainin; did you mean training?"),
        ("training.learning_rat=1", "did you mean training.learning_rate?"),
        ("user_model.cluster=3", "unknown option user_model.cluster; did you mean user_model.clusters?"),
        ("qqqq=1", "unknown option qqqq"),
        ("alpha=2", "option alpha: input should be less than or equal to 1; found 2"),
        ("training.max_steps=some", 'unable to parse string as an integer; found "some"'),
        (
            "user_model.type=lowrank",
            "found 'lowrank', expected uniform, individual, cluster, low_rank; did you mean low_rank?",
        ),
        ("model.user_tokens_at=begin", "found \"begin\", expected 'start', 'after_system' or 'before_response'"),
        ("data.split.by=promt", "did you mean prompt?"),
        ("model=3", "option model: found 3, expected a table of options"),
        ("model.tuning=full", "expected a table of options; did you mean model.tuning.type=full?"),
        ("objective.average=true", "option objective.average belongs to objective.type=ipo; the type here is dpo"),
        ("user_model.rank=2", "belongs to user_model.type=low_rank; the type here is individual"),
        ("user_model={type='low_rank',clusters=2}", "belongs to user_model.type=cluster; the type here is low_rank"),
        (
            "model.tuning={type='full',r=2}",
            "option model.tuning.r belongs to model.tuning.type=lora; the type here is full",
        ),
        ("seed", "an override is written key=value, as in objective.beta=0.5; found 'seed'"),
    ],
)
def test_errors(override, said):
    with pytest.raises(ConfigError) as error:
        load_config(RunConfig, overrides=[override])
    assert said in str(error.value)
    if override.startswith("qqqq"):
        assert "did you mean" not in str(error.value)


def test_a_value_is_no_table(tmp_path):
    recipe = tmp_path / "r.toml"
    recipe.write_text("seed = 1\n")
    with pytest.raises(ConfigError, match=r"seed\.x: seed is a value, not a table"):
        load_config(RunConfig, recipe, ["seed.x=1"])


def test_all_complaints_name_the_recipe(tmp_path):
    recipe = tmp_path / "r.toml"
    recipe.write_text("alpha = 7\nseeds = 1\n")
    with pytest.raises(ConfigError) as error:
        load_config(RunConfig, recipe)
    lines = str(error.value).splitlines()
    assert len(lines) == 2 and all(line.startswith(f"{recipe}: ") for line in lines)


@pytest.mark.parametrize(
    ("overrides", "values", "told"),
    [
        (["objective.beta=-1"], {}, "--set objective.beta=-1: option objective.beta:"),
        (["objective={beta=-1}"], {"objective.beta": 0.2}, "--set objective={beta=-1}: option objective.beta:"),
        (["user_model.type=lowrank"], {}, "--set user_model.type=lowrank: option user_model.type:"),
        (["objective.bata=1"], {}, "--set objective.bata=1: unknown option objective.bata;"),
        ([], {"alpha": 2}, "--alpha: option alpha:"),
        (["alpha=3"], {"alpha": 2}, "--set alpha=3: option alpha:"),
        ([], {"objective.beta": -1}, "option objective.beta:"),
    ],
)
def test_a_complaint_names_where_the_value_came_from(tmp_path, overrides, values, told):
    recipe = tmp_path / "r.toml"
    recipe.write_text("[objective]\nbeta = 0.3\n")
    with pytest.raises(ConfigError) as error:
        load_config(RunConfig, recipe, overrides, values, {"alpha": "--alpha"})
    assert str(error.value).startswith(told)


def test_a_mistake_of_the_recipe_beside_good_flags_is_the_recipes(tmp_path):
    recipe = tmp_path / "r.toml"
    recipe.write_text('[user_model]\ntype = "lowrank"\n')
    with pytest.raises(ConfigError) as error:
        load_config(RunConfig, recipe, ["user_model.tokens=3"], {"alpha": 0.3}, {"alpha": "--alpha"})
    assert str(error.value).startswith(f"{recipe}: option user_model.type: found 'lowrank'")


def test_unreadable_recipes(tmp_path):
    with pytest.raises(ConfigError, match=r"no recipe at .*none\.toml"):
        load_config(RunConfig, tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("a = = 1")
    with pytest.raises(ConfigError, match=r"broken\.toml is not a TOML recipe.*line 1"):
        load_config(RunConfig, broken)
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    with pytest.raises(ConfigError, match="is not a JSON recipe"):
        load_config(RunConfig, broken)
    broken.write_text("[1]")
    with pytest.raises(ConfigError, match="found list, expected a table of options"):
        load_config(RunConfig, broken)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RunConfig(sed=1), "unknown option sed; did you mean seed?"),
        (lambda: RunConfig(alpha=2), "option alpha: input should be less than or equal to 1; found 2"),
        (lambda: RunConfig(data={"sorce": "x"}), "unknown option data.sorce; did you mean data.source?"),
        (lambda: RunConfig(objective={"beta": "much"}), 'option objective.beta: .*; found "much"'),
        (lambda: Individual(tokns=3), "unknown option tokns; did you mean tokens?"),
        (lambda: DataConfig(source=3, on_bad_row="skp"), "option source: .*\noption on_bad_row: .* did you mean skip?"),
    ],
)
def test_a_configuration_made_in_python_is_refused_in_the_same_words(make, message):
    with pytest.raises(ConfigError, match=message.replace("?", r"\?")):
        make()
