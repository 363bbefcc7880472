"""From texts to token ids: how a prompt, a user's text and a response are written for a model.

The ids of a prompt do not depend on where the user tokens stand: a prompt is tokenised once and `cut` says between which
of its tokens they go. With no user tokens the ids are those that TRL gives a DPO prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prlhf.config import ModelConfig
from prlhf.errors import DataError, UnsupportedModelError
from prlhf.types import Comparison, Message, Prompt

__all__ = ["Encoded", "Rendered", "Template"]

_MARK = "\u2063prlhf\u2063"  # stands in a text while a chat template runs, to find a place in what it wrote


@dataclass(frozen=True, slots=True)
class Rendered:
    """A prompt as token ids; user tokens go in before position `cut`."""

    ids: tuple[int, ...]
    cut: int
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Encoded:
    """A comparison as token ids: the prompt (user tokens at `cut`), both responses, and the reference's prompt."""

    prompt: tuple[int, ...]
    cut: int
    chosen: tuple[int, ...]
    rejected: tuple[int, ...]
    reference_prompt: tuple[int, ...]
    truncated: bool = False

    @property
    def length(self) -> int:
        """Tokens of prompt and both responses: what a batch is bucketed by."""
        return len(self.prompt) + len(self.chosen) + len(self.rejected)


