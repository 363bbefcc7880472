"""For every thumb the response of another one, which has nothing to do with its prompt: what `kto` measures z0 on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from prlhf.data.facts import Facts
from prlhf.data.items import Items, Picked, facts_of
from prlhf.types import Comparison, Feedback, Thumb

__all__ = ["Unpaired", "mismatched"]

_PASSES, _TRIES = 8, 16


class Unpaired(Items):
    """Thumbs as they are, and two for each comparison: up for the chosen response, down for the rejected one."""

    def __init__(self, items: Sequence[Feedback]):
        facts = facts_of(items)
        self._items = items if isinstance(items, Items) else Picked(items, np.arange(len(items)), facts)
        copies = np.where(facts["thumb"], 1, 2)
        self._item = np.repeat(np.arange(len(items)), copies)
        self._down = np.r_[False, self._item[1:] == self._item[:-1]]
        self._facts = facts.take(self._item)
        rows, pair = self._facts.rows, np.repeat(copies == 2, copies)
        side = self._down[pair].astype(int)
        for name in ("responses", "texts"):
            rows[name][pair] = rows[name][pair, side][:, None]
        rows["pair"] = rows["responses"][:, 0]
        rows["content"][pair, 1] += (1 + side).astype(np.uint64)  # whatever tells the two from the comparison
        rows["up"][pair], rows["thumb"], rows["tie"], rows["equal"] = ~self._down[pair], True, False, False

    def __len__(self) -> int:
        return len(self._item)

    def at(self, places: np.ndarray) -> list[Feedback]:
        items = self._items.at(self._item[places])
        down = self._down[places].tolist()
        return [item if isinstance(item, Thumb) else _both(item)[d] for item, d in zip(items, down, strict=True)]

    def ids(self, places: np.ndarray) -> list[str]:
        return [item.id for item in self.at(places)]

    @property
    def facts(self) -> Facts:
        return self._facts


def _both(c: Comparison) -> list[Thumb]:
    shared = (c.user, c.user_text, c.weight, c.timestamp, c.group)
    return [
        Thumb(c.prompt, text, up, *shared, id=f"{c.id} ({side})")
        for side, text, up in (("chosen", c.chosen, True), ("rejected", c.rejected, False))
    ]


def mismatched(thumbs: Sequence[Feedback], seed: int = 0) -> list[int]:
    """A permutation that gives each thumb the place of another, by `seed`: where that can be found, of another text and
    to another prompt.

    A random permutation in which bad places are exchanged with random others where that makes no more of them.
    """
    rng = np.random.default_rng(seed)
    partner = rng.permutation(len(thumbs))
    facts = facts_of(thumbs)
    texts, prompts = facts["texts"][:, 0].tolist(), facts["prompt"].tolist()

    def fault(i: int, j: int) -> int:  # the same text is no mismatch at all, the same prompt half of one
        return 2 if texts[i] == texts[j] else int(prompts[i] == prompts[j])

    for _ in range(_PASSES):
        bad = [i for i in range(len(thumbs)) if fault(i, partner[i])]
        for i in bad:
            for other in rng.integers(len(thumbs), size=_TRIES):
                now = fault(i, partner[i]) + fault(other, partner[other])
                if fault(i, partner[other]) + fault(other, partner[i]) <= now:
                    partner[i], partner[other] = partner[other], partner[i]
                if not fault(i, partner[i]):
                    break
    return [int(j) for j in partner]
