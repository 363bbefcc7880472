"""FSDP 2 under a LoRA: the frozen weights of the layers are spread over the processes, what is trained is in each.

Trained are the LoRA and the users, which are small: `DistributedDataParallel` and `exchange` average their gradients as
without FSDP. So the optimiser and the checkpoints are those of one process, and a run goes on with or without FSDP.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from accelerate import PartialState
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from prlhf.config import RunConfig
from prlhf.errors import ConfigError
from prlhf.lm import PersonalizedLM
from prlhf.training.compiled import blocks

__all__ = ["check_launch", "shard", "sharded", "sharding"]

_FSDP = "ACCELERATE_USE_FSDP"


def _on(name: str) -> bool:
    return os.environ.get(name, "").lower() in ("1", "true", "yes", "on")


def check_launch(config: RunConfig) -> None:
    """ConfigError where `accelerate launch` asks for what a run cannot do."""
    for name, what in (("ACCELERATE_USE_DEEPSPEED", "DeepSpeed"), ("ACCELERATE_USE_MEGATRON_LM", "Megatron-LM")):
        if _on(name):
            raise ConfigError(
                f"accelerate launch asks for {what}, which would take the optimiser apart, and users' rows have one of "
                "their own with sparse gradients; take FSDP 2 (recipes/accelerate/fsdp2.yaml), which spreads the "
                "model's weights over the GPUs as ZeRO-3 does, or several processes without either (ddp.yaml)"
            )
    if _on(_FSDP):
        _check_fsdp(config)


def _check_fsdp(config: RunConfig) -> None:
    tuning, bits = config.model.tuning.type, config.model.quantization
    old = os.environ.get("FSDP_VERSION", "1") != "2"
    refused = (
        (old, "fsdp_version: 1 shards trained and frozen weights together; set fsdp_version: 2"),
        (_on("FSDP_OFFLOAD_PARAMS"), "fsdp_offload_params is not supported; set it to false"),
        (
            _on("FSDP_ACTIVATION_CHECKPOINTING"),
            "fsdp_activation_checkpointing is called training.gradient_checkpointing here; set the first to false",
        ),
        (
            tuning == "full",
            "model.tuning.type=full trains every weight, and only frozen ones are spread; take a LoRA, or start "
            "without FSDP",
        ),
        (
            bits != "none",
            f"model.quantization={bits} has weights that cannot be spread; take none, or start without FSDP",
        ),
        (
            config.training.tokens_at_once is not None,
            "training.tokens_at_once cuts a batch into as many passes as it needs, and with spread weights the "
            "processes have to make as many; leave it out, and take a smaller training.batch_size",
        ),
        (
            config.training.compile != "off",
            "training.compile was not tried on weights that come and go; take training.compile=off",
        ),
    )
    for found, why in refused:
        if found:
            raise ConfigError(f"accelerate launch asks for FSDP: {why}")


@contextmanager
def sharding() -> Iterator[bool]:
    """Whether FSDP is asked for; within it transformers and accelerate do not know, and leave the model to `shard`."""
    asked = os.environ.get(_FSDP)
    wanted = _on(_FSDP) and PartialState().num_processes > 1
    os.environ.pop(_FSDP, None)
    try:
        yield wanted
    finally:
        if asked is not None:
            os.environ[_FSDP] = asked


def shard(lm: PersonalizedLM) -> None:
    """Spread the frozen weights of a model's layers over the processes. Each layer is gathered when it is called, and
    let go afterwards, so from now on all processes call the model together."""
    mesh = init_device_mesh(lm.device.type, (PartialState().num_processes,))
    layers = blocks(lm.decoder)
    for layer in layers:
        fully_shard(layer, mesh=mesh, ignored_params={p for p in layer.parameters() if p.requires_grad})
    inside = {id(p) for layer in layers for p in layer.parameters()}
    others = {p for p in lm.decoder.parameters() if id(p) not in inside or p.requires_grad}
    fully_shard(lm.decoder, mesh=mesh, ignored_params=others)  # knows the order of the layers, and has no weight itself


def sharded(model: nn.Module) -> list[str]:
    """Names of the parameters of which each process has a part."""
    return [name for name, p in model.named_parameters() if isinstance(p, DTensor)]
