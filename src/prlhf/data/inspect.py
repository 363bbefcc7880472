"""What a preference log holds, and what personalisation can hope for in it.

Three questions are answered besides the counts. How often do people who judged the same pair disagree? How far does a
vote follow from length and formatting alone, for everybody together and for each user? And between which bounds lies
the best accuracy of a model that answers everybody alike (`Bounds`), above which personalisation begins?
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from prlhf.data.facts import is_empty
from prlhf.data.log import Log, decided
from prlhf.data.surface import Predictability, predictability
from prlhf.types import Comparison, prompt_text

__all__ = ["Agreement", "Inspection", "inspect_log"]

_QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)


@dataclass(frozen=True)
class Agreement:
    """Votes of different users on the same pair (ties and equal texts left out; a user's repeated votes count once)."""

    pairs: int
    """Pairs judged by at least two users."""
    votes: int
    contested: int
    """Of these pairs, those with votes on both sides."""
    disagreement: float | None
    """Probability that two different users of one pair disagree; each vote weighs the same."""
    disagreement_error: float | None
    """Its standard error, over pairs."""
    majority_of_others: float | None
    """Accuracy of predicting a vote by the majority of the *other* users of its pair (ties of them count half)."""
    majority: float | None
    """The same with the vote itself among them: too high, the more so the fewer votes a pair has."""
    same_user: float
    """Chance that two random votes on such pairs are the same user's: large where few users vote much."""
    repeats: int
    """Times that the same user judged the same pair twice or more."""
    self_agreement: float | None
    """Of these, the share of two votes that agree: how far people agree with themselves."""


@dataclass(frozen=True)
class Bounds:
    """Where the best accuracy of a model that answers everybody alike lies, on pairs that several users judged.

    Estimates from a sample: both are widened by two standard errors, without which a tight bound would be passed by
    chance in every second log.
    """

    lower: float | None
    """Two users agree with probability A, and following a random other user's vote reaches A."""
    upper: float | None
    """(1 + sqrt(2B - 1)) / 2: no answer without the user can do better, whatever the features. B is the chance that
    two votes drawn with replacement agree: A, or the same user's vote twice."""


@dataclass(frozen=True)
class Inspection:
    """All that `prlhf data inspect` shows; `as_dict` is its JSON."""

    source: str
    fingerprint: str
    kinds: str
    """Of what there is: comparisons, thumbs, or both. Agreement and surface are of the comparisons alone."""
    counts: dict[str, int]
    per_user: dict[str, float]
    """Quantiles of comparisons and thumbs per user."""
    users_with: dict[str, int]
    """Users with at least so many of them."""
    characters: dict[str, dict[str, float]]
    """Quantiles of the lengths of prompts, chosen and rejected, liked and disliked responses."""
    agreement: Agreement
    pooled: Bounds
    surface: Predictability
    user_counts: tuple[int, ...]
    lengths: dict[str, tuple[int, ...]]
    """Length of each different text, for the picture."""

    def as_dict(self) -> dict[str, Any]:
        """Everything but the raw lists that only the picture needs."""
        data = asdict(self)
        data["histogram_of_comparisons_per_user"] = _histogram(self.user_counts)
        for name in ("user_counts", "lengths"):
            del data[name]
        del data["surface"]["longer_by_user"]
        return data

    def hope(self) -> str:
        """In words: what personalisation can hope for here, and what this cannot tell."""
        if self.kinds == "thumbs":
            return "How far users disagree, and how far length goes, is measured on comparisons; here are thumbs only."
        lines = []
        a = self.agreement
        if a.disagreement is None:
            lines.append("No pair was judged by two users, so their disagreement cannot be measured here.")
        else:
            low, high = self.pooled.lower or 0.0, self.pooled.upper or 0.0
            lines.append(
                f"Two users disagree on the same pair in {a.disagreement:.1%} of cases. On such pairs the best model "
                f"that answers everybody alike is right in {low:.1%} to {high:.1%} of the votes. The rest, "
                f"{1 - high:.1%} to {1 - low:.1%}, is taste of the person or noise of the vote, and all that "
                "personalisation can hope for."
            )
            lines.append(_self_sentence(a))
        lines.append(self.surface.sentence())
        return "\n".join(lines)


def _self_sentence(a: Agreement) -> str:
    if a.self_agreement is None:
        return "Nobody judged the same pair twice, so how much of it is noise cannot be told from this log."
    best = accuracy_ceiling(a.self_agreement)
    few = " (few cases: take it as a hint)" if a.repeats < 100 else ""
    return (
        f"Where the same user judged a pair again ({a.repeats:,} times), two votes agree in {a.self_agreement:.1%}"
        f"{few}. If these are judgements and not copies, knowing the user perfectly reaches at most about {best:.1%}."
    )


def pooled_bounds(a: Agreement) -> Bounds:
    """Bounds on the best accuracy without the user, from how far different users agree."""
    if a.disagreement is None:
        return Bounds(None, None)
    agree, margin = 1 - a.disagreement, 2 * (a.disagreement_error or 0.0)
    with_replacement = a.same_user + (1 - a.same_user) * min(agree + margin, 1.0)
    return Bounds(max(agree - margin, 0.0), accuracy_ceiling(with_replacement))


def _ratio_error(sums: Sequence[tuple[int, float, float, float, bool]]) -> float | None:
    """Standard error of disagreements per vote, with whole pairs as the sample; None for a single pair."""
    if len(sums) < 2:
        return None
    votes, disagree = np.array([s[0] for s in sums], float), np.array([s[1] for s in sums])
    rest = disagree - votes * disagree.sum() / votes.sum()
    n = len(sums)
    return float(math.sqrt(n / (n - 1) * (rest**2).sum()) / votes.sum())


def accuracy_ceiling(agreement: float) -> float:
    """Upper bound (1 + sqrt(2A - 1)) / 2 on the best accuracy, where two votes agree with probability A.

    With P(chosen) = p on a pair, A = E[p^2 + (1-p)^2] and the best accuracy is E[max(p, 1-p)]; the bound is Jensen's
    inequality for the concave square root. At A <= 1/2 there is nothing to know.
    """
    return (1 + math.sqrt(max(2 * agreement - 1, 0.0))) / 2


def inspect_log(log: Log, seed: int = 0) -> Inspection:
    """Measure `log`; deterministic. `seed` only moves the folds of the cross-validation."""
    comparisons = log.comparisons
    users = Counter(item.user for item in log.items if item.user is not None)
    counts = tuple(sorted(users.values(), reverse=True))
    agreement = measure_agreement(comparisons)
    lengths = {
        "prompt": [len(prompt_text(item.prompt)) for item in log.items],
        "chosen": [len(c.chosen) for c in comparisons],
        "rejected": [len(c.rejected) for c in comparisons],
        "liked": [len(t.response) for t in log.thumbs if t.up],
        "disliked": [len(t.response) for t in log.thumbs if not t.up],
    }
    kept = ("prompt",) if log.kinds == "thumbs" else ("prompt", "chosen", "rejected")
    lengths = {name: values for name, values in lengths.items() if values or name in kept}
    return Inspection(
        source=log.source,
        fingerprint=log.fingerprint,
        kinds=log.kinds,
        counts=_counts(log),
        per_user=_quantiles(counts),
        users_with={str(n): sum(count >= n for count in counts) for n in (2, 5, 10, 20, 50, 100, 200, 500)},
        characters={name: _quantiles(values) for name, values in lengths.items()},
        agreement=agreement,
        pooled=pooled_bounds(agreement),
        surface=predictability(comparisons, seed),
        user_counts=counts,
        lengths={name: tuple(values) for name, values in lengths.items() if name != "prompt"},
    )


def _counts(log: Log) -> dict[str, int]:
    comparisons, thumbs, items = log.comparisons, log.thumbs, log.items
    votes = Counter((c.user, c.prompt_key, c.chosen, c.rejected, c.tie) for c in comparisons)
    judged = Counter((t.user, t.pair_key, t.up) for t in thumbs)
    opinions = {(t.user, t.up) for t in thumbs}
    return {
        "rows": log.notes.rows,
        "skipped": log.notes.skipped,
        "rankings": log.notes.rankings,
        "comparisons": len(comparisons),
        "thumbs": len(thumbs),
        "thumbs_up": sum(t.up for t in thumbs),
        "thumbs_down": sum(not t.up for t in thumbs),
        "users": len(log.users),
        "users_of_one_opinion": sum(
            ((user, True) in opinions) != ((user, False) in opinions) for user in {t.user for t in thumbs} - {None}
        ),
        "without_user": sum(item.user is None for item in items),
        "with_user_text": sum(item.user_text is not None for item in items),
        "prompts": len({item.prompt_key for item in items}),
        "pairs": len({c.pair_key for c in comparisons}),
        "responses": len({key for item in items for key in item.response_keys}),
        "ties": sum(c.tie for c in comparisons),
        "equal": sum(c.chosen == c.rejected for c in comparisons),
        "empty": sum(any(is_empty(text) for text in item.responses) for item in items),
        "duplicates": sum(count - 1 for count in (votes + judged).values()),
    }


def _quantiles(values: Sequence[int]) -> dict[str, float]:
    if not values:
        return {}
    return {f"{q:.0%}": float(v) for q, v in zip(_QUANTILES, np.quantile(np.asarray(values), _QUANTILES), strict=True)}


def _histogram(counts: Sequence[int]) -> dict[str, int]:
    """Users by number of comparisons, in classes that double."""
    bins = Counter(int(math.log2(count)) for count in counts)
    return {f"{2**k}-{2 ** (k + 1) - 1}": bins[k] for k in sorted(bins)}


def measure_agreement(comparisons: Sequence[Comparison]) -> Agreement:
    """How users who judged the same pair agree with one another, and with themselves."""
    by_pair: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for c in comparisons:
        if decided(c) and c.user is not None:
            by_pair[c.pair_key][c.user].append(c.chosen < c.rejected)
    voters = Counter(user for votes in by_pair.values() if len(votes) > 1 for user in votes)
    again = [v for votes in by_pair.values() for v in votes.values() if len(v) > 1]
    sums = [_ballots([sum(v) / len(v) for v in votes.values()]) for votes in by_pair.values()]
    sums = [s for s in sums if s[0]]
    votes = sum(s[0] for s in sums)

    def mean(k: int) -> float | None:
        return float(sum(s[k] for s in sums) / votes) if votes else None

    return Agreement(
        pairs=len(sums),
        votes=int(votes),
        contested=int(sum(s[4] for s in sums)),
        disagreement=mean(1),
        disagreement_error=_ratio_error(sums),
        majority_of_others=mean(2),
        majority=mean(3),
        same_user=sum((n / voters.total()) ** 2 for n in voters.values()),
        repeats=len(again),
        self_agreement=float(np.mean([_agree(v) for v in again])) if again else None,
    )


def _agree(votes: Sequence[bool]) -> float:
    """Share of two votes out of these that agree."""
    n, k = len(votes), sum(votes)
    return (k * (k - 1) + (n - k) * (n - k - 1)) / (n * (n - 1))


def _ballots(means: Sequence[float]) -> tuple[int, float, float, float, bool]:
    """Of one pair: users, and summed over them disagreement, hits by the others' majority, hits by everybody's
    majority; whether contested. A user who voted both ways equally often has no vote here."""
    side = [m > 0.5 for m in means if m != 0.5]
    n, k = len(side), sum(side)
    if n < 2:
        return 0, 0.0, 0.0, 0.0, False
    disagree = n * 2 * k * (n - k) / (n * (n - 1))
    others = k * _win(k - 1, n - k) + (n - k) * _win(n - k - 1, k)
    return n, disagree, others, float(max(k, n - k)), 0 < k < n


def _win(mine: int, theirs: int) -> float:
    return 1.0 if mine > theirs else 0.5 if mine == theirs else 0.0
