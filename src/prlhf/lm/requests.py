"""What is asked of a model, how it is to be decoded, and what comes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from prlhf.errors import ConfigError, DataError
from prlhf.types import Message, Prompt
from prlhf.words import did_you_mean

if TYPE_CHECKING:
    from prlhf.lm.personalized import PersonalizedLM

__all__ = ["AS_IT_COMES", "Generation", "GenerationOptions", "Request", "Work", "as_prompt", "requests", "user_ids"]


@dataclass(frozen=True, slots=True)
class GenerationOptions:
    """How answers are decoded. The model's own generation defaults (of its hub page) are not used.

    Raises:
        ConfigError: a value outside its range.
    """

    max_new_tokens: int = 256
    temperature: float = 0.0
    """0 = greedy."""
    top_p: float = 1.0
    """Sample from the most likely tokens that together have this probability; 1 = from all."""
    top_k: int = 0
    """Sample from this many most likely tokens; 0 = from all."""
    repetition_penalty: float = 1.0
    """Above 1: tokens of the prompt and of the answer so far become less likely. User tokens do not count."""
    no_repeat_ngram_size: int = 0
    """No sequence of this many tokens occurs twice in prompt and answer; 0 = off. User tokens do not count."""
    stop: tuple[str, ...] = ()
    """Texts at which an answer ends; they are cut off."""
    seed: int | None = None
    """Of sampling: each answer has a stream of its own, from seed and place. None: drawn from torch's global state."""

    def __post_init__(self) -> None:
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)
        object.__setattr__(self, "stop", stop)
        for option in fields(self):
            value = getattr(self, option.name)
            if option.name not in ("stop", "seed") and (isinstance(value, bool) or not isinstance(value, Real)):
                raise ConfigError(f"{option.name}: found {value!r:.60}, expected a number")
        for name, fits, expected in (
            ("max_new_tokens", self.max_new_tokens >= 1, "at least 1"),
            ("temperature", self.temperature >= 0, "0 (greedy) or more"),
            ("top_p", 0 < self.top_p <= 1, "above 0, at most 1"),
            ("top_k", self.top_k >= 0, "0 (off) or more"),
            ("repetition_penalty", self.repetition_penalty > 0, "above 0 (1 = off)"),
            ("no_repeat_ngram_size", self.no_repeat_ngram_size >= 0, "0 (off) or more"),
            ("stop", all(stop), "texts that are not empty"),
        ):
            if not fits:
                raise ConfigError(f"{name}: found {getattr(self, name)!r}, expected {expected}")

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> GenerationOptions:
        """Options by name; an unknown name suggests the nearest."""
        names = [f.name for f in fields(cls)]
        for name in values:
            if name not in names:
                hint = did_you_mean(name, names) or f"; there are {', '.join(names)}"
                raise ConfigError(f"generate: no option {name!r}{hint}")
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Work:
    """How answers are computed; the answers themselves do not depend on it, but for rounding.

    Raises:
        ConfigError: a value outside its range.
    """

    batch_size: int = 16
    share_prefix: str = "auto"
    """What prompts have in common at their beginning is computed once where that pays (`auto`), or never (`off`)."""
    merge_lora: str = "auto"
    """Fold the LoRA into a copy of the weights meanwhile: where that pays and the weights have 32 bits (`auto`), always
    (`on`), never (`off`)."""

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ConfigError(f"batch_size: found {self.batch_size}, expected at least 1")
        for name, values in (("share_prefix", ("auto", "off")), ("merge_lora", ("auto", "on", "off"))):
            if getattr(self, name) not in values:
                raise ConfigError(f"{name}: found {getattr(self, name)!r}, expected {' or '.join(map(repr, values))}")


AS_IT_COMES = Work()


