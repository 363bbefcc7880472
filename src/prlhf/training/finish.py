"""What closes a run: the evaluation on held-out comparisons, the tables and plots, and the model, written last."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from prlhf.config import RunConfig
from prlhf.data import Log, Split, subsample
from prlhf.data.items import parted
from prlhf.evaluation import plots
from prlhf.evaluation.by_user import PerUser, per_user
from prlhf.evaluation.metrics import Metrics, summarise
from prlhf.evaluation.policy import EvaluationSet, policy_logprobs, scores_of
from prlhf.evaluation.thumbs import MEANING, one_sided
from prlhf.lm import PersonalizedLM
from prlhf.lm.publish_card import THUMBS
from prlhf.objectives import margin_of
from prlhf.training.fallen import falls, warn_fallen
from prlhf.training.progress import bar
from prlhf.training.run import Run
from prlhf.types import Feedback

__all__ = ["finish"]

logger = logging.getLogger(__name__)


def finish(
    lm: PersonalizedLM,
    log: Log,
    sides: Split,
    config: RunConfig,
    run: Run,
    *,
    cache: Path | None,
    writes: bool = True,
) -> Metrics | None:
    """Evaluate on the test side (and on held-out users), write metrics, per-user table, plots, and at last the model.

    A run whose model is there is complete; a kill before that lets `resume` do all of this again. A process that only
    helps to evaluate a model that is spread over several (`writes=False`) has no metrics.
    """
    lm.eval()
    held_out = subsample([*sides.test, *sides.unseen], config.training.test_comparisons, config.seed)
    metrics, users, card = None, None, ""
    rows, layout = [log.items[i] for i in held_out], config.training.layout
    data = EvaluationSet.of(lm, rows, cache=cache, layout=layout, seed=config.seed, progress=bar)
    _tell_unmeasured(rows)
    if len(data):
        logps, card = policy_logprobs(lm, data, progress=bar), _card(lm, data) if lm.answers else ""
    if not writes:
        return None
    if len(data):
        if lm.answers and not config.training.eval_steps:  # nobody has looked yet
            warn_fallen(falls(data, logps), config.objective)
        scores = scores_of(data, logps, margin_of(config.objective))
        metrics, users = summarise(scores, beta=config.objective.beta), per_user(scores, config.objective.beta)
        scores.save(run.folder / "scores.parquet")
        users.save(run.folder / "per_user.parquet")
        run.write_json("evaluation.json", {**metrics.as_dict(), "of": _kind(rows)})
    _plot(run, users)
    lm.save_pretrained(run.model, card)
    return metrics


def _kind(items: Sequence[Feedback]) -> str:
    """What a comparison of the figures is."""
    return "comparisons" if parted(items)[0] else THUMBS


def _tell_unmeasured(items: Sequence[Feedback]) -> None:
    """Log what of the held-out side the figures are over, where that is not all of it, and no comparisons."""
    comparisons, thumbs = parted(items)
    if comparisons and thumbs:
        logger.info("%d thumbs beside the comparisons are not measured", len(thumbs))
    elif thumbs:
        left_out = one_sided(thumbs)
        logger.log(logging.WARNING if left_out else logging.INFO, "%s %s", MEANING, left_out)


def _plot(run: Run, users: PerUser | None) -> None:
    """`plots/`: what there is to show."""
    curves = plots.read_curves(run.metrics, plots.CURVES) if run.metrics.exists() else {}
    if curves:
        plots.save(plots.learning_curves(curves), run.plots / "learning_curves.png")
    if users is not None and users.seen.any():
        plots.save(plots.per_user_accuracy(users), run.plots / "per_user.png")


@torch.no_grad()
def _card(lm: PersonalizedLM, data: EvaluationSet) -> str:
    """How far the plain adapter (no user tokens) is from the generic row, measured on some of the test side."""
    some = replace(data, branches=np.tile([0, -1], (len(data.encoded), 1))).first(256)
    logps = policy_logprobs(lm, some)
    gap = np.abs(logps[:, 0] - logps[:, 1]) / some.tokens
    signs = np.sign(logps[..., 0] - logps[..., 1])
    return (
        "\nWithout user tokens the log-probability of a response differs from the generic row's by "
        f"{gap.mean():.3f} nats per token (mean over {len(some)} test comparisons), and "
        f"{np.mean(signs[:, 0] == signs[:, 1]):.0%} of the pairs are ordered the same way.\n"
    )
