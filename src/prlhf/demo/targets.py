"""What the planted study should reach, and what it found: one list for the console, the report and the JSON file."""

from __future__ import annotations

from dataclasses import dataclass

from prlhf.demo.study import Study

__all__ = ["DEMO", "FULL", "Finding", "findings"]

DEMO = {
    "accuracy_seen": 0.80,
    "wins_sft": 0.65,
    "permutation_drop": 0.20,
    "generic_gap": 0.02,
    "newcomers_after": 0.70,
    "newcomers_wins": 0.55,
}
FULL = {
    "accuracy_single": 0.90,
    "accuracy_worst_profile": 0.80,
    "accuracy_mixture": 0.85,
    "pooled_minority": 0.65,
    "wins_sft": 0.75,
    "wins_pooled_majority": 0.50,
    "wins_pooled_minority": 0.80,
    "wins_oracle": 0.40,
    "oracle_wins_sft": 0.85,
    "permutation_drop": 0.20,
    "generic_gap": 0.02,
}
_AT_MOST = {"pooled_minority", "generic_gap"}
_WORDS = {
    "accuracy_seen": "held-out accuracy, own row, all users",
    "accuracy_single": "held-out accuracy, single-axis users",
    "accuracy_worst_profile": "held-out accuracy, worst of the six profiles",
    "accuracy_mixture": "held-out accuracy, users who weigh three axes",
    "accuracy_minority": "held-out accuracy, minority users",
    "pooled_seen": "pooled DPO: held-out accuracy, all users",
    "pooled_minority": "pooled DPO: held-out accuracy, minority users",
    "wins_sft": "answers preferred to the SFT model's",
    "wins_pooled_majority": "answers preferred to pooled DPO's, majority users",
    "wins_pooled_minority": "answers preferred to pooled DPO's, minority users",
    "wins_oracle": "answers preferred to those of an oracle that is told the profile",
    "wins_oracle_greedy": "the same where all answers are greedy, not sampled",
    "oracle_wins_sft": "the oracle's answers preferred to the SFT model's",
    "permutation_drop": "accuracy lost with somebody else's row",
    "newcomers_before": "newcomers: held-out accuracy as strangers",
    "newcomers_after": "newcomers: held-out accuracy after ten votes",
    "newcomers_wins": "newcomers: answers after ten votes preferred to those before",
    "generic_gap": "generic row against pooled DPO, difference in accuracy",
}


@dataclass(frozen=True)
class Finding:
    """One figure; `target` is None where there is none."""

    name: str
    words: str
    value: float
    target: float | None

    @property
    def at_most(self) -> bool:
        """Whether the target is an upper bound."""
        return self.name in _AT_MOST

    @property
    def reached(self) -> bool:
        """Whether the value keeps the target (true without one)."""
        if self.target is None:
            return True
        return self.value <= self.target if self.at_most else self.value >= self.target

    @property
    def target_words(self) -> str:
        """The target as text."""
        return "" if self.target is None else f"{'≤' if self.at_most else '≥'} {self.target:.2f}"


def findings(study: Study, targets: dict[str, float]) -> list[Finding]:
    """Every figure of the study beside its target."""
    profiles = {name: both["P-DPO"] for name, both in study.by_profile.items()}
    single = [value for name, value in profiles.items() if name != "mixture"]
    sizes = {name: sum(u.name == name for u in study.world.users) for name in profiles if name != "mixture"}
    overall, pooled = study.metrics.overall, study.pooled.overall
    minority = study.metrics.groups["minority"].accuracy_seen.value
    against_sft, against_pooled = study.wins("personal", "sft"), study.wins("personal", "pooled")
    values = {
        "accuracy_seen": overall.accuracy_seen.value,
        "accuracy_single": sum(profiles[n] * k for n, k in sizes.items()) / sum(sizes.values()),
        "accuracy_worst_profile": min(single),
        "accuracy_mixture": profiles["mixture"],
        "accuracy_minority": minority,
        "pooled_seen": pooled.accuracy_seen.value,
        "pooled_minority": study.pooled.groups["minority"].accuracy_seen.value,
        "wins_sft": against_sft.per_user.value,
        "wins_pooled_majority": against_pooled.groups["majority"].per_user.value,
        "wins_pooled_minority": against_pooled.groups["minority"].per_user.value,
        "wins_oracle": study.wins("personal", "oracle").per_user.value,
        "wins_oracle_greedy": study.wins("personal", "oracle", greedy=True).per_user.value,
        "oracle_wins_sft": study.wins("oracle", "sft").per_user.value,
        "permutation_drop": overall.permutation_drop.value,
        "generic_gap": abs(overall.accuracy_generic.value - pooled.accuracy_generic.value),
    }
    if study.newcomers is not None:
        before, after = study.newcomers.accuracy
        wins = study.newcomers.wins.per_user.value
        values |= {"newcomers_before": before, "newcomers_after": after, "newcomers_wins": wins}
    return [Finding(name, _WORDS[name], value, targets.get(name)) for name, value in values.items()]
