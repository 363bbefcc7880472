"""For every thumb the response of another one, which has nothing to do with its prompt: what `kto` measures z0 on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from prlhf.types import Comparison, Feedback, Thumb

__all__ = ["mismatched", "unpaired"]

_PASSES, _TRIES = 8, 16


def unpaired(items: Sequence[Feedback]) -> list[Thumb]:
    """Thumbs as they are, and two for each comparison: up for the chosen response, down for the rejected one."""
    return [thumb for item in items for thumb in ([item] if isinstance(item, Thumb) else _both(item))]


def _both(c: Comparison) -> list[Thumb]:
    shared = (c.user, c.user_text, c.weight, c.timestamp, c.group)
    return [
        Thumb(c.prompt, text, up, *shared, id=f"{c.id} ({side})")
        for side, text, up in (("chosen", c.chosen, True), ("rejected", c.rejected, False))
    ]


def mismatched(thumbs: Sequence[Thumb], seed: int = 0) -> list[int]:
    """A permutation that gives each thumb the place of another, by `seed`: where that can be found, of another text and
    to another prompt.

    A random permutation in which bad places are exchanged with random others where that makes no more of them.
    """
    rng = np.random.default_rng(seed)
    partner = rng.permutation(len(thumbs))
    texts = [t.response for t in thumbs]
    prompts = [t.prompt for t in thumbs]

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
