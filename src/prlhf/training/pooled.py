"""Pooled DPO: the baseline without people that a personalised run is measured against."""

from __future__ import annotations

from prlhf.config import RunConfig, Uniform

__all__ = ["pooled_config"]


def pooled_config(config: RunConfig) -> RunConfig:
    """The same run without people: no user tokens, the generic branch alone; data, budget and model are equal."""
    return config.model_copy(update={"user_model": Uniform(), "alpha": 0.0})
