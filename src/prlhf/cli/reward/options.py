"""Options that the commands of reward models share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["LM_FLAGS", "REWARD_FLAGS", "Embeddings", "Features", "NewEmbeddings", "RewardFolder", "feature_values"]

RewardFolder = Annotated[Path, typer.Argument(metavar="DIR", help="A folder of `prlhf reward train`.")]
Features = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="What the model sees of a response: tfidf, hidden:MODEL (hidden states of a language model) or "
        "sentence:MODEL (sentence-transformers); a folder or hub id. By default tfidf.",
    ),
]
Embeddings = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="A Parquet file of embeddings (text, embedding, optionally kind) instead."),
]
NewEmbeddings = Annotated[
    Path | None,
    typer.Option("--embeddings", metavar="FILE", help="Of new texts, where the model was trained on --embeddings."),
]

REWARD_FLAGS = {
    "data.source": "--data",
    "data.on_bad_row": "--on-bad-row",
    "model.type": "--model",
    "features.type": "--features",
    "features.model": "--features",
    "features.path": "--embeddings",
    "seed": "--seed",
}
"""The flags that set an option of `RewardRun`, for messages."""

LM_FLAGS = {
    "data.source": "--data",
    "data.on_bad_row": "--on-bad-row",
    "model.base": "--base",
    "seed": "--seed",
}
"""The same of `SoftPrompt`."""

_KINDS = ("hidden", "sentence")


def feature_values(name: str | None, embeddings: Path | None) -> dict[str, Any]:
    """The options that `--features` and `--embeddings` stand for.

    Raises:
        ConfigError: both of them, or a name that could mean several things.
    """
    from prlhf.errors import ConfigError

    if name is not None and embeddings is not None:
        raise ConfigError("--features computes vectors and --embeddings reads them from a file; give one of them")
    if embeddings is not None:
        return {"features.type": "stored", "features.path": str(embeddings)}
    if name is None or name == "tfidf":
        return {} if name is None else {"features.type": "tfidf"}
    kind, colon, model = name.partition(":")
    if colon and kind in _KINDS and model:
        return {"features.type": kind, "features.model": model}
    if name.startswith("sentence-transformers/") or (Path(name) / "modules.json").is_file():
        return {"features.type": "sentence", "features.model": name}
    if (Path(name) / "config.json").is_file():
        return {"features.type": "hidden", "features.model": name}
    raise ConfigError(f"--features: found {name!r}, expected tfidf, hidden:MODEL or sentence:MODEL")