@dataclass(frozen=True, slots=True)
class Request:
    """One answer that is wanted."""

    prompt: Prompt
    user: str | None = None
    row: int = 0
    """Row of the user table; -1 = no user tokens."""
    known: bool = True
    user_text: str | None = None
    number: int = 0
    """What its sampling is seeded by, beside the seed: the same request gets the same answer in any batch."""
    max_new_tokens: int | None = None
    """The longest answer; None: that of the options."""
    begun: tuple[int, ...] = ()
    """Token ids that the answer has already: it goes on from there, and `max_new_tokens` counts what is new."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One answer."""

    text: str
    user: str | None
    """The id that was asked for."""
    row: int
    """The row of the user table that answered: 0 = the generic user, -1 = no user tokens."""
    known: bool
    """False: `user` is not in the user table, so that the generic user answered instead."""
    tokens: tuple[int, ...]
    """Token ids of the answer, with what it had begun with and a stop string, without the end of sequence."""
    finished: bool
    """Ended by itself or by a stop string; False: cut at `max_new_tokens` or at the end of the model's context."""
    truncated: bool = False
    """The prompt lost tokens at its left: it was longer than `max_prompt_tokens`, or than the context with room for an
    answer beside it."""


def as_prompt(value: Any) -> Prompt:
    """A text, or messages as `Message` or `{role, content}`, as a prompt. DataError for anything else."""
    if isinstance(value, str):
        return value
    if not isinstance(value, Sequence) or not value:
        raise DataError(f"prompt: found {type(value).__name__} {value!r:.60}, expected text or a list of messages")
    return tuple(_message(item) for item in value)


def _message(item: Any) -> Message:
    if isinstance(item, Message):
        return item
    if isinstance(item, Mapping) and isinstance(item.get("role"), str) and isinstance(item.get("content"), str):
        return Message(item["role"], item["content"])
    raise DataError(f"prompt: found {item!r:.60}, expected a message with role and content, both text")


def requests(
    lm: PersonalizedLM,
    prompts: Sequence[Any],
    users: Sequence[str | int | None] | str | int | None = None,
    *,
    user_texts: Sequence[str | None] | str | None = None,
    row: int | None = None,
    num_samples: int = 1,
    max_new_tokens: Sequence[int] | None = None,
) -> list[Request]:
    """What is asked of whom. A single user or user text goes for every prompt; see `PersonalizedLM.generate`.

    A user id that is an integer is read as its digits, as in data files.
    """
    if isinstance(prompts, str) or (len(prompts) and isinstance(prompts[0], Message | Mapping)):
        raise DataError("prompts: found a single prompt, expected a list of prompts, as [prompt]")
    if row is not None and users is not None:
        raise ConfigError("give users or row, not both")
    if row is not None and not -1 <= row <= len(lm.users):
        raise ConfigError(f"row: found {row}, expected -1 (no user tokens), 0 (generic) … {len(lm.users)}")
    if num_samples < 1:
        raise ConfigError(f"num_samples: found {num_samples}, expected at least 1")
    ids = user_ids(users, len(prompts))
    texts = [_user_text(text) for text in _one_each("user_texts", user_texts, len(prompts))]
    limits = [_limit(limit) for limit in _one_each("max_new_tokens", max_new_tokens, len(prompts))]
    rows = lm.lookup(ids) if row is None else [row] * len(prompts)
    return [
        Request(as_prompt(p), u, r, row is not None or u is None or r > 0, text, i * num_samples + sample, new)
        for i, (p, u, r, text, new) in enumerate(zip(prompts, ids, rows, texts, limits, strict=True))
        for sample in range(num_samples)
    ]


def user_ids(users: Sequence[str | int | None] | str | int | None, count: int) -> list[str | None]:
    """An id for each of `count` prompts. DataError for another number of them, or something that is no id."""
    return [_user_id(user) for user in _one_each("users", users, count)]


def _limit(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1:
        return int(value)
    raise ConfigError(f"max_new_tokens: found {value!r:.60}, expected whole numbers, at least 1")


def _user_id(value: Any) -> str | None:
    if isinstance(value, Integral) and not isinstance(value, bool):
        return str(int(value))
    if value is None or isinstance(value, str):
        return value
    raise DataError(f"users: found {value!r:.60} ({type(value).__name__}), expected a string, an integer or None")


def _user_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise DataError(f"user_texts: found {value!r:.60} ({type(value).__name__}), expected a string or None")


def _one_each(name: str, given: Any, count: int) -> list[Any]:
    if isinstance(given, str) or not hasattr(given, "__len__"):
        return [given] * count
    if len(given) != count:
        raise DataError(f"{name}: found {len(given)} for {count} prompts, expected one for each")
    return list(given)
