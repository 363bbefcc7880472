"""prlhf: personalised alignment. Public names load on first use, so that `import prlhf` stays light."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0.dev0"

_PUBLIC = {
    "Comparison": "prlhf.types",
    "Message": "prlhf.types",
    "Thumb": "prlhf.types",
    "User": "prlhf.types",
    "RunConfig": "prlhf.config",
    "load_comparisons": "prlhf.data",
    "split": "prlhf.data",
    "PersonalizedLM": "prlhf.lm",
    "train": "prlhf.training.train",
    "evaluate": "prlhf.evaluation.run",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'prlhf' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
