"""From texts to token ids: how a prompt, a user's text and a response are written for a model.

The ids of a prompt do not depend on where the user tokens stand: a prompt is tokenised once and `cut` says between
which of its tokens they go. With no user tokens the ids are those that TRL gives a DPO row, but for two things: where
prompt and response would merge into one token we keep the prompt whole, as it is when an answer is generated (TRL takes
the end of the prompt away), and nothing follows the end of sequence (a chat template may write a line break there).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from itertools import islice
from typing import Any

from tokenizers import Encoding

from prlhf.config import ModelConfig
from prlhf.errors import ConfigError, DataError, UnsupportedModelError
from prlhf.types import Feedback, Message, Prompt, Thumb

__all__ = ["Encoded", "Rendered", "Template"]

_FORMAT = 2
"""To be raised when the same texts become other tokens, or these are kept in another way."""
_AT_ONCE = 256
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
class _Draft:
    """A comparison or thumb as texts: the prompt, what follows it in each response, and the reference's prompt."""

    prompt: _Written
    responses: tuple[str, ...]
    reference: _Written

    @property
    def texts(self) -> list[str]:
        """What has to be tokenised."""
        before = self.prompt.text
        return [before, *(before + text for text in self.responses), self.reference.text]


@dataclass(frozen=True, slots=True)
class Encoded:
    """A comparison as token ids: the prompt (user tokens at `cut`), both responses, and the reference's prompt.

    Of a thumb `chosen` is the one response, whatever was thought of it, and `rejected` is empty: every response ends
    with a token, so an empty one is none. Its log-probability is 0, and no work is done for it.
    `truncated`: whether the prompt was cut at its left; `responses_cut`: how many responses were cut at their right.
    `reference_cut`: where user tokens would go in the reference's prompt, where that is another one.
    """

    prompt: tuple[int, ...]
    cut: int
    chosen: tuple[int, ...]
    rejected: tuple[int, ...]
    reference_prompt: tuple[int, ...]
    truncated: bool = False
    responses_cut: int = 0
    reference_cut: int = 0

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
        return self._rendered(written, self._tokenise([written.text])[0], response_tokens, keep_head)

    def _rendered(self, written: _Written, tokens: Encoding, response_tokens: int, keep_head: bool = False) -> Rendered:
        """The tokens of a written prompt, cut to what there is room for."""
        ids = tuple(tokens.ids)
        head, system = _tokens_before(tokens, written.head_end), _tokens_before(tokens, written.system_end)
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

    def _tokenise(self, texts: Sequence[str]) -> list[Encoding]:
        """Ids of each, and the characters `[start, end)` that they come from.

        Some models come with tokens that they have no embeddings for (of images): only a text with one is refused.
        """
        options = {"add_special_tokens": False, "return_attention_mask": False, "return_token_type_ids": False}
        found: list[Encoding] = self.tokenizer(list(texts), **options).encodings
        highest = max((max(tokens.ids, default=0) for tokens in found), default=0)
        if self.vocab_rows is not None and highest >= self.vocab_rows:
            raise DataError(f"a text has a token that {_no_row(self.tokenizer, highest, self.vocab_rows)}")
        return found

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
        draft = self._draft(Thumb(prompt, response, True, user_text=user_text))
        tokens = dict(zip(draft.texts, self._tokenise(draft.texts), strict=True))
        return self._response(draft.prompt.text, draft.responses[0], tokens)[: self.max_response]

    def _response(self, before: str, after: str, tokens: Mapping[str, Encoding]) -> tuple[int, ...]:
        prefix, whole = tokens[before].ids, tokens[before + after].ids
        # tokens of the response as they follow this prompt, unless they merge with it: then it would not be the prompt
        # that an answer is generated from
        ids = whole[len(prefix) :] if whole[: len(prefix)] == prefix else self._tokenise([after])[0].ids
        eos = self.tokenizer.eos_token_id
        if self.chat and eos in ids:  # a template may write more after it
            return tuple(ids[: len(ids) - ids[::-1].index(eos)])
        return tuple(ids) if ids[-1:] == [eos] else (*ids, eos)

    def _draft(self, c: Feedback) -> _Draft:
        """A comparison or thumb as texts."""
        written = self._write(c.prompt, c.user_text)
        alone = bool(c.user_text) and not self.config.reference_user_text
        answers = tuple(self._response_text(c, written.text, text) for text in c.responses)
        return _Draft(written, answers, self._write(c.prompt, None) if alone else written)

    def _response_text(self, c: Feedback, before: str, response: str) -> str:
        """The response as it is written after its prompt."""
        if not self.chat:
            return response if isinstance(c.prompt, str) else f" {response}"
        messages, _ = self._messages(c.prompt, c.user_text)
        whole = self._apply([*messages, {"role": "assistant", "content": response}], False)
        return whole[len(before) :] if whole.startswith(before) else response

    def comparison(self, c: Feedback) -> Encoded:
        """A comparison or thumb as token ids; the reference sees the user text unless `reference_user_text` is off."""
        return next(self.comparisons([c]))

    def comparisons(self, items: Iterable[Feedback]) -> Iterator[Encoded]:
        """Each of `items` as token ids; many at a time, which a tokenizer is faster at."""
        left = iter(items)
        while drafts := [self._draft(c) for c in islice(left, _AT_ONCE)]:
            texts = list(dict.fromkeys(text for draft in drafts for text in draft.texts))
            tokens = dict(zip(texts, self._tokenise(texts), strict=True))
            yield from (self._encoded(draft, tokens) for draft in drafts)

    def _encoded(self, draft: _Draft, tokens: Mapping[str, Encoding]) -> Encoded:
        written, limit = draft.prompt, self.max_response
        responses = [self._response(written.text, text, tokens) for text in draft.responses]
        longest = min(max(map(len, responses)), limit)
        rendered = reference = self._rendered(written, tokens[written.text], longest)
        if draft.reference is not written:
            reference = self._rendered(draft.reference, tokens[draft.reference.text], longest)
        chosen, *rejected = (ids[:limit] for ids in responses)
        return Encoded(
            prompt=rendered.ids,
            cut=rendered.cut,
            chosen=chosen,
            rejected=rejected[0] if rejected else (),
            reference_prompt=reference.ids,
            truncated=rendered.truncated,
            responses_cut=sum(len(ids) > limit for ids in responses),
            reference_cut=0 if reference.ids == rendered.ids else reference.cut,
        )

    @cached_property
    def fingerprint(self) -> str:
        """Tells whether the same texts become the same tokens: of the tokenizer, the chat template, all limits, the
        libraries, and of today's date where the template writes it."""
        about: dict[str, Any] = {
            "tokenizer": self.tokenizer.backend_tokenizer.to_str(),
            "special": [self.tokenizer.bos_token_id, self.tokenizer.eos_token_id, self.bos],
            "libraries": [version(name) for name in ("prlhf", "tokenizers", "transformers")],
            "limits": [self._space, self.vocab_rows, self.config.max_prompt_tokens, self.config.max_response_tokens],
            "placement": [self.config.user_tokens_at, self.config.reference_user_text],
        }
        if self.chat:
            today = self._apply([{"role": "user", "content": _MARK}], True)
            about["chat"] = [self.tokenizer.chat_template, self._system_role, today]
        text = json.dumps([_FORMAT, about], sort_keys=True)
        return hashlib.sha256(text.encode("utf8", "surrogatepass")).hexdigest()[:24]

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


def _tokens_before(tokens: Encoding, position: int) -> int:
    """How many tokens come before the first one that reaches beyond a character position."""
    if not position:
        return 0
    return next((i for i, (_, end) in enumerate(tokens.offsets) if end > position), len(tokens.ids))


def _transcript(messages: Sequence[Message]) -> str:
    """A conversation for a model without chat template: a plain transcript that ends where the assistant speaks."""
    lines = [m.content if m.role == "system" else f"{m.role.capitalize()}: {m.content}" for m in messages]
    return "\n\n".join([*lines, "Assistant:"])
