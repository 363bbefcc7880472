"""What a personalised model has to beat, each as a table of scores on the same comparisons.

The prompted baselines ask the reference model (no LoRA, no user tokens) with something about the user in its prompt.
`relative` takes the same model's preference without it away, as an implicit reward does: without that, a language model
mostly prefers what is short and likely. Their margins are log-probabilities, so their log-loss belongs to beta = 1.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from prlhf.data.planted import World, utility
from prlhf.data.rankings import ranking_of
from prlhf.evaluation.length import length_scores
from prlhf.evaluation.scores import Scores
from prlhf.generation.in_context import past_votes, votes_text
from prlhf.lm import PersonalizedLM, choose_layout, reference_logprobs
from prlhf.types import Comparison

__all__ = [
    "BASELINES",
    "MEANINGS",
    "Baseline",
    "in_context",
    "in_context_flipped",
    "length_only",
    "planted_oracle",
    "reference_margins",
    "user_text",
]

Floats = npt.NDArray[np.float64]
Seen = npt.NDArray[np.bool_]
Progress = Callable[[Iterable[int], str], Iterable[int]]

BASELINES = ("pooled", "length", "user_text", "in_context", "oracle")
"""What can be asked for; `in_context` gives two tables and `oracle` a second one, the truth itself."""

MEANINGS = {
    "pooled": "one model for everybody, trained by DPO on the same votes",
    "length": "nothing but which response is longer, and how often this user chose the longer one in training",
    "user_text": "the reference model with the user's text in its prompt, relative to without",
    "in_context_relative": "the reference model with the user's past votes in its prompt, relative to without",
    "in_context_raw": "the reference model with the user's past votes in its prompt, plain log-probabilities",
    "oracle": "the reference model told the user's true profile in its prompt, relative to without",
    "truth": "the user's true utilities: the most that any model can reach",
}
"""Every baseline in one sentence."""


@dataclass(frozen=True)
class Baseline:
    """A baseline's scores, or why it has none. `scores` may be on fewer comparisons than were asked for."""

    name: str
    scores: Scores | None = None
    beta: float = 1.0
    missing: str = ""

    @property
    def meaning(self) -> str:
        """One sentence."""
        return MEANINGS[self.name]


def reference_margins(
    lm: PersonalizedLM,
    comparisons: Sequence[Comparison],
    texts: Sequence[str | None],
    *,
    cache: Path | None = None,
    progress: Progress = lambda batches, _: batches,
) -> Floats:
    """`log p(chosen) - log p(rejected)` `[n]` under the reference with `texts[i]` where a user's text stands.

    The text is shown whatever `model.reference_user_text` says.
    """
    told = (replace(c, user_text=t) for c, t in zip(comparisons, texts, strict=True))
    encoded = list(lm.template.comparisons(told))
    encoded = [replace(e, reference_prompt=e.prompt) for e in encoded]
    if not encoded:
        return np.zeros(0)
    layout = choose_layout(lm, encoded)
    logps = reference_logprobs(lm, encoded, layout=layout, cache=cache, progress=progress)
    return logps[:, 0] - logps[:, 1]


def _prompted(comparisons: Sequence[Comparison], seen: Seen, h: Floats, without: Floats) -> Scores:
    """`h` answers everybody; the generic column of a seen user's comparison is what the model says `without`."""
    return Scores.of(comparisons, seen=seen, h_specific=h, h_generic=np.where(seen, without, h))


def length_only(train: Sequence[Comparison], comparisons: Sequence[Comparison], seen: Seen) -> Baseline:
    """Each user's share of longer choices in `train`; see `LengthBaseline`."""
    scores = length_scores(train, comparisons)
    # The rows of the run decide who is seen; who never chose between unequal lengths has the pooled direction anyway.
    return Baseline("length", replace(scores, seen=seen))


def user_text(
    lm: PersonalizedLM,
    comparisons: Sequence[Comparison],
    seen: Seen,
    *,
    cache: Path | None = None,
    progress: Progress = lambda batches, _: batches,
) -> Baseline:
    """The reference with the user's text minus the reference without, on the comparisons that have one."""
    rows = [i for i, c in enumerate(comparisons) if c.user_text]
    if not rows:
        return Baseline("user_text", missing="no comparison has a user text")
    some = [comparisons[i] for i in rows]
    told = reference_margins(lm, some, [c.user_text for c in some], cache=cache, progress=progress)
    plain = reference_margins(lm, some, [None] * len(some), cache=cache, progress=progress)
    return Baseline("user_text", _prompted(some, seen[rows], told - plain, np.zeros(len(some))))


