"""Whether a reward model uses votes at all, and whether a feature tells the label without a taste."""

from __future__ import annotations

import numpy as np

from prlhf.data.checks import Check
from prlhf.evaluation.bootstrap import UserSums
from prlhf.evaluation.by_user import credit
from prlhf.evaluation.checks import judged_drop, points
from prlhf.evaluation.scores import Scores
from prlhf.rewards.votes import Votes

__all__ = ["check_features", "check_flipped"]

FLIPPED = "votes flipped"
FEATURES = "a feature that tells"
_TELLING = 0.97
"""Nobody's taste, and no quality, is so plain on one feature in people's votes."""
_PAIRS = 50


def check_flipped(told: Scores, flipped: Scores, *, bootstrap: int = 1000, seed: int = 0) -> Check:
    """Whether new users' votes are read: with chosen and rejected of each exchanged, the model must be less right.

    Args:
        told: the new users' comparisons after their votes were folded in.
        flipped: the same comparisons in the same order, after the flipped votes were.
    """
    if not len(told):
        return Check.missing(FLIPPED, "no new user has votes to fold in and others to measure on")
    lost = {"drop": credit(told.h) - credit(flipped.h)}
    drop = UserSums.of(told.user, told.weight, lost).means(bootstrap, seed)["drop"]
    state, verdict = judged_drop(drop, "Votes are ignored, or what they say does not carry over: nothing is personal.")
    changed = float(np.mean(np.sign(told.h) != np.sign(flipped.h)))
    text = (
        f"Flipping the votes that are folded in costs new users {points(drop)} of accuracy in {len(told):,} "
        f"comparisons, and {changed:.1%} of the answers change.{verdict}"
    )
    numbers = {"comparisons": len(told), "drop": drop.as_dict(), "answers_changed": changed}
    return Check(FLIPPED, state, text, numbers)


def check_features(votes: Votes) -> Check:
    """Whether the sign of one feature's difference predicts the votes, as an order, a source or a label that slipped
    into the features does. Votes on one pair count as one, so that a pair which all agree on is one piece of evidence.
    """
    decided = votes.take(votes.y != 0.5)
    pairs, first = np.unique(decided.pair, return_index=True)
    if len(pairs) < _PAIRS:
        return Check.missing(FEATURES, f"{len(pairs):,} pairs are too few to tell; it takes {_PAIRS}")
    share = np.zeros(decided.items.width)
    for rows in np.array_split(first, max(1, len(first) * len(share) // 4_000_000)):
        share += (np.sign(decided.take(rows).differences) + 1).sum(0) / 2
    share /= len(first)
    best = int(np.argmax(np.abs(share - 0.5)))
    right = max(share[best], 1 - share[best])
    text = f"The most telling of {len(share):,} features, number {best}, is right by its sign alone in {right:.1%} of "
    text += f"{len(first):,} pairs."
    leak = bool(right > _TELLING)
    if leak:
        text += " No taste is so plain: the feature tells the label. Take it out of what the features are made from."
    return Check.of(FEATURES, leak, text, {"feature": best, "accuracy": float(right), "pairs": len(first)})
