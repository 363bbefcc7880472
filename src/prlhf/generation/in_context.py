"""The in-context baseline: a person's past votes, written out before the question.

The format, oldest vote first, blocks with a blank line between:

    Answers that this person has compared:

    Question: <prompt>
    Preferred: <chosen>
    Not preferred: <rejected>

    Answer the next question as this person would prefer it.

and then the question itself. The votes are a text about the user, so `votes_text` also fits `Comparison.user_text`: the
model's template then puts it into the system message, or before the prompt where there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

from prlhf.types import Comparison, Message, Prompt, prompt_text

__all__ = ["HEAD", "TAIL", "in_context_prompt", "past_votes", "votes_text"]

HEAD = "Answers that this person has compared:"
TAIL = "Answer the next question as this person would prefer it."

Count = Callable[[str], int]
_BEFORE_ALL = datetime.min.replace(tzinfo=UTC)


def past_votes(training: Iterable[Comparison], user: str | None, k: int | None = None) -> list[Comparison]:
    """The last `k` votes of a user (None = all), oldest first: by time where votes have one, else as they stand.

    Ties and votes between equal responses say nothing and are left out. Give it the training side only.
    """
    own = [c for c in training if c.user == user and user is not None and not c.tie and c.chosen != c.rejected]
    own.sort(key=lambda c: c.timestamp or _BEFORE_ALL)
    return own if k is None else own[max(len(own) - k, 0) :]


def votes_text(votes: Sequence[Comparison], limit: int, count: Count = lambda text: len(text.split())) -> str | None:
    """The votes as text of at most `limit` tokens, dropping the oldest first; None where none is left.

    Args:
        votes: oldest first.
        count: tokens of a text, as `lambda t: len(tokenizer(t)["input_ids"])`; by default words.
    """
    for first in range(len(votes)):  # texts are short and votes are few: counted anew, since tokens do not add up
        text = "\n\n".join([HEAD, *(_block(v) for v in votes[first:]), TAIL])
        if count(text) <= limit:
            return text
    return None


def _block(vote: Comparison) -> str:
    return f"Question: {prompt_text(vote.prompt)}\nPreferred: {vote.chosen}\nNot preferred: {vote.rejected}"


def in_context_prompt(
    prompt: Prompt, votes: Sequence[Comparison], limit: int, count: Count = lambda text: len(text.split())
) -> Prompt:
    """`prompt` after as many of the latest votes as fit, together with it, into `limit` tokens.

    In a conversation the votes join its system message, or become one. A prompt that fills the limit on its own comes
    back as it is.
    """
    text = votes_text(votes, limit - count(prompt_text(prompt)), count)
    if text is None:
        return prompt
    if isinstance(prompt, str):
        return f"{text}\n\n{prompt}"
    first, rest = prompt[0], prompt[1:]
    if first.role == "system":
        return (Message("system", f"{first.content}\n\n{text}"), *rest)
    return (Message("system", text), *prompt)