def in_context(
    lm: PersonalizedLM,
    train: Sequence[Comparison],
    comparisons: Sequence[Comparison],
    seen: Seen,
    *,
    votes: int = 8,
    cache: Path | None = None,
    progress: Progress = lambda batches, _: batches,
) -> list[Baseline]:
    """The reference with the user's last votes of `train` in its prompt: relative to without, and raw.

    A vote on the very pair that is asked about is never told, nor one of a ranking that has a response of it: such
    votes imply the answer (x before y, y before z: x before z). At most `votes` of the others, as many as fit into
    `model.max_prompt_tokens` and the model's context; for somebody without votes in `train` the prompt stays as it is.
    A user's text stays in the prompt in both.
    """
    texts = _told(lm, train, comparisons, votes)
    if texts == [c.user_text for c in comparisons]:
        why = "no user of these comparisons has votes in training that fit into the prompt"
        return [Baseline(name, missing=why) for name in ("in_context_relative", "in_context_raw")]
    told = reference_margins(lm, comparisons, texts, cache=cache, progress=progress)
    plain = reference_margins(lm, comparisons, [c.user_text for c in comparisons], cache=cache, progress=progress)
    return [
        Baseline("in_context_relative", _prompted(comparisons, seen, told - plain, np.zeros(len(told)))),
        Baseline("in_context_raw", _prompted(comparisons, seen, told, plain)),
    ]


def in_context_flipped(
    lm: PersonalizedLM,
    train: Sequence[Comparison],
    comparisons: Sequence[Comparison],
    seen: Seen,
    plain: Floats,
    *,
    votes: int = 8,
    cache: Path | None = None,
    progress: Progress = lambda batches, _: batches,
) -> Scores:
    """`in_context_relative` where the prompt has the rejected response of each vote as the preferred one; `plain` `[n]`
    is the margins without votes.

    A baseline that reads the votes does worse with them (`prlhf.evaluation.checks.check_context`).
    """
    flipped = [replace(vote, chosen=vote.rejected, rejected=vote.chosen) for vote in train]
    texts = _told(lm, flipped, comparisons, votes)
    told = reference_margins(lm, comparisons, texts, cache=cache, progress=progress)
    return _prompted(comparisons, seen, told - plain, np.zeros(len(told)))


def _told(
    lm: PersonalizedLM, train: Sequence[Comparison], comparisons: Sequence[Comparison], votes: int
) -> list[str | None]:
    """What stands before each question: the user's text, and the last votes of `train` that do not tell the answer."""
    history: defaultdict[str, list[Comparison]] = defaultdict(list)
    for vote in train:
        if vote.user is not None:
            history[vote.user].append(vote)
    past = {user: past_votes(own, user) for user, own in history.items()}
    return [_context(lm, _before(past.get(c.user or "", []), c, votes), c) for c in comparisons]


def _before(past: Sequence[Comparison], c: Comparison, count: int) -> list[Comparison]:
    """The last `count` votes that do not tell the one on `c`, oldest first."""
    return list(islice((vote for vote in reversed(past) if not _tells(vote, c)), count))[::-1]


def _tells(vote: Comparison, c: Comparison) -> bool:
    """Whether `vote` is on the pair of `c`, or comes from a ranking and has one of its two responses."""
    if vote.prompt != c.prompt:
        return False
    shared = {vote.chosen, vote.rejected} & {c.chosen, c.rejected}
    return len(shared) == 2 or (bool(shared) and ranking_of(vote) is not None)


def _context(lm: PersonalizedLM, votes: Sequence[Comparison], c: Comparison) -> str | None:
    """The user's text and as many of the last `votes` as leave room for prompt and responses."""

    def joined(text: str) -> str:
        return "\n\n".join(part for part in (c.user_text, text) if part)

    text = votes_text(votes, _budget(lm, c), lambda text: len(lm.template.prompt("", joined(text)).ids))
    return c.user_text if text is None else joined(text)


def _budget(lm: PersonalizedLM, c: Comparison) -> int:
    """Tokens that may stand before the prompt of `c`, so that neither it nor a response is cut."""
    encoded = lm.template.comparison(replace(c, user_text=None))
    room = lm.config.max_prompt_tokens
    if lm.template.context is not None:
        room = min(room, lm.template.context - max(len(encoded.chosen), len(encoded.rejected)))
    return room - len(encoded.prompt)


def planted_oracle(
    lm: PersonalizedLM,
    world: World,
    comparisons: Sequence[Comparison],
    seen: Seen,
    *,
    cache: Path | None = None,
    progress: Progress = lambda batches, _: batches,
) -> list[Baseline]:
    """The reference told the profile, relative to without; and the true utilities, which bound every model."""
    users = {user.id: user for user in world.users}
    rows = [i for i, c in enumerate(comparisons) if c.user in users]
    if not rows:
        why = "the planted world does not know these users"
        return [Baseline(name, missing=why) for name in ("oracle", "truth")]
    some = [comparisons[i] for i in rows]
    people = [users[str(c.user)] for c in some]
    told = reference_margins(lm, some, [user.text for user in people], cache=cache, progress=progress)
    plain = reference_margins(lm, some, [None] * len(some), cache=cache, progress=progress)
    gain = [utility(user, c.chosen) - utility(user, c.rejected) for user, c in zip(people, some, strict=True)]
    zero = np.zeros(len(some))
    return [
        Baseline("oracle", _prompted(some, seen[rows], told - plain, zero)),
        Baseline("truth", _prompted(some, seen[rows], np.array(gain), zero)),
    ]
