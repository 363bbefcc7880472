"""What stands on both sides of a split: pairs, prompts, responses, and the same words under other prompts.

Texts count as the same if they differ in white space and upper or lower case only, which a split by content does not
notice. The pair of a thumb is its response, and what was judged in another form counts too: a pair is known where both
of its responses were judged alone, a response where it was judged in a pair.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from prlhf.data.checks.check import Check
from prlhf.data.checks.texts import Texts
from prlhf.data.items import parted
from prlhf.types import Feedback, Thumb

__all__ = ["check_overlap"]

NAME = "both sides of the split"
_ELSEWHERE = 0.01  # share of tests whose two texts may be a pair of training under another prompt
_ALONE = 0.1  # share of the different responses of test thumbs that may be in training under another prompt
_STOCK = 40  # shorter texts, as yes and no, answer many prompts
_COUNTS = ("pair", "own_pair", "other_form", "prompt", "response", "both_responses", "elsewhere", "pair_elsewhere")

Judges = defaultdict[Any, set[str | None]]


class _Training:
    """What training has: who judged which pair, which response in any form, and which response alone."""

    def __init__(self, items: Iterable[Feedback]) -> None:
        self.number = Texts()
        self.prompts: set[int] = set()
        self.pairs: Judges = defaultdict(set)
        self.responses: Judges = defaultdict(set)
        self.alone: Judges = defaultdict(set)
        self.couples: set[frozenset[int]] = set()
        self.places: defaultdict[int, set[int]] = defaultdict(set)  # text -> prompts under which it is judged alone
        self.texts: set[int] = set()
        for item in items:
            self._add(item)

    def _add(self, item: Feedback) -> None:
        prompt, texts = self.number.of(item)
        self.prompts.add(prompt)
        self.texts.update(texts)
        for text in texts:
            self.responses[prompt, text].add(item.user)
        if isinstance(item, Thumb):
            self.alone[prompt, texts[0]].add(item.user)
            self.places[texts[0]].add(prompt)
        else:
            self.pairs[prompt, frozenset(texts)].add(item.user)
            self.couples.add(frozenset(texts))

    def shares(self, item: Feedback) -> list[str]:
        """Which of `_COUNTS` a test adds one to."""
        prompt, texts = self.number.of(item)
        held = [(prompt, text) in self.responses for text in texts]
        direct, judges = self._known(prompt, texts, isinstance(item, Thumb))
        known = bool(judges) or all((prompt, text) in self.alone for text in texts)
        found = {
            "pair": known,
            "own_pair": item.user is not None and item.user in judges,
            "other_form": known and not direct,
            "prompt": prompt in self.prompts,
            "response": any(held),
            "both_responses": len(held) == 2 and all(held),
            "elsewhere": any(text in self.texts and not there for text, there in zip(texts, held, strict=True)),
            "pair_elsewhere": len(texts) == 2 and not known and _long(item) and self._couple(texts),
        }
        return [name for name, there in found.items() if there]

    def _known(self, prompt: int, texts: Sequence[int], thumb: bool) -> tuple[bool, set[str | None]]:
        """Whether it was judged in the same form, and who judged it in whatever form."""
        if thumb:
            key = prompt, texts[0]
            return key in self.alone, self.responses.get(key, set())
        pair = prompt, frozenset(texts)
        both = set.intersection(*(self.alone.get((prompt, text), set()) for text in texts))
        return pair in self.pairs, self.pairs.get(pair, set()) | both

    def _couple(self, texts: Sequence[int]) -> bool:
        """Whether two texts are judged together, or both alone, under any one prompt."""
        return frozenset(texts) in self.couples or bool(
            set.intersection(*(self.places.get(text, set()) for text in texts))
        )

    def elsewhere(self, thumbs: Iterable[Thumb]) -> float:
        """Of the different long responses of `thumbs` the share that training has under other prompts only."""
        parts = [self.number.of(t) for t in thumbs if _long(t)]
        here = {text for prompt, (text,) in parts if (prompt, text) in self.responses}
        every = {text for _, (text,) in parts}
        return len((every & self.texts) - here) / len(every) if every else 0.0


def _long(item: Feedback) -> bool:
    return min(map(len, item.responses)) >= _STOCK


def check_overlap(
    training: Iterable[Feedback],
    test: Sequence[Feedback],
    by: str | None = "pair",
    held_out: Iterable[Feedback] = (),
) -> Check:
    """How many of the `test` comparisons and thumbs have something in `training`.

    A finding: the pair, prompt or response (`by`; None = nothing is promised) of a test is in training; the same user
    judged the same there; a user of `held_out` was trained on; or texts of at least 40 characters return under another
    prompt: both of more than 1 % of the test comparisons, or more than 10 % of the different responses of test thumbs.
    Shared prompts and responses that the split allows are told as numbers.
    """
    if not test:
        return Check.missing(NAME, "there is no test side")
    rows = list(training)
    seen = _Training(rows)
    counts = Counter(dict.fromkeys(_COUNTS, 0))
    for item in test:
        counts.update(seen.shares(item))
    counts["users"] = len({c.user for c in held_out} & {c.user for c in rows if c.user is not None})
    comparisons, thumbs = parted(test)
    broken = _broken(counts, by, bool(comparisons))
    if counts["pair_elsewhere"] > _ELSEWHERE * len(comparisons):
        broken.append("tests repeat pairs of training under another prompt")
    if (repeated := seen.elsewhere(thumbs)) > _ALONE:
        broken.append(f"{repeated:.1%} of the responses that are judged alone are in training under another prompt")
    text = _sentence(counts, test)
    if broken:
        text = f"{'; '.join(broken).capitalize()}. {text}"
    numbers: dict[str, Any] = {"tests": len(test), "kept_apart": by, **counts, "alone_elsewhere": repeated}
    return Check.of(NAME, bool(broken), text, numbers)


def _broken(counts: Mapping[str, int], kept: str | None, pairs: bool) -> list[str]:
    """What was to be kept apart and is not."""
    found = []
    if kept is not None and counts[kept]:
        what = kept if pairs or kept != "pair" else "response"
        found.append(f"{counts[kept]:,} tests share their {what} with training, which should be kept apart")
    if counts["own_pair"]:
        found.append(f"in {counts['own_pair']:,} tests the same user has judged the same in training")
    if kept == "pair" and counts["other_form"]:
        found.append(
            f"{counts['other_form']:,} tests are known from thumbs on responses that are compared as well: keep them "
            "apart with data.split.by=response"
        )
    if counts["users"]:
        found.append(f"{counts['users']:,} held-out users were trained on")
    return found


def _sentence(counts: Mapping[str, int], test: Sequence[Feedback]) -> str:
    comparisons, thumbs = parted(test)
    told = {
        "the pair (of a thumb: the response)" if thumbs else "the pair": counts["pair"],
        "the prompt": counts["prompt"],
        "a response to the same prompt": counts["response"],
        "the same words under another prompt only": counts["elsewhere"],
        "the same pair of texts under another prompt": counts["pair_elsewhere"],
    }
    if not comparisons:
        told = {name: count for name, count in told.items() if "pair" not in name}
    found = ", ".join(f"{what} {_share(count, len(test))}" for what, count in told.items())
    return f"Of {len(test):,} test {_kinds(test)} training has: {found}."


def _kinds(items: Sequence[Feedback]) -> str:
    """What they are, in words."""
    comparisons, thumbs = parted(items)
    held = {"comparisons": comparisons or not thumbs, "thumbs": thumbs}
    return " and ".join(name for name, there in held.items() if there)


def _share(count: int, of: int) -> str:
    return f"{count:,} ({count / of:.1%})" if count else "0"
