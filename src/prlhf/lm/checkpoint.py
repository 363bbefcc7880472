"""The checkpoint folder: a PEFT adapter anyone can load, and the user model beside it.

README.md                          model card
adapter_config.json, adapter_model.safetensors   the LoRA  (config.json, model.safetensors after full fine-tuning)
tokenizer files
user_model/                        config.json, model.safetensors, users.parquet; prior.safetensors of new users
head.safetensors                   of a reward model: its scalar head
prlhf.json                         how to put them together; written last, so a folder without it is unfinished
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import peft
import torch
import transformers
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from peft import PeftModel
from pydantic import TypeAdapter
from torch import nn
from transformers import AutoTokenizer

from prlhf.config import ModelConfig, RunConfig
from prlhf.config.objectives import ObjectiveConfig
from prlhf.config.rewards.base import FORMAT as REWARD_FORMAT
from prlhf.data.paths import mistyped
from prlhf.errors import CheckpointError
from prlhf.lm.adapting.prior import Prior
from prlhf.lm.folders import aside_name, read_object
from prlhf.lm.loading import load_base, same_base
from prlhf.lm.lora import quiet_peft
from prlhf.lm.placement import first_line
from prlhf.users import UserIndex, UserModel, load_users, save_users

if TYPE_CHECKING:
    from prlhf.lm.personalized import PersonalizedLM

__all__ = [
    "HEAD",
    "MARKER",
    "Parts",
    "find",
    "is_checkpoint",
    "load",
    "recover",
    "refuse_head",
    "replace_folder",
    "resume_command",
    "save",
    "unfinished",
    "who_is_answered",
    "writing",
]

logger = logging.getLogger(__name__)
FORMAT = 1
MARKER = "prlhf.json"
HEAD = "head.safetensors"


class Parts(NamedTuple):
    """What a checkpoint holds, as `PersonalizedLM` takes it."""

    model: nn.Module
    tokenizer: Any
    user_model: UserModel
    users: UserIndex
    config: ModelConfig
    base_fingerprint: str
    with_user_text: bool = False
    objective: ObjectiveConfig | None = None
    prior: Prior | None = None


def is_checkpoint(folder: Path) -> bool:
    """Whether a folder holds a finished checkpoint."""
    return (folder / MARKER).is_file()


def replace_folder(new: Path, folder: Path) -> None:
    """Rename a finished folder to its place; what stood there is moved aside first and deleted after.

    A kill between the two renames leaves no `folder`, but both of the others: see `recover`.
    """
    old = _old(folder)
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(new, folder)
    shutil.rmtree(old, ignore_errors=True)


def recover(folder: Path) -> None:
    """Where a kill left no `folder`: put in its place what was about to come there, or else what had been there."""
    for held in (writing(folder), _old(folder)):
        if not folder.exists() and is_checkpoint(held):
            os.replace(held, folder)
            logger.warning("%s was being replaced when something stopped it; taken from %s", folder, held.name)


def writing(folder: Path) -> Path:
    """Where the folder's next content is written before it is renamed."""
    return folder.with_name(aside_name(folder.name))


