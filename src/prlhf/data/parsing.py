"""What one row holds: its kind, and the prompt and responses of TRL's formats and of rankings."""

from __future__ import annotations

from typing import Any

from prlhf.data import fields
from prlhf.data.fields import BadField, Interner, parse_cell, show
from prlhf.types import Message, Prompt

__all__ = ["TEXT", "kind_of", "parse_cells", "parts_of", "prompt_of", "ranked", "response_of", "scores_of"]

TEXT = "text, or a list of messages"
"""What a prompt or response is expected to be."""


def parse_cells(row: dict[str, Any]) -> dict[str, Any]:
    """A row of CSV, which cannot tell an empty text from nothing: beside `responses` or a `label` two empty ones are no
    pair, and without a label an empty one beside them is no completion."""
    row = {ours: parse_cell(ours, cell) if isinstance(cell, str) else cell for ours, cell in row.items()}
    other = row["responses"] is not None or row["label"] is not None
    if other and row["chosen"] in ("", None) and row["rejected"] in ("", None):
        row["chosen"] = row["rejected"] = None
    if row["completion"] == "" and row["label"] is None and (row["chosen"] or row["rejected"] or row["responses"]):
        row["completion"] = None
    return row


def kind_of(row: dict[str, Any], of_pairs: bool) -> str:
    """Whether the row is a pair, a ranking or a thumb; a pair where nothing tells. It can be one of them only; a label
    beside something else is not looked at, since many files of pairs (`of_pairs`) have a column of that name."""
    pair = row["chosen"] is not None or row["rejected"] is not None
    if pair and row["responses"]:
        raise BadField("responses", show(row["responses"]), "nothing beside `chosen` and `rejected`")
    others = pair or row["responses"] is not None
    if others and row["completion"] is not None:
        beside = "`chosen` and `rejected`" if pair else "`responses`"
        raise BadField("completion", show(row["completion"]), f"nothing beside {beside}")
    thumb = not others and (row["completion"] is not None or (row["label"] is not None and not of_pairs))
    return "thumb" if thumb else "pair" if pair or row["responses"] is None else "ranking"


def parts_of(texts: Interner, row: dict[str, Any]) -> tuple[Prompt, str, str]:
    """Prompt, chosen and rejected of a standard or conversational row, with an explicit or implicit prompt."""
    prompt, chosen, rejected = row["prompt"], row["chosen"], row["rejected"]
    for name in ("chosen", "rejected"):
        if not isinstance(row[name], str | list | tuple):
            raise BadField(name, show(row[name]), TEXT)
    if isinstance(chosen, str) != isinstance(rejected, str):
        raise BadField(
            "rejected",
            show(rejected),
            f"the same form as `chosen` ({'text' if isinstance(chosen, str) else 'messages'})",
        )
    if not isinstance(chosen, str):
        return _conversations(texts, prompt, texts.messages("chosen", chosen), texts.messages("rejected", rejected))
    chosen, rejected = texts.text("chosen", chosen), texts.text("rejected", rejected)
    if prompt is None:
        cut = _shared_words(chosen, rejected)
        if not cut:
            raise BadField("prompt", "nothing", f"{TEXT}; or `chosen` and `rejected` that begin alike")
        return (
            texts.text("prompt", chosen[:cut]),
            texts.text("chosen", chosen[cut:]),
            texts.text("rejected", rejected[cut:]),
        )
    return prompt_of(texts, prompt), chosen, rejected


def _shared_words(a: str, b: str) -> int:
    """Length of the common beginning of two texts, cut before the last white space so that no word is split."""
    cut = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    while cut and not (cut < len(a) and a[cut].isspace() and not a[cut - 1].isspace()):
        cut -= 1
    return cut


def prompt_of(texts: Interner, value: Any) -> Prompt:
    """An explicit prompt: text, or messages that end where an answer is due."""
    if isinstance(value, str):
        return texts.text("prompt", value, empty=False)
    return _due(texts.messages("prompt", value))


def _due(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    if not messages or messages[-1].role not in ("user", "tool"):
        found = (
            f"messages that end with the role {messages[-1].role!r}" if messages else "no message before the responses"
        )
        raise BadField("prompt", found, "a last message from the user")
    return messages


def _conversations(
    texts: Interner, prompt: Any, chosen: tuple[Message, ...], rejected: tuple[Message, ...]
) -> tuple[Prompt, str, str]:
    """The messages that both begin with belong to the prompt; one assistant message must remain on each side."""
    before: tuple[Message, ...] = ()
    shared = 0
    while shared < min(len(chosen), len(rejected)) - 1 and chosen[shared] == rejected[shared]:
        shared += 1
    if isinstance(prompt, str):
        if not shared:  # otherwise the conversations repeat the prompt, often with a system message before it
            before = (Message("user", texts.text("prompt", prompt, empty=False)),)
    elif prompt is not None:
        before = texts.messages("prompt", prompt)
        if chosen[: len(before)] == before and shared >= len(before):
            before = ()
    answers = []
    for field_name, side in (("chosen", chosen), ("rejected", rejected)):
        rest = side[shared:]
        if len(rest) != 1 or rest[0].role != "assistant":
            found = f"{len(rest)} messages ({', '.join(m.role for m in rest)}) after what both sides share"
            raise BadField(field_name, found, "one message, from the assistant")
        answers.append(rest[0].content)
    return _due(before + chosen[:shared]), answers[0], answers[1]


def ranked(texts: Interner, row: dict[str, Any]) -> tuple[Prompt, list[str]]:
    """Prompt and responses of a ranking; a response is text, one assistant message, or a list with one."""
    responses = row["responses"]
    if not isinstance(responses, list) or len(responses) < 2:
        raise BadField("responses", show(responses), "a list of at least two responses")
    return prompt_of(texts, row["prompt"]), [response_of(texts, f"responses[{i}]", r) for i, r in enumerate(responses)]


def response_of(texts: Interner, name: str, value: Any) -> str:
    """A response: text, or one message from the assistant."""
    if isinstance(value, str):
        return texts.text(name, value)
    messages = texts.messages(name, [value] if isinstance(value, dict) else value)
    if len(messages) != 1 or messages[0].role != "assistant":
        raise BadField(
            name, f"messages of {', '.join(m.role for m in messages)}", "text, or one message from the assistant"
        )
    return messages[0].content


def scores_of(value: Any, n: int) -> list[float]:
    """One score a response, higher is better; without scores the order is the ranking."""
    if value is None:
        return [float(-i) for i in range(n)]
    if not isinstance(value, list) or len(value) != n:
        raise BadField("scores", show(value), f"a list of {n} numbers, one for each response")
    return [fields.number(f"scores[{i}]", score) for i, score in enumerate(value)]
