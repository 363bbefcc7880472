"""What stands on both sides of a split: pairs, prompts, responses, and the same words under other prompts.

Texts count as the same if they differ in white space and upper or lower case only, which a split by content does not
notice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from prlhf.data.checks.check import Check
from prlhf.types import Comparison, prompt_text

__all__ = ["check_overlap"]

NAME = "both sides of the split"
_ELSEWHERE = 0.01  # share of tests whose two texts may be a pair of training under another prompt
_STOCK = 40  # shorter texts, as yes and no, answer many prompts


class _Numbers(dict[str, int]):
    """A number for each text, the same for texts that differ in white space and case only."""

    def of(self, text: str) -> int:
        return self.setdefault(" ".join(text.split()).casefold(), len(self))

    def parts(self, c: Comparison) -> tuple[int, int, int]:
        return self.of(prompt_text(c.prompt)), self.of(c.chosen), self.of(c.rejected)


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
    numbers = _Numbers()
    rows = list(training)
    parts = [numbers.parts(c) for c in rows]
    prompts = {p for p, _, _ in parts}
    pairs = {(p, frozenset(two)) for p, *two in parts}
    texts = {frozenset(two) for _, *two in parts}
    responses = {(p, r) for p, *two in parts for r in two}
    words = {r for _, *two in parts for r in two}
    users = {c.user for c in rows if c.user is not None}
    counts = dict.fromkeys(("pair", "prompt", "response", "both_responses", "elsewhere", "pair_elsewhere", "users"), 0)
    for c in test:
        p, *two = numbers.parts(c)
        held = [(p, r) in responses for r in two]
        same = (p, frozenset(two)) in pairs
        counts["pair"] += same
        counts["prompt"] += p in prompts
        counts["response"] += any(held)
        counts["both_responses"] += all(held)
        counts["elsewhere"] += any(r in words and not there for r, there in zip(two, held, strict=True))
        own = min(len(c.chosen), len(c.rejected)) >= _STOCK
        counts["pair_elsewhere"] += own and not same and frozenset(two) in texts
    counts["users"] = len({c.user for c in held_out} & users)
    return _told(counts, len(test), by)


def _told(counts: dict[str, int], test: int, kept: str | None) -> Check:
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
