"""Accuracies, win rates, baselines and reports, on plain numpy. Names load on first use (plots need matplotlib)."""

from importlib import import_module
from typing import Any

_PUBLIC = {
    "Estimate": "prlhf.evaluation.bootstrap",
    "Evaluation": "prlhf.evaluation.result",
    "Figures": "prlhf.evaluation.metrics",
    "LengthBaseline": "prlhf.evaluation.length",
    "Metrics": "prlhf.evaluation.metrics",
    "PairedDifference": "prlhf.evaluation.paired",
    "PerUser": "prlhf.evaluation.by_user",
    "Report": "prlhf.evaluation.report",
    "Scores": "prlhf.evaluation.scores",
    "WinRate": "prlhf.evaluation.winrate",
    "derangement": "prlhf.evaluation.metrics",
    "evaluate": "prlhf.evaluation.run",
    "judge_policies": "prlhf.evaluation.judge",
    "length_scores": "prlhf.evaluation.length",
    "paired_difference": "prlhf.evaluation.paired",
    "per_user": "prlhf.evaluation.by_user",
    "summarise": "prlhf.evaluation.metrics",
    "win_rate": "prlhf.evaluation.winrate",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'prlhf.evaluation' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
