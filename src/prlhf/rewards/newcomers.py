"""Keeping people whom a reward model has met: in its folder, or in a new one; whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from prlhf.errors import CheckpointError, ConfigError
from prlhf.lm.folders import new_folder
from prlhf.rewards.base import RewardModel, VectorReward
from prlhf.rewards.folders import is_reward_model
from prlhf.rewards.states import States, UserTable
from prlhf.users.fewer import refuse_fewer
from prlhf.words import counted, some

__all__ = ["Kept", "keep", "votes_before"]

USERS = "users.parquet"
RUN = ("config.json", "data.json", "split.json")
"""What a run says of its data. Its figures are those of the model before."""


@dataclass(frozen=True)
class Kept:
    """Who was kept, and where."""

    folder: Path
    names: tuple[str, ...]
    votes: tuple[int, ...]
    """What each state rests on."""
    versions: tuple[int, ...]
    """1: new to the model."""
    before: tuple[int, ...]
    """Votes that the state before rested on; 0 for who is new."""

    def text(self) -> str:
        """In words: the first of them by name, and a line for everybody who was known already (at most ten)."""
        again = [i for i, version in enumerate(self.versions) if version > 1]
        new = len(self.names) - len(again)
        who = f" ({some(self.names)})" if self.names else ""
        lines = [f"kept: {counted(new, 'new user')}, {len(again):,} known already, in {self.folder}{who}"]
        for i in again[:10]:
            what = f"now version {self.versions[i]}, resting on these votes alone ({self.votes[i]:,};"
            lines.append(f"  {self.names[i]} was there: {what} before: {self.before[i]:,})")
        return "\n".join([*lines, f"  and {len(again) - 10:,} more" * (len(again) > 10)]).rstrip()


def keep(
    folder: str | Path,
    model: RewardModel,
    names: Sequence[str],
    states: States,
    output: str | Path | None = None,
    *,
    replace: bool = False,
) -> Kept:
    """Commit `states` to `model`, which was read from `folder`, and write that.

    Without `output` the users' table in the folder is replaced, by one rename; who was known gets the next version, and
    nobody else's row changes. With it, the whole model is saved there; that of a run with how its data
    were read and split, so that the new folder is used as the run is.

    Args:
        replace: a state may take the place of one that rests on more votes.

    Raises:
        ConfigError: in place, with a model whose users are in other files too; or a state that rests on more votes is
            there, and not `replace`.
        CheckpointError: `output` exists, or nothing can be written.
    """
    if output is None and not isinstance(model, VectorReward):
        raise ConfigError(f"{folder}: this kind of model is not changed in place; write a new folder with --output")
    if output is None:
        model.users = UserTable.load(_place(Path(folder)))  # others may have been kept since it was read
    before = votes_before(model, names)
    if not replace:
        refuse_fewer(names, states.votes.tolist(), before.tolist())
    model.commit(names, states)
    if output is None:
        _replace_users(Path(folder), model)
    else:
        _save_as(Path(folder), model, Path(output))
    versions = model.users.versions[model.users.rows(list(names))]
    told = (tuple(array.tolist()) for array in (states.votes, versions, before))
    return Kept(Path(folder if output is None else output), tuple(names), *told)


def votes_before(model: RewardModel, names: Sequence[str]) -> npt.NDArray[np.int64]:
    """What the state of each rests on `[n]`; 0 for who is unknown."""
    rows = model.users.rows(list(names))
    return np.where(rows > 0, model.users.states.votes[rows], 0)


def _save_as(folder: Path, model: RewardModel, output: Path) -> None:
    if not is_reward_model(folder / "model"):
        model.save(output)
        return
    with new_folder(output) as place:
        for name in RUN:
            if (folder / name).is_file():
                shutil.copyfile(folder / name, place / name)
        model.save(place / "model")


def _place(folder: Path) -> Path:
    place = next((p for p in (folder / USERS, folder / "model" / USERS) if p.is_file()), None)
    if place is None:
        raise CheckpointError(f"{folder}: no table of users there; expected a folder of `prlhf reward train`")
    return place


def _replace_users(folder: Path, model: RewardModel) -> None:
    place = _place(folder)
    aside = place.with_name(f".{USERS}.{os.getpid()}.writing")
    try:
        model.users.save(aside)
        os.replace(aside, place)
    except OSError as e:
        raise CheckpointError(f"{place} cannot be written: {e.strerror or e}") from e
    finally:
        with suppress(OSError):
            aside.unlink()
