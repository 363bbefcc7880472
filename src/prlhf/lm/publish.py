"""A model for the hub: a checkpoint folder that says what it is and nothing about who its users are.

What is personal in a user table: a row without its id is still one person's, learned from that person's votes alone.
Who knows a few of these votes can find the row that explains them best, and then ask the model what else that person
prefers; counts and the order of the rows help. So by default no rows of users are published.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from peft import PeftModel

from prlhf.errors import CheckpointError, ConfigError
from prlhf.lm.checkpoint import Parts, save
from prlhf.lm.folders import new_folder
from prlhf.lm.loading import BUNDLED, first_line
from prlhf.lm.publish_card import INTENDED_USE, UNPUBLISHED, publication_card, read_facts
from prlhf.users import UserIndex, UserModel, subset

if TYPE_CHECKING:
    from prlhf.lm.personalized import PersonalizedLM

__all__ = ["PublishedUsers", "hashed_id", "push_to_hub", "write_public"]

PublishedUsers = Literal["none", "hashed", "ids"]


def hashed_id(user: str, salt: str) -> str:
    """The id of a user in a table that was published as `hashed`: 32 hex digits, which only `salt` leads to."""
    return hmac.new(salt.encode("utf8"), user.encode("utf8", "surrogatepass"), hashlib.sha256).hexdigest()[:32]


def push_to_hub(
    lm: PersonalizedLM,
    repo_id: str,
    *,
    private: bool = True,
    users: PublishedUsers = "none",
    salt: str | None = None,
    run: str | Path | None = None,
    intended_use: str = INTENDED_USE,
    token: str | None = None,
    commit_message: str = "Upload a prlhf model",
) -> str:
    """`PersonalizedLM.push_to_hub`."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "model"
        write_public(lm, folder, users=users, salt=salt, run=run, intended_use=intended_use)
        try:
            api = HfApi(token=token)
            url = api.create_repo(repo_id, private=private, exist_ok=True)
            if private and not api.repo_info(repo_id).private:
                raise CheckpointError(
                    f"{repo_id} is there already and public, and private=True was asked; nothing was uploaded. "
                    "Choose another name, or say private=False"
                )
            api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message=commit_message)
        except CheckpointError:
            raise
        except (HfHubHTTPError, HFValidationError, OSError) as e:  # no network is an OSError
            raise CheckpointError(f"{repo_id} cannot be written on the hub: {first_line(e)}") from e
    return str(url)


def write_public(
    lm: PersonalizedLM,
    folder: str | Path,
    *,
    users: PublishedUsers = "none",
    salt: str | None = None,
    run: str | Path | None = None,
    intended_use: str = INTENDED_USE,
) -> Path:
    """The folder that `push_to_hub` uploads, to look at before.

    Raises:
        CheckpointError: `folder` exists, or `run` is no run.
        ConfigError: as `PersonalizedLM.push_to_hub`.
    """
    _check(lm, users, salt)
    facts = {} if run is None else read_facts(Path(run))
    public = _public(lm, users, salt or "")
    with new_folder(Path(folder)) as aside:
        save(public, aside)
        adapter = aside / "adapter_config.json"
        if adapter.exists():
            _rewrite(adapter, {"base_model_name_or_path": public.config.base})
        card = publication_card(public, len(lm.users), users, facts, intended_use)
        (aside / "README.md").write_text(card, encoding="utf8")
    return Path(folder)


def _check(lm: PersonalizedLM, users: str, salt: str | None) -> None:
    if users not in get_args(PublishedUsers):
        raise ConfigError(f"users: found {users!r}, expected one of {', '.join(get_args(PublishedUsers))}")
    if (users == "hashed") != bool(salt):
        raise ConfigError(
            "salt belongs to users='hashed', which needs one: a secret text, without which nobody can tell whose a "
            f"hashed id is by hashing names; found users={users!r} and {'a' if salt else 'no'} salt"
        )
    local = [name for name in (lm.config.base, lm.config.adapter) if name is not None and _is_local(name)]
    if local and isinstance(lm.model, PeftModel):
        raise ConfigError(
            f"the LoRA belongs to {local[0]}, a folder that nobody else has; publish the merged model: "
            "prlhf.lm.merging.merged(lm).push_to_hub(…)"
        )


def _is_local(name: str) -> bool:
    if name in BUNDLED:
        return False
    return name.startswith((".", "/", "~")) or Path(name).is_absolute() or Path(name).exists()


def _public(lm: PersonalizedLM, users: PublishedUsers, salt: str) -> Parts:
    """The model with the user table that is published, and without the names of folders."""
    local = [name for name in ("base", "adapter") if _is_local(getattr(lm.config, name) or "planted")]
    config = lm.config.model_copy(update=dict.fromkeys(local, UNPUBLISHED))
    table, index = _public_users(lm.user_model, lm.users, users, salt)
    return Parts(lm.model, lm.tokenizer, table, index, config, lm.base_fingerprint, lm.with_user_text, lm.objective)


def _public_users(table: UserModel, index: UserIndex, users: str, salt: str) -> tuple[UserModel, UserIndex]:
    """The generic row alone; or hashed ids, their rows in an order that says nothing, without counts; or everything."""
    if users == "ids":
        return table, index
    if users == "none":
        return subset(table, [0]), UserIndex.from_ids([])
    hashed = sorted((hashed_id(user, salt), row) for row, user in enumerate(index.ids(), 1) if user is not None)
    return subset(table, [0, *(row for _, row in hashed)]), UserIndex.from_ids([name for name, _ in hashed])


def _rewrite(path: Path, changes: dict[str, Any]) -> None:
    held = json.loads(path.read_text(encoding="utf8"))
    path.write_text(json.dumps({**held, **changes}, indent=2), encoding="utf8")
