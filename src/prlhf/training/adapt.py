"""New users of a finished run: their votes, the prior that its training gave, and states that may be committed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from prlhf.config import RunConfig
from prlhf.data import load_comparisons, recency_weights
from prlhf.errors import CheckpointError, ConfigError, PrlhfError
from prlhf.evaluation.rows import read_config, training_of
from prlhf.lm import PersonalizedLM
from prlhf.lm.adapting.fold_in import FoldIn, fold_in
from prlhf.lm.adapting.keep import keep_prior
from prlhf.lm.adapting.prior import Prior
from prlhf.lm.adapting.tuning import tuned
from prlhf.types import Feedback, Thumb

__all__ = ["Adapted", "adapt"]

logger = logging.getLogger(__name__)
Progress = Callable[[Iterable[int], str], Iterable[int]]


@dataclass(frozen=True)
class Adapted:
    """The fit; whose rows the run has already; how many of their votes in its training count too (None: not asked for);
    the prior; and the seconds that the fit took, without the prior's."""

    fit: FoldIn
    known: tuple[str, ...]
    old: int | None
    prior: Prior
    seconds: float


def adapt(
    run: str | Path,
    votes: Sequence[Feedback],
    *,
    half_life_days: float | None = None,
    old_votes: bool = False,
    cache: Path | None = None,
    progress: Progress = lambda steps, _: steps,
) -> Adapted:
    """Fit a row to the votes of each user in them. Nothing is committed; the prior is kept in the run when it is made.

    Args:
        run: a run folder, or a model (whose prior then is as strong as the loss says).
        half_life_days: of the votes' weights (`recency_weights`).
        old_votes: with the votes of these users that the run was trained on.

    Raises:
        DataError, ConfigError, CheckpointError: as `PersonalizedLM.fold_in` and `from_pretrained`.
    """
    lm = PersonalizedLM.from_pretrained(run)
    config, trained, why = _training(Path(run))
    objective = lm.objective or (None if config is None else config.objective)
    if objective is None:
        raise ConfigError(f"{run}: what it was trained with is not kept with it, so its loss is not known")
    before: list[Feedback] = []
    if old_votes:
        if trained is None:
            raise ConfigError(f"--old-votes: {why}")
        before = _before(trained, votes)
        votes = [*before, *votes]
    prior = lm.prior or Prior.of(lm.user_model)
    if not prior.users:
        if trained is None:
            logger.warning("the strength of the prior is not tuned: %s", why)
        else:
            logger.info("learning on trained users how much a few votes are to be trusted (once for this run)")
            prior = tuned(lm, trained, objective, prior=prior, cache=cache, progress=progress)
        if Path(run).exists():  # and is not on the hub
            _keep(run, prior)
    weight = None if half_life_days is None else recency_weights(votes, half_life_days)
    begin = time.perf_counter()
    found = fold_in(lm, votes, prior, objective, weight=weight, cache=cache)
    seconds = time.perf_counter() - begin
    names = found.states.names
    known = tuple(name for name, old in zip(names, lm.users.known(list(names)), strict=True) if old)
    return Adapted(_told(found, lm, votes), known, len(before) if old_votes else None, prior, seconds)


def _before(trained: Sequence[Feedback], votes: Sequence[Feedback]) -> list[Feedback]:
    """What the users of the votes voted in training, less what is among the votes again."""
    users, again = {v.user for v in votes}, {_said(v) for v in votes}
    return [v for v in trained if v.user in users and _said(v) not in again]


def _said(vote: Feedback) -> tuple[object, ...]:
    """Equal for the same answer of the same user to the same question."""
    answer = vote.up if isinstance(vote, Thumb) else (vote.tie or vote.chosen)
    return vote.user, vote.pair_key, answer


def _training(run: Path) -> tuple[RunConfig | None, Sequence[Feedback] | None, str]:
    """The configuration and the training side of a run, or why there is none."""
    try:
        config = read_config(run)
        return config, *training_of(run, config, load_comparisons(config.data))
    except (PrlhfError, OSError) as e:
        return None, None, f"the data that it was trained on cannot be read: {e}"


def _keep(run: str | Path, prior: Prior) -> None:
    try:
        keep_prior(run, prior)
    except (OSError, CheckpointError) as e:
        logger.warning("the prior cannot be kept with the model, and will be made again: %s", e)


def _told(found: FoldIn, lm: PersonalizedLM, votes: Sequence[Feedback]) -> FoldIn:
    """With a remark where the model was trained with texts about users and these votes have none."""
    if lm.with_user_text and not any(v.user_text for v in votes):
        words = "the model was trained with texts about its users, and these votes have none: rows make up for that"
        return replace(found, remarks=(*found.remarks, words))
    return found
