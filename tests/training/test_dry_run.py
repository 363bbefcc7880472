"""A dry run counts what the run would have, and writes nothing."""

import shutil
from pathlib import Path

import pytest
from made_up import comparisons, thumbs

from prlhf.config import RunConfig
from prlhf.data import Log, Notes
from prlhf.errors import CheckpointError, ConfigError, DataError
from prlhf.lm import PersonalizedLM
from prlhf.training.dry_run import dry_run


def log_of(count: int = 24) -> Log:
    made = tuple(comparisons(count))
    return Log(made, "made up", notes=Notes.of(made))


def config_of(base: str, **options) -> RunConfig:
    tree = {
        "data": {"split": {"test": 0.2}},
        "model": {"base": base, "tuning": {"type": "lora", "r": 2}},
        "user_model": {"tokens": 2},
        "training": {"batch_size": 4, "gradient_accumulation_steps": 2, "epochs": 3},
    }
    return RunConfig.model_validate({**tree, **options})


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize("user_model", [{"tokens": 2}, {"type": "cluster", "tokens": 2, "clusters": 3}])
def test_counts_are_those_of_the_model_that_would_be_trained(
    base_folder, tmp_path, monkeypatch, architecture, user_model
):
    monkeypatch.chdir(tmp_path)
    config = config_of(base_folder(architecture), user_model=user_model)
    found = dry_run(config, log=log_of())
    assert (len(found.sides.train), found.users, found.steps) == (19, 3, 9)  # three steps of up to eight, three times
    lm = PersonalizedLM.create(config.model, config.user_model, ["a", "b", "c"])
    assert found.parameters.trained == sum(p.numel() for p in lm.model.parameters() if p.requires_grad)
    assert found.parameters.base + found.parameters.trained == sum(p.numel() for p in lm.model.parameters())
    pinned = 2 * 32 if lm.user_model.pinned else 0  # the generic user's offset is no parameter
    assert found.parameters.users == sum(p.numel() for p in lm.user_model.parameters()) - pinned
    assert found.memory.weights == sum(p.numel() * p.element_size() for p in lm.model.parameters())
    assert found.rehearsed_on == architecture and found.loss > 0 and found.remarks == ()
    assert found.layout == "packed" and found.learned == 19
    assert not list(tmp_path.iterdir())


def test_a_base_that_is_not_here_is_told_and_rehearsed_on_the_bundled_one():
    config = config_of("nobody/nothing")
    lora = config.model.tuning.model_copy(update={"target_modules": ["c_attn"]})
    config = config.model_copy(update={"model": config.model.model_copy(update={"tuning": lora})})
    found = dry_run(config, log=log_of())
    assert found.parameters is found.memory is found.layout is found.tokens is None and found.rehearsed_on == "planted"
    assert "no folder nobody/nothing" in found.remarks[0] and "--set model.base=FOLDER" in found.remarks[0]
    assert len(found.remarks) == 3 and all(
        word in found.remarks[i] for i, word in enumerate(["config", "tokenizer", "all-linear"])
    )


@pytest.mark.parametrize(
    ("options", "error", "found"),
    [
        ({"model": {"base": "./no-such-folder"}}, CheckpointError, "no folder"),
        ({"objective": {"type": "custom", "function": "nowhere:f"}}, ConfigError, "cannot import"),
    ],
)
def test_what_would_stop_the_run_stops_it(base_folder, options, error, found):
    config = config_of(base_folder(), **options)
    with pytest.raises(error, match=found):
        dry_run(config, log=log_of())


def test_a_base_without_a_tokenizer_is_told(base_folder, tmp_path):
    shutil.copy(Path(base_folder("gptj")) / "config.json", tmp_path)  # of which transformers makes up an empty one
    found = dry_run(config_of(str(tmp_path)), log=log_of())
    assert any("tokenizer" in remark for remark in found.remarks) and found.parameters is not None


def test_a_last_thumb_alone_is_no_step(base_folder):
    config = config_of(base_folder(), objective={"type": "kto"}, training={"batch_size": 37})
    found = dry_run(config, log=log_of())  # nineteen comparisons are 38 thumbs
    assert found.steps == 1


def test_a_log_without_users_is_refused_as_in_a_run(base_folder):
    made = tuple(comparisons(4)[3:])  # of nobody
    with pytest.raises(DataError, match="nobody to personalise for"):
        dry_run(config_of(base_folder()), log=Log(made, "made up", notes=Notes.of(made)))


@pytest.mark.parametrize(
    ("architecture", "options", "layout"),
    [
        ("llama", {}, "packed"),
        ("gptj", {}, "plain"),
        ("mistral", {}, "plain"),  # its sliding window is shorter than the texts
        ("mistral", {"sliding_window": 400}, "packed"),
    ],
)
def test_the_layout_is_the_one_that_the_architecture_takes(base_folder, architecture, options, layout):
    config = config_of(base_folder(architecture, **options))
    found = dry_run(config, log=log_of())
    assert found.layout == layout
    other = "packed" if layout == "plain" else "plain"
    training = config.training.model_copy(update={"layout": other})
    forced = dry_run(config.model_copy(update={"training": training}), log=log_of())
    assert forced.layout == other
    assert (forced.tokens.epoch > found.tokens.epoch) == (other == "plain")  # prompts are written out
    assert forced.memory.weights == found.memory.weights and forced.memory.step != found.memory.step


def test_kto_looks_at_mismatched_responses_too(base_folder):
    made = tuple(thumbs(40))
    log = Log(made, "made up", notes=Notes.of(made))
    found = dry_run(config_of(base_folder(), objective={"type": "kto"}), log=log)
    assert found.tokens.mismatched > 0.8 * found.tokens.epoch  # a pass of the same size, forward only
    pairs = dry_run(config_of(base_folder()), log=log_of())
    assert pairs.tokens.mismatched == 0 and pairs.tokens.reference < pairs.tokens.epoch


def test_the_longest_fits_the_context(base_folder):
    base = base_folder("gpt2", n_positions=24)
    found = dry_run(config_of(base), log=log_of())
    whole = dry_run(config_of(base_folder("gpt2")), log=log_of())
    assert found.longest < whole.longest
    assert found.remarks == ("18 of 19 prompts were cut at their left: max_prompt_tokens=512, context of the model 24",)
    assert not any("were cut" in remark for remark in whole.remarks)


def test_a_drawn_branch_takes_half_the_tokens(base_folder):
    options = config_of(base_folder()).model_dump()
    options["model"]["user_tokens_at"] = "start"  # where branches share nothing but the first token
    both, drawn = (
        dry_run(
            RunConfig.model_validate({**options, "training": {**options["training"], "branches": way}}), log=log_of()
        )
        for way in ("both", "sampled")
    )
    assert drawn.tokens.epoch == pytest.approx(both.tokens.epoch / 2, rel=0.05)
    assert drawn.memory.step < both.memory.step
