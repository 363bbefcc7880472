"""A user model as a folder: `config.json`, `model.safetensors` and `users.parquet`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from prlhf.config.users import UserModelConfig
from prlhf.errors import CheckpointError
from prlhf.users.base import UserModel
from prlhf.users.index import UserIndex
from prlhf.users.models import new_user_model

__all__ = ["FORMAT_VERSION", "load_users", "save_users"]

FORMAT_VERSION = 1
_FORMAT = "prlhf-user-model"


def save_users(folder: str | Path, user_model: UserModel, index: UserIndex) -> None:
    """Write both into `folder` (made if missing). Whoever needs it atomic writes aside and renames the folder.

    Raises:
        CheckpointError: the index and the table do not have the same users.
    """
    _check_rows(folder, user_model.n, index)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    described = {
        "format": _FORMAT,
        "format_version": FORMAT_VERSION,
        "config": user_model.config.model_dump(mode="json"),
        "n": user_model.n,
        "width": user_model.width,
    }
    (folder / "config.json").unlink(missing_ok=True)  # it may be another name of a file that is in use
    (folder / "config.json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf8")
    tensors = {name: value.detach().cpu().contiguous() for name, value in user_model.state_dict().items()}
    aside = folder / "model.safetensors.tmp"  # the old file may be what this very model is mapped from
    save_file(tensors, aside, metadata={"format": "pt"})
    os.replace(aside, folder / "model.safetensors")
    index.save(folder / "users.parquet")


def load_users(folder: str | Path) -> tuple[UserModel, UserIndex]:
    """Read what `save_users` wrote. Tensors are mapped from the file and ids are read at the first lookup, so that
    opening a large table costs little; changed rows live in memory and never reach the file.

    Raises:
        CheckpointError: a file that is missing, of another format, or does not fit the others.
    """
    folder = Path(folder)
    described = _read_config(folder / "config.json")
    try:
        config: Any = TypeAdapter(UserModelConfig).validate_python(described["config"])
        with torch.device("meta"):
            model = new_user_model(config, int(described["n"]), int(described["width"]))
    except (KeyError, TypeError, ValueError) as e:  # also ValidationError and ConfigError
        reason = e.errors()[0]["msg"] if isinstance(e, ValidationError) else repr(e)
        raise CheckpointError(f"{folder / 'config.json'} does not describe a user model: {reason}") from e
    _load_tensors(folder / "model.safetensors", model)
    index = UserIndex.load(folder / "users.parquet")
    _check_rows(folder, model.n, index)
    return model, index


def _read_config(path: Path) -> dict[str, Any]:
    try:
        described = json.loads(path.read_text(encoding="utf8"))
    except FileNotFoundError as e:
        raise CheckpointError(f"no user model at {path.parent}: {path.name} is missing") from e
    except (OSError, ValueError) as e:
        raise CheckpointError(f"{path} is not readable JSON: {e}") from e
    found = (described.get("format"), described.get("format_version")) if isinstance(described, dict) else described
    if found != (_FORMAT, FORMAT_VERSION):
        raise CheckpointError(f"{path}: expected format {_FORMAT!r}, version {FORMAT_VERSION}; found {found!r}")
    return described


def _load_tensors(path: Path, model: UserModel) -> None:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
    except FileNotFoundError as e:
        raise CheckpointError(f"the user model at {path.parent} has no {path.name}") from e
    except (OSError, SafetensorError) as e:
        raise CheckpointError(f"{path} is not a readable safetensors file: {e}") from e
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in tensors.items()}
    if found != expected:
        raise CheckpointError(f"{path} does not fit config.json beside it: expected {expected}, found {found}")
    model.load_state_dict(tensors, assign=True)


def _check_rows(folder: str | Path, n: int, index: UserIndex) -> None:
    if n != len(index) + 1:
        what = f"the table has {n} rows, the index {len(index)} users"
        raise CheckpointError(f"user model at {folder}: {what}; expected one row more than users (the generic user)")
