"""From a name to a language model that answers: a trained one with its users, or a plain one that knows nobody."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError

from prlhf.config import Full, ModelConfig, Uniform
from prlhf.data.paths import mistyped
from prlhf.lm import PersonalizedLM, is_checkpoint
from prlhf.lm.checkpoint import MARKER
from prlhf.lm.folders import read_object
from prlhf.lm.loading import BUNDLED, fingerprint, load_base, load_tokenizer
from prlhf.users.index import UserIndex
from prlhf.users.models import make_user_model

__all__ = ["language_model"]


def language_model(name: str) -> PersonalizedLM:
    """A run of `prlhf train` (its folder, its `model/`, a hub id), or a plain causal language model (its folder, a hub
    id, or the name of a bundled one, `planted`). A plain one has no users: everybody is the generic user.

    Raises:
        CheckpointError: there is no such model.
    """
    if name in BUNDLED or _is_plain(name):
        return _plain(ModelConfig(base=name, tuning=Full()))
    return PersonalizedLM.from_pretrained(name)


def _is_plain(name: str) -> bool:
    folder = Path(name).expanduser()
    if folder.exists():
        return "model_type" in read_object(folder / "config.json") and not is_checkpoint(folder)
    return mistyped(name, bare=True) is None and _is_plain_on_hub(name)


def _is_plain_on_hub(name: str) -> bool:
    """Whether the hub, or what was fetched from it before, has a model of this name that is none of `prlhf train`."""
    try:
        hf_hub_download(name, "config.json")
    except (HfHubHTTPError, HFValidationError, OSError):  # it is not there, or is an adapter alone
        return False
    try:
        hf_hub_download(name, MARKER)
    except EntryNotFoundError:
        return True
    return False


def _plain(config: ModelConfig) -> PersonalizedLM:
    base: Any = load_base(config)
    tokenizer = load_tokenizer(config)
    width = base.get_input_embeddings().weight.shape[1]
    nobody = make_user_model(Uniform(), 1, torch.zeros(1, width))
    return PersonalizedLM(base, tokenizer, nobody, UserIndex.from_ids([]), config, fingerprint(base)).eval()
