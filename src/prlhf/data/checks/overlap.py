"""What stands on both sides of a split: pairs, prompts, responses, and the same words under other prompts.

Texts count as the same if they differ in white space and upper or lower case only, which a split by content does not
notice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from prlhf.data.checks.check import Check
from prlhf.types import Comparison, prompt_text

__all__ = ["check_overlap"]

NAME = "both sides of the split"
_ELSEWHERE = 0.01  # share of tests whose two texts may be a pair of training under another prompt
_STOCK = 40  # shorter texts, as yes and no, answer many prompts
_COUNTS = ("pair", "prompt", "response", "both_responses", "elsewhere", "pair_elsewhere", "users")


class _Training:
    """What training has, with a number for each text: the same where they differ in white space and case only."""

    def __init__(self, comparisons: Iterable[Comparison]) -> None:
        self.numbers: dict[str, int] = {}
        parts = [self._parts(c) for c in comparisons]
        self.prompts = {prompt for prompt, _ in parts}
        self.pairs = {(prompt, frozenset(two)) for prompt, two in parts}
        self.responses = {(prompt, text) for prompt, two in parts for text in two}
        self.texts = {text for _, two in parts for text in two}
        self.couples = {frozenset(two) for _, two in parts}

    def _number(self, text: str) -> int:
        return self.numbers.setdefault(" ".join(text.split()).casefold(), len(self.numbers))

    def _parts(self, c: Comparison) -> tuple[int, tuple[int, int]]:
        return self._number(prompt_text(c.prompt)), (self._number(c.chosen), self._number(c.rejected))

    def shares(self, c: Comparison) -> list[str]:
        """Which of `_COUNTS` a test comparison adds one to."""
        prompt, two = self._parts(c)
        held = [(prompt, text) in self.responses for text in two]
        same = (prompt, frozenset(two)) in self.pairs
        own = min(len(c.chosen), len(c.rejected)) >= _STOCK
        found = {
            "pair": same,
            "prompt": prompt in self.prompts,
            "response": any(held),
            "both_responses": all(held),
            "elsewhere": any(text in self.texts and not there for text, there in zip(two, held, strict=True)),
            "pair_elsewhere": own and not same and frozenset(two) in self.couples,
        }
        return [name for name, there in found.items() if there]


def check_overlap(
    training: Iterable[Comparison],
    test: Sequence[Comparison],
    by: str | None = "pair",
    held_out: Iterable[Comparison] = (),
) -> Check:
    """How many of the `test` comparisons have something in `training`.

    A finding: the pair, prompt or response (`by`; None = nothing is promised) of a test is in training; a user of
    `held_out` was trained on; or more than 1 % of the test comparisons are a pair of training under another prompt
    (texts of at least 40 characters). Shared prompts and responses that the split allows are told as numbers.
    """
    if not test:
        return Check.missing(NAME, "there is no test side")
    rows = list(training)
    seen = _Training(rows)
    counts = Counter(dict.fromkeys(_COUNTS, 0))
    for c in test:
        counts.update(seen.shares(c))
    counts["users"] = len({c.user for c in held_out} & {c.user for c in rows if c.user is not None})
    return _told(counts, len(test), by)


def _told(counts: Mapping[str, int], test: int, kept: str | None) -> Check:
    broken = []
    if kept is not None and counts[kept]:
        broken.append(f"{counts[kept]:,} tests share their {kept} with training, which should be kept apart")
    if counts["users"]:
        broken.append(f"{counts['users']:,} held-out users were trained on")
    if counts["pair_elsewhere"] > _ELSEWHERE * test:
        broken.append("tests repeat pairs of training under another prompt")
    told = {
        "the pair": counts["pair"],
        "the prompt": counts["prompt"],
        "a response to the same prompt": counts["response"],
        "the same words under another prompt only": counts["elsewhere"],
        "the same pair of texts under another prompt": counts["pair_elsewhere"],
    }
    found = ", ".join(f"{what} {_share(count, test)}" for what, count in told.items())
    text = f"Of {test:,} test comparisons training has: {found}."
    if broken:
        text = f"{'; '.join(broken).capitalize()}. {text}"
    numbers: dict[str, Any] = {"tests": test, "kept_apart": kept, **counts}
    return Check.of(NAME, bool(broken), text, numbers)


def _share(count: int, of: int) -> str:
    return f"{count:,} ({count / of:.1%})" if count else "0"
