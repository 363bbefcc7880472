"""What `accelerate launch` may ask for, and what is refused before anything is read."""

import os

import pytest

from prlhf.config import RunConfig
from prlhf.errors import ConfigError
from prlhf.training.sharding import check_launch, sharding
from prlhf.training.train import train

FSDP = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}


@pytest.fixture
def asked(monkeypatch):
    def ask(**names: str) -> None:
        for name, value in names.items():
            monkeypatch.setenv(name, value)

    return ask


@pytest.mark.parametrize("name", ["DEEPSPEED", "MEGATRON_LM"])
def test_what_takes_the_optimiser_apart_is_refused_before_anything_is_read(asked, tmp_path, name):
    asked(**{f"ACCELERATE_USE_{name}": "true"})
    with pytest.raises(ConfigError, match=r"accelerate launch asks for \w+.*fsdp2\.yaml.*ddp\.yaml"):
        train(RunConfig.model_validate({"data": {"source": "nothing.jsonl"}}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("names", "tree", "words"),
    [
        ({"FSDP_VERSION": "1"}, {}, "set fsdp_version: 2"),
        ({"FSDP_OFFLOAD_PARAMS": "true"}, {}, "fsdp_offload_params is not supported"),
        ({"FSDP_ACTIVATION_CHECKPOINTING": "true"}, {}, "called training.gradient_checkpointing here"),
        ({}, {"model": {"tuning": {"type": "full"}}}, "model.tuning.type=full trains every weight"),
        ({}, {"model": {"quantization": "4bit"}}, "model.quantization=4bit has weights"),
        ({}, {"training": {"compile": "eager"}}, "training.compile was not tried"),
        ({}, {"training": {"tokens_at_once": 512}}, "training.tokens_at_once cuts a batch"),
    ],
)
def test_fsdp_that_does_not_fit(asked, names, tree, words):
    asked(**FSDP | names)
    with pytest.raises(ConfigError, match=f"accelerate launch asks for FSDP: .*{words}"):
        check_launch(RunConfig.model_validate(tree))


def test_fsdp_of_the_frozen_weights(asked):
    asked(**FSDP, FSDP_OFFLOAD_PARAMS="false")
    check_launch(RunConfig())
    with sharding() as spread:
        assert not spread  # one process has nobody to share with
        assert "ACCELERATE_USE_FSDP" not in os.environ  # or transformers would shard the model in its own way
    assert os.environ["ACCELERATE_USE_FSDP"] == "true"


def test_nothing_asked_for():
    check_launch(RunConfig.model_validate({"model": {"tuning": {"type": "full"}}}))
    with sharding() as spread:
        assert not spread
    assert "ACCELERATE_USE_FSDP" not in os.environ
