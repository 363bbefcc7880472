"""Processes and GPUs that a run cannot use as they are."""

from __future__ import annotations

import torch

from prlhf.config import RunConfig
from prlhf.errors import ConfigError
from prlhf.lm import PersonalizedLM

__all__ = ["check_gpus", "check_processes", "on_cpu"]


def on_cpu(device: str) -> bool:
    """Whether `training.device` means the CPU on this machine."""
    return device == "cpu" or not torch.cuda.is_available()


def check_processes(config: RunConfig, processes: int) -> None:
    """ConfigError where several processes would each spread the model over the same GPUs."""
    if config.model.device_map is not None and processes > 1:
        raise ConfigError(
            f"model.device_map spreads one model over all GPUs, and {processes} processes want one GPU each; start one "
            "process (prlhf train), or leave device_map out"
        )


def check_gpus(lm: PersonalizedLM, processes: int, gpus: int) -> None:
    """ConfigError where the Trainer would copy a model that is on one GPU to the others at every step
    (`nn.DataParallel`), which takes tensors only."""
    devices = set((getattr(lm.causal_lm, "hf_device_map", None) or {}).values())
    if processes == 1 and gpus > 1 and len(devices) < 2:
        raise ConfigError(
            f"there are {gpus} GPUs and one process: choose one GPU with CUDA_VISIBLE_DEVICES=0, start a process for "
            "each with accelerate launch, or spread the model with model.device_map=balanced"
        )