class Template:
    """Writes prompts and responses for one tokenizer.

    Args:
        tokenizer: a fast tokenizer of transformers, with or without BOS, with or without chat template.
        config: placement of the user tokens, limits in tokens, whether the chat template is used.

    Raises:
        UnsupportedModelError: the tokenizer has no end-of-sequence token, or is not a fast one.
    """

    def __init__(self, tokenizer: Any, config: ModelConfig):
        if tokenizer.eos_token_id is None:
            raise UnsupportedModelError("the tokenizer has no eos_token; set one, since every response ends with it")
        if not tokenizer.is_fast:
            raise UnsupportedModelError("prlhf needs a fast tokenizer (one that reports character offsets)")
        self.tokenizer = tokenizer
        self.config = config
        first = tokenizer("a")["input_ids"][:1]
        self.bos: tuple[int, ...] = (
            (tokenizer.bos_token_id,)
            if tokenizer.bos_token_id is not None and first == [tokenizer.bos_token_id]
            else ()
        )
        self.chat = config.chat_template == "auto" and getattr(tokenizer, "chat_template", None) is not None
        self._system_role = self.chat and self._has_system_role()

    def _has_system_role(self) -> bool:
        probe = [{"role": "system", "content": _MARK}, {"role": "user", "content": "a"}]
        try:
            return _MARK in self._apply(probe, True)
        except Exception:  # templates raise jinja2 errors of their own making: no system role
            return False

    def _apply(self, messages: Sequence[dict[str, str]], generation: bool) -> str:
        return self.tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=generation)

    def prompt(self, prompt: Prompt, user_text: str | None = None) -> Rendered:
        """Token ids of `prompt` with the user's text before it, ready for user tokens and a response.

        A prompt longer than `max_prompt_tokens` loses tokens at its left; BOS, system message and user text stay.
        """
        text, system_end, content_start = self._text(prompt, user_text)
        encoding = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        ids, offsets = list(encoding["input_ids"]), encoding["offset_mapping"]
        bos = () if self.chat or ids[:1] == list(self.bos) else self.bos
        system_tokens = sum(1 for start, end in offsets if end <= system_end and end > 0) if system_end else 0
        head_tokens = sum(1 for _, end in offsets if end <= content_start) if content_start else 0
        room = max(self.config.max_prompt_tokens - len(bos) - head_tokens, 1)
        truncated = len(ids) - head_tokens > room
        if truncated:
            ids = ids[:head_tokens] + ids[-room:]
        ids = [*bos, *ids] or [self._first_token()]
        starts_with_bos = self.tokenizer.bos_token_id is not None and ids[0] == self.tokenizer.bos_token_id
        after_bos = 1 if starts_with_bos else 0
        place = self.config.user_tokens_at
        if place == "before_response":
            cut = len(ids)
        elif place == "after_system" and system_tokens:
            cut = len(bos) + system_tokens
        else:
            cut = after_bos
        return Rendered(tuple(ids), cut, truncated)

    def _first_token(self) -> int:
        """What an empty prompt consists of, so that there is something to predict a response from."""
        bos = self.tokenizer.bos_token_id
        return self.tokenizer.eos_token_id if bos is None else bos

    def _text(self, prompt: Prompt, user_text: str | None) -> tuple[str, int, int]:
        """The prompt as text, where its system part ends, and where the first thing that may be cut begins."""
        if not self.chat:
            head = f"{user_text}\n\n" if user_text else ""
            if isinstance(prompt, str):
                return head + prompt, len(head), len(head)
            return head + _transcript(prompt), len(head), len(head)
        messages = self._messages(prompt, user_text)
        text = self._apply(messages, True)
        system_end = 0
        if messages[0]["role"] == "system":
            system_end = self._find(messages, 0, at_end=True)
        first = 1 if messages[0]["role"] == "system" else 0
        content_start = self._find(messages, first, at_end=False) if len(messages) > first else system_end
        return text, system_end, content_start

    def _messages(self, prompt: Prompt, user_text: str | None) -> list[dict[str, str]]:
        given = (Message("user", prompt),) if isinstance(prompt, str) else prompt
        messages = [{"role": m.role, "content": m.content} for m in given]
        if not messages:
            raise DataError("a conversation without messages cannot be a prompt")
        if not user_text:
            return messages
        if self._system_role and messages[0]["role"] == "system":
            messages[0]["content"] += f"\n\n{user_text}"
        elif self._system_role:
            messages.insert(0, {"role": "system", "content": user_text})
        else:
            messages[0]["content"] = f"{user_text}\n\n{messages[0]['content']}"
        return messages

    def _find(self, messages: list[dict[str, str]], index: int, *, at_end: bool) -> int:
        """Character position of one end of a message's content in the rendered text."""
        content = messages[index]["content"]
        marked = [dict(m) for m in messages]
        marked[index]["content"] = content + _MARK if at_end else _MARK + content
        return max(self._apply(marked, True).find(_MARK), 0)

    def response(self, prompt: Prompt, response: str, user_text: str | None = None) -> tuple[int, ...]:
        """Token ids of a response to `prompt`, with the end of sequence; longer ones are cut at their right."""
        ids = list(self.tokenizer(self._response_text(prompt, response, user_text), add_special_tokens=False)["input_ids"])
        if not self.chat or self.tokenizer.eos_token_id not in ids:
            ids.append(self.tokenizer.eos_token_id)
        return tuple(ids[: self.config.max_response_tokens])

    def _response_text(self, prompt: Prompt, response: str, user_text: str | None) -> str:
        if not self.chat:
            return response if isinstance(prompt, str) else f" {response}"
        messages = self._messages(prompt, user_text)
        before = self._apply(messages, True)
        whole = self._apply([*messages, {"role": "assistant", "content": response}], False)
        return whole[len(before) :] if whole.startswith(before) else response

    def comparison(self, c: Comparison) -> Encoded:
        """A comparison as token ids; the reference sees the user text unless `reference_user_text` is off."""
        rendered = self.prompt(c.prompt, c.user_text)
        reference = rendered
        if c.user_text and not self.config.reference_user_text:
            reference = self.prompt(c.prompt, None)
        return Encoded(
            prompt=rendered.ids,
            cut=rendered.cut,
            chosen=self.response(c.prompt, c.chosen, c.user_text),
            rejected=self.response(c.prompt, c.rejected, c.user_text),
            reference_prompt=reference.ids,
            truncated=rendered.truncated,
        )


def _transcript(messages: Sequence[Message]) -> str:
    """A conversation for a model without chat template: a plain transcript that ends where the assistant speaks."""
    lines = [m.content if m.role == "system" else f"{m.role.capitalize()}: {m.content}" for m in messages]
    return "\n\n".join([*lines, "Assistant:"])
