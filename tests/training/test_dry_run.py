"""A dry run counts what the run would have, and writes nothing."""

import shutil
from pathlib import Path

import pytest
import torch
from made_up import comparisons, dataset, model, trainer

from prlhf.config import RunConfig
from prlhf.data import Log, Notes
from prlhf.errors import CheckpointError, ConfigError, DataError
from prlhf.lm import PersonalizedLM, pair_logprobs
from prlhf.training.dry_run import dry_run
from prlhf.training.memory import estimate_memory


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
    assert found.parameters.users == sum(p.numel() for p in lm.user_model.parameters())
    assert found.memory.weights == sum(p.numel() * p.element_size() for p in lm.model.parameters())
    assert found.rehearsed_on == architecture and found.loss > 0 and found.remarks == ()
    assert not list(tmp_path.iterdir())


def test_memory_of_gradients_and_moments_is_what_a_step_has(base_folder, tmp_path):
    lm = model(base_folder())
    made = trainer(lm, dataset(lm, comparisons(4)), tmp_path, lr=1e-4)
    made.train()
    state = made.user_optimizer.state
    moments = lambda p: sum(t.numel() * t.element_size() for t in state[p].values() if t.ndim)  # noqa: E731
    trained = [p for p in lm.model.parameters() if p.requires_grad]
    estimate = estimate_memory(lm.model, lm.user_model, tokens=1, responses=1, checkpointing=False, bf16=False)
    assert estimate.training == sum(p.numel() * p.element_size() + moments(p) for p in trained)
    users = list(lm.user_model.parameters())
    gradients = sum(p.numel() * p.element_size() for p in users if p is not lm.user_model.table.weight)
    assert estimate.users == sum(p.numel() * p.element_size() + moments(p) for p in users) + gradients


def test_activations_are_of_the_size_that_a_forward_pass_keeps(base_folder):
    lm = model(base_folder("llama"))
    encoded = [lm.template.comparison(c) for c in comparisons(8)]
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    weights = {p.untyped_storage().data_ptr() for p in lm.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        pair_logprobs(lm, encoded, [[1, 0]] * 8, "plain").chosen.sum()
    measured = sum(size for place, size in kept.items() if place not in weights)
    rows = 8 * 4
    tokens = rows * (2 + max(c.path for c in encoded))
    responses = sum(2 * (len(c.chosen) + len(c.rejected)) for c in encoded)
    found = estimate_memory(
        lm.model, lm.user_model, tokens=tokens, responses=responses, checkpointing=False, bf16=False
    ).activations
    assert measured / 3 < found < 3 * measured


def test_a_base_that_is_not_here_is_told_and_rehearsed_on_the_bundled_one():
    config = config_of("nobody/nothing")
    lora = config.model.tuning.model_copy(update={"target_modules": ["c_attn"]})
    config = config.model_copy(update={"model": config.model.model_copy(update={"tuning": lora})})
    found = dry_run(config, log=log_of())
    assert found.parameters is None and found.memory is None and found.rehearsed_on == "planted"
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
