"""From texts to token ids: how a prompt, a user's text and a response are written for a model.

The ids of a prompt do not depend on where the user tokens stand: a prompt is tokenised once and `cut` says between
which of its tokens they go. With no user tokens the ids are those that TRL gives a DPO row, but for two things: where
prompt and response would merge into one token we keep the prompt whole, as it is when an answer is generated (TRL takes
the end of the prompt away), and nothing follows the end of sequence (a chat template may write a line break there).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from prlhf.config import ModelConfig
from prlhf.errors import ConfigError, DataError, UnsupportedModelError
from prlhf.types import Feedback, Message, Prompt

__all__ = ["Encoded", "Rendered", "Template"]

logger = logging.getLogger(__name__)

_NO_MESSAGES = "a conversation without messages cannot be a prompt"
_MARK = "\u2063prlhf\u2063"  # stands in a text while a chat template runs, to find a place in what it wrote


@dataclass(frozen=True, slots=True)
class Rendered:
    """A prompt as token ids; user tokens go in before position `cut`."""

    ids: tuple[int, ...]
    cut: int
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class _Written:
    """A prompt as text; where its system part (system message, user text) ends, and where what may be cut begins."""

    text: str
    system_end: int
    head_end: int


@dataclass(frozen=True, slots=True)
class Encoded:
    """A comparison as token ids: the prompt (user tokens at `cut`), both responses, and the reference's prompt.

    Of a thumb `chosen` is the one response, whatever was thought of it, and `rejected` is empty: every response ends
    with a token, so an empty one is none. Its log-probability is 0, and no work is done for it.
    `truncated`: whether the prompt was cut at its left; `responses_cut`: how many responses were cut at their right.
    """

    prompt: tuple[int, ...]
    cut: int
    chosen: tuple[int, ...]
    rejected: tuple[int, ...]
    reference_prompt: tuple[int, ...]
    truncated: bool = False
    responses_cut: int = 0

    @property
    def responses(self) -> tuple[tuple[int, ...], ...]:
        """The responses that there are."""
        return (self.chosen, self.rejected) if self.rejected else (self.chosen,)

    @property
    def path(self) -> int:
        """Tokens of the prompt with the longer response: what one row of the plain layout holds."""
        return len(self.prompt) + max(len(self.chosen), len(self.rejected))

    @property
    def length(self) -> int:
        """Tokens of prompt and both responses: what a batch is bucketed by."""
        return len(self.prompt) + len(self.chosen) + len(self.rejected)


class Template:
    """Writes prompts and responses for one tokenizer.

    Args:
        tokenizer: a fast tokenizer of transformers, with or without BOS, with or without chat template.
        config: placement of the user tokens, limits in tokens, whether the chat template is used.
        context: positions that the model has, where that is limited: prompt, user tokens and response share them.
        user_tokens: how many of them the user tokens take.
        vocab_rows: rows of the model's input embeddings; ids from there on are user tokens, so no text may have them.

    Raises:
        UnsupportedModelError: the tokenizer has no end-of-sequence token, is not a fast one, or its end, begin, padding
            or unknown token has no row.
        ConfigError: the user tokens leave no room for a prompt and a response.
    """

    def __init__(
        self,
        tokenizer: Any,
        config: ModelConfig,
        context: int | None = None,
        user_tokens: int = 0,
        vocab_rows: int | None = None,
    ):
        if tokenizer.eos_token_id is None:
            raise UnsupportedModelError("the tokenizer has no eos_token; set one, since every response ends with it")
        if not tokenizer.is_fast:
            raise UnsupportedModelError("prlhf needs a fast tokenizer (one that reports character offsets)")
        for name in ("bos_token", "eos_token", "pad_token", "unk_token"):
            number = getattr(tokenizer, f"{name}_id")
            if vocab_rows is not None and number is not None and number >= vocab_rows:
                raise UnsupportedModelError(f"the tokenizer's {name} {_no_row(tokenizer, number, vocab_rows)}")
        self.tokenizer = tokenizer
        self.config = config
        self.vocab_rows = vocab_rows
        first = tokenizer("a")["input_ids"][:1]
        self.bos: tuple[int, ...] = (
            (tokenizer.bos_token_id,)
            if tokenizer.bos_token_id is not None and first == [tokenizer.bos_token_id]
            else ()
        )
        self.context = context
        self._space = None if context is None else context - user_tokens
        if self._space is not None and self._space < len(self.bos) + 2:
            raise ConfigError(
                f"user_model.tokens: {user_tokens} user tokens leave no room for a prompt and a response in the "
                f"model's context of {context}; lower it, or take a model with a longer context"
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

    def warn_cuts(self, encoded: Sequence[Encoded]) -> None:
        """Log how many prompts and responses of `encoded` were cut, and by which limit."""
        n, limits = len(encoded), self.config
        prompts, responses = sum(e.truncated for e in encoded), sum(e.responses_cut for e in encoded)
        end = "" if self.context is None else f", context of the model {self.context}"
        if prompts:
            words = "%d of %d prompts were cut at their left: max_prompt_tokens=%d%s"
            logger.warning(words, prompts, n, limits.max_prompt_tokens, end)
        if responses:
            words = "%d of %d responses were cut at their right: max_response_tokens=%d%s"
            every = sum(len(e.responses) for e in encoded)
            logger.warning(words, responses, every, limits.max_response_tokens, end)

    @property
    def max_response(self) -> int:
        """Tokens of the longest response: `max_response_tokens`, or what the context has beside one of prompt."""
        limit = self.config.max_response_tokens
        return limit if self._space is None else min(limit, self._space - len(self.bos) - 1)

    def answer_room(self, new: int) -> int:
        """Positions that a prompt leaves for an answer of at most `new` tokens: those, or a quarter of the context."""
        return new if self._space is None else min(new, max(self._space // 4, 1))

    def prompt(
        self, prompt: Prompt, user_text: str | None = None, response_tokens: int = 0, keep_head: bool = False
    ) -> Rendered:
        """Token ids of `prompt` with the user's text before it, ready for user tokens and a response.

        A prompt longer than `max_prompt_tokens` loses tokens at its left; BOS, system message and user text stay, and
        at least one token of the rest, even where these alone are too long. With `response_tokens` it also leaves so
        many positions of the context free, and there system message and user text are cut at their left too, unless
        `keep_head`.
        """
        written = self._write(prompt, user_text)
        ids, offsets = self._tokenise(written.text)
        head, system = _tokens_before(offsets, written.head_end), _tokens_before(offsets, written.system_end)
        bos = () if self.chat or ids[: len(self.bos)] == self.bos else self.bos
        free = None  # positions of the context that prompt and response share, less what the response needs
        if self._space is not None and response_tokens:
            free = self._space - response_tokens - len(bos)
        limit = self.config.max_prompt_tokens - len(bos)
        room = max((limit if free is None else min(limit, free)) - head, 1)
        truncated = len(ids) - head > room
        if truncated:
            ids = ids[:head] + ids[-room:]
        if free is not None and len(ids) > free and not keep_head:
            before = len(ids)
            first = ids[: len(self.bos)] if not bos and ids[: len(self.bos)] == self.bos else ()
            ids = (*first, *ids[len(ids) - free + len(first) :])
            system, truncated = max(system - (before - free), 0), True
        ids = (*bos, *ids) or (self._first_token(),)
        return Rendered(ids, self._cut(ids, len(bos) + system if system else 0), truncated)

    def _cut(self, ids: tuple[int, ...], system_end: int) -> int:
        """Where the user tokens go; `system_end` is 0 where there is no system part."""
        place = self.config.user_tokens_at
        if place == "before_response":
            return len(ids)
        if place == "after_system" and system_end:
            return system_end
        bos = self.tokenizer.bos_token_id
        return 1 if bos is not None and ids[0] == bos else 0

    def _tokenise(self, text: str) -> tuple[tuple[int, ...], list[tuple[int, int]]]:
        """Ids, and the characters `[start, end)` that each comes from.

        Some models come with tokens that they have no embeddings for (of images): only a text with one is refused.
        """
        encoding = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        ids = tuple(encoding["input_ids"])
        if self.vocab_rows is not None and max(ids, default=0) >= self.vocab_rows:
            raise DataError(f"a text has a token that {_no_row(self.tokenizer, max(ids), self.vocab_rows)}")
        return ids, encoding["offset_mapping"]

    def _first_token(self) -> int:
        """What an empty prompt consists of, so that there is something to predict a response from."""
        bos = self.tokenizer.bos_token_id
        return self.tokenizer.eos_token_id if bos is None else bos

    def _write(self, prompt: Prompt, user_text: str | None) -> _Written:
        """The prompt as text, as the chat template or, without one, our plain layout has it."""
        if self.chat:
            return self._write_chat(prompt, user_text)
        head = f"{user_text}\n\n" if user_text else ""
        if isinstance(prompt, str):
            return _Written(head + prompt, len(head), len(head))
        if not prompt:
            raise DataError(_NO_MESSAGES)
        if prompt[0].role == "system":
            head, prompt = f"{prompt[0].content}\n\n{head}", prompt[1:]
        return _Written(head + _transcript(prompt), len(head), len(head))

    def _write_chat(self, prompt: Prompt, user_text: str | None) -> _Written:
        messages, prefix = self._messages(prompt, user_text)
        text = self._apply(messages, True)
        system = messages[0]["role"] == "system"
        system_end = self._system_end(messages, text) if system else 0
        if len(messages) == system:
            return _Written(text, system_end, system_end)
        head_end = self._find(messages, int(system), len(prefix))
        return _Written(text, system_end or (head_end if prefix else 0), max(head_end, system_end))

    def _messages(self, prompt: Prompt, user_text: str | None) -> tuple[list[dict[str, str]], str]:
        """The conversation with the user's text in its system message; without a system role both stand at the head of
        the first message, and that head is the second thing returned."""
        given = (Message("user", prompt),) if isinstance(prompt, str) else prompt
        messages = [{"role": m.role, "content": m.content} for m in given]
        if not messages:
            raise DataError(_NO_MESSAGES)
        system = [messages.pop(0)["content"]] if messages[0]["role"] == "system" else []
        head = "\n\n".join([*system, *([user_text] if user_text else [])])
        if not head:
            return messages, ""
        if self._system_role:
            return [{"role": "system", "content": head}, *messages], ""
        if not messages:
            return [{"role": "user", "content": head}], ""
        messages[0]["content"] = f"{head}\n\n{messages[0]['content']}"
        return messages, f"{head}\n\n"

    def _system_end(self, messages: list[dict[str, str]], text: str) -> int:
        """Where the system message ends, with what closes its turn; or at least its content."""
        try:
            alone = self._apply(messages[:1], False)
        except Exception:  # a template that wants a user message too
            alone = ""
        if alone and text.startswith(alone):
            return len(alone)
        return self._find(messages, 0, len(messages[0]["content"].rstrip()))

    def _find(self, messages: list[dict[str, str]], index: int, offset: int) -> int:
        """Place in the rendered text of the character `offset` of a message's content."""
        content = messages[index]["content"]
        marked = [dict(m) for m in messages]
        marked[index]["content"] = content[:offset] + _MARK + content[offset:]
        return max(self._apply(marked, True).find(_MARK), 0)

    def response(self, prompt: Prompt, response: str, user_text: str | None = None) -> tuple[int, ...]:
        """Token ids of a response to `prompt`, with the end of sequence; longer ones are cut at their right."""
        return self._response(prompt, response, user_text)[: self.max_response]

    def _response(self, prompt: Prompt, response: str, user_text: str | None) -> tuple[int, ...]:
        before, after = self._response_text(prompt, response, user_text)
        prefix, _ = self._tokenise(before)
        whole, _ = self._tokenise(before + after)
        # tokens of the response as they follow this prompt, unless they merge with it: then it would not be the prompt
        # that an answer is generated from
        ids = whole[len(prefix) :] if whole[: len(prefix)] == prefix else self._tokenise(after)[0]
        eos = self.tokenizer.eos_token_id
        if self.chat and eos in ids:  # a template may write more after it
            return ids[: len(ids) - ids[::-1].index(eos)]
        return ids if ids[-1:] == (eos,) else (*ids, eos)

    def _response_text(self, prompt: Prompt, response: str, user_text: str | None) -> tuple[str, str]:
        """What stands before the response, and the response as it is written after it."""
        before = self._write(prompt, user_text).text
        if not self.chat:
            return before, response if isinstance(prompt, str) else f" {response}"
        messages, _ = self._messages(prompt, user_text)
        whole = self._apply([*messages, {"role": "assistant", "content": response}], False)
        return before, whole[len(before) :] if whole.startswith(before) else response

    def comparison(self, c: Feedback) -> Encoded:
        """A comparison or thumb as token ids; the reference sees the user text unless `reference_user_text` is off."""
        responses = [self._response(c.prompt, text, c.user_text) for text in c.responses]
        limit = self.max_response
        longest = min(max(map(len, responses)), limit)
        rendered = self.prompt(c.prompt, c.user_text, longest)
        reference = rendered
        if c.user_text and not self.config.reference_user_text:
            reference = self.prompt(c.prompt, None, longest)
        chosen, *rejected = (ids[:limit] for ids in responses)
        return Encoded(
            prompt=rendered.ids,
            cut=rendered.cut,
            chosen=chosen,
            rejected=rejected[0] if rejected else (),
            reference_prompt=reference.ids,
            truncated=rendered.truncated,
            responses_cut=sum(len(ids) > limit for ids in responses),
        )

    def answered(self, e: Encoded, response: tuple[int, ...]) -> Encoded:
        """The prompt of `e` with this response alone, as much of it as the context holds after that prompt."""
        held = max(len(e.prompt), len(e.reference_prompt))
        room = None if self._space is None else max(self._space - held, 1)
        return replace(e, chosen=response[:room], rejected=())


def _no_row(tokenizer: Any, number: int, rows: int) -> str:
    return (
        f"is {tokenizer.convert_ids_to_tokens(number)!r} with the id {number}, and the model has embeddings for {rows} "
        "tokens only; resize the embeddings of the base (resize_token_embeddings) to the tokenizer and save it again"
    )


def _tokens_before(offsets: Sequence[tuple[int, int]], position: int) -> int:
    """How many tokens come before the first one that reaches beyond a character position."""
    if not position:
        return 0
    return next((i for i, (_, end) in enumerate(offsets) if end > position), len(offsets))


def _transcript(messages: Sequence[Message]) -> str:
    """A conversation for a model without chat template: a plain transcript that ends where the assistant speaks."""
    lines = [m.content if m.role == "system" else f"{m.role.capitalize()}: {m.content}" for m in messages]
    return "\n\n".join([*lines, "Assistant:"])
