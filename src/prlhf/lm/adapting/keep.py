"""Committing user states to a model on disk: a new folder with the new user table, renamed into place."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np

from prlhf.lm.adapting.prior import Prior
from prlhf.lm.adapting.states import UserStates, committed_to
from prlhf.lm.checkpoint import find, replace_folder, who_is_answered, writing
from prlhf.lm.folders import write_text
from prlhf.users import load_users, save_users
from prlhf.users.fewer import refuse_fewer

__all__ = ["commit_to", "keep_prior"]


def commit_to(folder: str | Path, states: UserStates, *, replace: bool = False) -> list[str]:
    """Add these users to the model of `folder` (a run's, or a model's own), or replace the rows of those that it has,
    whom it returns. The language model is not loaded; every other row keeps its bytes, and so does every other file but
    the model card, which tells the number of users.

    Args:
        replace: also where somebody is known by more votes than these.

    Raises:
        CheckpointError: no finished model there.
        ConfigError: states of another model, or of fewer votes than somebody is known by.
    """
    model = find(folder)
    table, users = load_users(model / "user_model")
    if not replace:
        names = list(states.names)
        there = np.where(users.known(names), users.counts[users.rows(names)], 0)
        refuse_fewer(states.names, states.votes, there, " (--old-votes: those of the run's training)")
    before = len(users)
    if Prior.load(model / "user_model") is None and before and table.table is not None:
        keep_prior(model, Prior.of(table))  # who comes now is no evidence of who will
    users, known = committed_to(table, users, states)
    aside = writing(model)
    shutil.rmtree(aside, ignore_errors=True)
    try:
        shutil.copytree(model, aside, copy_function=_linked)
        save_users(aside / "user_model", table, users)
        _retell(aside / "README.md", before, len(users))
        replace_folder(aside, model)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return known


def keep_prior(folder: str | Path, prior: Prior) -> None:
    """Write the prior beside the user model of `folder`, whole or not at all."""
    prior.save(find(folder) / "user_model")


def _linked(source: str, target: str) -> None:
    """The same file under a second name where the file system has that, since no file is changed in its place."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _retell(card: Path, before: int, now: int) -> None:
    """The number of users on the model card."""
    if card.is_file() and before != now:
        text = card.read_text(encoding="utf8").replace(who_is_answered(before), who_is_answered(now))
        write_text(card, text)