def _old(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")


def save(
    lm: PersonalizedLM | Parts, folder: Path, card: str = "", beside: Callable[[Path], None] = lambda folder: None
) -> Path:
    """Write `lm`, and what `beside` adds to it, aside and rename the folder to `folder`."""
    recover(folder)
    if folder.exists() and not is_checkpoint(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise CheckpointError(f"{folder} exists and is no prlhf checkpoint; choose another folder")
    aside = writing(folder)
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        _write(lm, aside, card)
        beside(aside)
        replace_folder(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder


def _write(lm: PersonalizedLM | Parts, folder: Path, card: str) -> None:
    model: Any = lm.model
    model.save_pretrained(str(folder), **({"save_embedding_layers": False} if isinstance(model, PeftModel) else {}))
    lm.tokenizer.save_pretrained(str(folder))
    save_users(folder / "user_model", lm.user_model, lm.users)
    if lm.prior is not None:
        lm.prior.save(folder / "user_model")
    (folder / "README.md").write_text(_card(lm, card), encoding="utf8")
    about = {
        "format": FORMAT,
        "model": lm.config.model_dump(mode="json"),
        "base_fingerprint": lm.base_fingerprint,
        "with_user_text": lm.with_user_text,
        "objective": None if lm.objective is None else lm.objective.model_dump(mode="json"),
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__},
    }
    (folder / MARKER).write_text(json.dumps(about, indent=2), encoding="utf8")


def load(folder: str | Path) -> Parts:
    """The parts of a checkpoint, bit for bit.

    Raises:
        CheckpointError: no finished checkpoint there, or its base model is not the one it was trained on.
    """
    path = find(folder)
    about, config = _about(path / MARKER)
    if config.tuning.type == "lora":
        base = load_base(config)
        if not same_base(base, about["base_fingerprint"]):
            raise CheckpointError(
                f"{path} was trained on another model than {config.base!r} now is (its weights, dtype or config "
                "changed); point model.base in prlhf.json to the right one"
            )
        with quiet_peft():
            model = PeftModel.from_pretrained(base, str(path), is_trainable=True)
    else:
        model = load_base(config.model_copy(update={"base": str(path.resolve()), "adapter": None}))
    user_model, users = load_users(path / "user_model")
    tokenizer = AutoTokenizer.from_pretrained(str(path))
    told = about.get("with_user_text", False)
    objective: Any = TypeAdapter(ObjectiveConfig | None).validate_python(about.get("objective"))
    prior = Prior.load(path / "user_model")
    return Parts(model, tokenizer, user_model, users, config, about["base_fingerprint"], told, objective, prior)


def _about(marker: Path) -> tuple[dict[str, Any], ModelConfig]:
    try:
        about = json.loads(marker.read_text(encoding="utf8"))
        found = about.get("format")
        if found != FORMAT:
            raise CheckpointError(f"{marker}: found format {found}, this prlhf reads {FORMAT}; update prlhf")
        about["base_fingerprint"]
        return about, ModelConfig.model_validate(about["model"])
    except (ValueError, KeyError, AttributeError) as e:  # pydantic's ValidationError is a ValueError
        raise CheckpointError(f"{marker} does not describe a prlhf model: {e}") from e


def find(folder: str | Path) -> Path:
    """The folder of a checkpoint: a model folder, that of a run, or one fetched from the hub.

    Raises:
        CheckpointError: there is none.
    """
    path = Path(folder).expanduser()
    for candidate in (path, path / "model"):
        recover(candidate)
        if is_checkpoint(candidate):
            return candidate
    if path.exists():
        raise unfinished(path)
    hint = mistyped(str(folder))
    if hint is not None:
        raise CheckpointError(f"no model at {folder}: there is no folder of that name{hint}")
    logger.info("no folder %s here; looking for it on the Hugging Face hub", folder)
    try:
        fetched = Path(snapshot_download(str(folder)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as e:
        raise CheckpointError(
            f"no model at {folder}: there is no folder of that name, and the hub gives none: {first_line(e)}"
        ) from e
    if not is_checkpoint(fetched):
        raise CheckpointError(f"{folder} on the hub is no prlhf model ({MARKER} is missing)")
    return fetched


def refuse_head(folder: str | Path) -> None:
    """Raise CheckpointError where the checkpoint of `folder` is a reward model's: its language is not trained."""
    path = find(folder)
    if (path / HEAD).is_file():
        raise CheckpointError(f"{path} is a reward model, which scores and does not answer; prlhf reward takes it")


def resume_command(folder: Path, command: str = RunConfig.COMMAND) -> str:
    """What to type to go on with an unfinished run."""
    return f"{command} --output {shlex.quote(str(folder))} --resume"


def unfinished(folder: Path) -> CheckpointError:
    """The error about a folder without a finished model: how to finish it where it is a run's, else what it lacks."""
    for run in (folder, folder.parent):  # a run folder, or a path inside one
        try:
            RunConfig.model_validate_json((run / "config.json").read_text(encoding="utf8"))
        except (OSError, ValueError):
            continue
        return CheckpointError(f"{run} is an unfinished run; go on with: {resume_command(run)}")
    if any(_is_reward(place) for place in (folder, folder / "model")):
        return CheckpointError(f"{folder} is a reward model; expected a run of `prlhf train`, or its model")
    if (folder / "config.json").is_file():
        return CheckpointError(
            f"{folder} holds a plain model, without users ({MARKER} is missing); it is what `prlhf train --model` takes"
        )
    return CheckpointError(f"{folder} holds no finished prlhf model ({MARKER} is missing)")


def _is_reward(folder: Path) -> bool:
    return read_object(folder / "config.json").get("format") == REWARD_FORMAT


def who_is_answered(users: int) -> str:
    """How the model card begins."""
    return f"One model that answers each of its {users:,} users"


def _card(lm: PersonalizedLM | Parts, extra: str) -> str:
    kind, lora = lm.user_model.config.type, isinstance(lm.model, PeftModel)
    how = (
        "The folder also loads in plain PEFT (`PeftModel.from_pretrained`): that is the LoRA without user tokens."
        if lora
        else "The folder also loads in plain transformers: that is the tuned model without user tokens."
    )
    if lora and lm.config.adapter:
        how += f" Merge the adapter `{lm.config.adapter}` into the base first: this LoRA stands on top of it."
    return f"""---
library_name: prlhf
base_model: {lm.config.base}
base_model_relation: {"adapter" if lora else "finetune"}
tags: [personalized-rlhf, preference-optimization{", lora" if lora else ""}]
---
# A personalised language model

{who_is_answered(len(lm.users))}: `{kind}` user model, {lm.user_model.tokens} user tokens at
`{lm.config.user_tokens_at}`.

```python
from prlhf import PersonalizedLM
lm = PersonalizedLM.from_pretrained("this folder")
lm.generate(["..."], users=["an id"])
```

{how}
{extra}"""
