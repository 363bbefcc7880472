"""Batched generation: a prompt and a user each, any users together in one batch.

User tokens are ids, so this is transformers' own `generate` with left padding and a KV cache. Prompts are batched by
length and come back in their order.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from prlhf.errors import ConfigError, DataError
from prlhf.lm.decoding import Draw, NoRepeatNGram, RepetitionPenalty, StopTexts
from prlhf.lm.reference import as_reference
from prlhf.lm.requests import Generation, GenerationOptions, Request, requests

if TYPE_CHECKING:
    from prlhf.lm.personalized import PersonalizedLM

__all__ = ["answer_text", "encode", "generate", "respond"]

logger = logging.getLogger(__name__)

Progress = Callable[[Iterable[int], str], Iterable[int]]


def generate(
    lm: PersonalizedLM,
    prompts: Sequence[Any],
    users: Sequence[str | None] | str | None = None,
    *,
    user_texts: Sequence[str | None] | str | None = None,
    row: int | None = None,
    reference: bool = False,
    num_samples: int = 1,
    batch_size: int = 16,
    **sampling: Any,
) -> list[Generation]:
    """`PersonalizedLM.generate` with its details."""
    options = GenerationOptions.of(sampling)
    row = -1 if reference and users is None and row is None else row
    wanted = requests(lm, prompts, users, user_texts=user_texts, row=row, num_samples=num_samples)
    return respond(lm, wanted, options, batch_size=batch_size, reference=reference)


def respond(
    lm: PersonalizedLM,
    wanted: Sequence[Request],
    options: GenerationOptions,
    *,
    batch_size: int = 16,
    reference: bool = False,
    streamer: Any = None,
    criteria: Sequence[StoppingCriteria] = (),
    progress: Progress = lambda batches, _: batches,
) -> list[Generation]:
    """Answer requests in batches of similar length; the answers come in the order of the requests.

    Args:
        reference: answer by what training started from: LoRA off, no user tokens, user text as the config says.
        streamer: of transformers; for a single request.
        criteria: further reasons to stop.

    Raises:
        DataError: a user text or system message that fills the model's context.
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size: found {batch_size}, expected at least 1")
    seed = options.seed
    if options.temperature > 0 and seed is None:
        seed = int(torch.randint(2**62, ()))
    if not reference:
        _tell_untold(lm, wanted)
    rendered = [encode(lm, r, options.max_new_tokens, reference) for r in wanted]
    lengths = [len(ids) for ids, _ in rendered]
    batches = _batches(lengths, options.max_new_tokens, lm.template.context, batch_size)
    out: dict[int, Generation] = {}
    with as_reference(lm) if reference else _answering(lm):
        decoder = _Decoder(lm, options, seed, lm.template.context, streamer, criteria)
        for at in progress(range(len(batches)), "generating"):
            part = batches[at]
            answers = decoder.batch([rendered[i][0] for i in part], [wanted[i].number for i in part])
            for i, (tokens, finished) in zip(part, answers, strict=True):
                text = answer_text(lm, tokens, options.stop)
                r = -1 if reference else wanted[i].row
                out[i] = Generation(text, wanted[i].user, r, wanted[i].known, tokens, finished, rendered[i][1])
    cut = sum(g.truncated for g in out.values())
    if cut:
        context = lm.template.context
        end = "" if context is None else f", context of the model {context} less room for the answer"
        words = "%d prompts were cut at their left: max_prompt_tokens=%d%s"
        logger.warning(words, cut, lm.config.max_prompt_tokens, end)
    return [out[i] for i in range(len(wanted))]


def _tell_untold(lm: PersonalizedLM, wanted: Sequence[Request]) -> None:
    """Say once where users of a model that was trained with texts about them are asked without."""
    untold = sorted({r.user for r in wanted if r.row > 0 and r.user is not None and not r.user_text})
    if not (lm.with_user_text and untold) or lm.told_of_texts:
        return
    lm.told_of_texts = True
    logger.warning(
        "the model was trained with texts about its users, and is asked without one for %s: give what the training "
        "data had in user_text, if anything (--user-text, the column user_text of --prompts, user_texts in Python)",
        ", ".join(map(repr, untold[:5])) + (", …" if len(untold) > 5 else ""),
    )


def answer_text(lm: PersonalizedLM, tokens: Sequence[int], stop: Sequence[str], *, more: bool = False) -> str:
    """The text of an answer: without special tokens, up to the first stop string, and without the one space that parts
    it from its prompt where a model writes one. With `more`, only what further tokens cannot change."""
    text = lm.tokenizer.decode(list(tokens), skip_special_tokens=True)
    found = [at for at in (text.find(s) for s in stop) if at >= 0]
    text = text[: min(found)] if found else text
    return (_settled(text, stop) if more else text).removeprefix(" ")


def _settled(text: str, stop: Sequence[str]) -> str:
    """Without what the next token may still change: half a character, or what may become a stop string."""
    text = text.rstrip("\ufffd")
    begun = [k for s in stop for k in range(1, len(s)) if text.endswith(s[:k])]
    return text[: len(text) - max(begun)] if begun else text


def encode(lm: PersonalizedLM, request: Request, new: int, reference: bool = False) -> tuple[list[int], bool]:
    """Ids of a prompt with the user tokens in their place, and whether it was cut, also for an answer of `new`."""
    text = None if reference and not lm.config.reference_user_text else request.user_text
    rendered = lm.template.prompt(request.prompt, text, lm.template.answer_room(new), keep_head=True)
    user = () if reference or request.row < 0 else lm.user_token_ids(request.row)
    return [*rendered.ids[: rendered.cut], *user, *rendered.ids[rendered.cut :]], rendered.truncated


def _batches(lengths: Sequence[int], new: int, context: int | None, size: int) -> list[list[int]]:
    """Indices by length, `size` together; a prompt that leaves less than `new` tokens of context stays alone."""
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    if context is None:
        context = max(lengths, default=0) + new
    for i in order:
        if lengths[i] >= context:
            raise DataError(
                f"prompt {i}: its user text and system message leave no room in the model's context of {context} "
                f"({lengths[i]} tokens with the user's); shorten them"
            )
    roomy = [i for i in order if lengths[i] + new <= context]
    return [roomy[k : k + size] for k in range(0, len(roomy), size)] + [[i] for i in order[len(roomy) :]]


@contextmanager
def _answering(lm: PersonalizedLM) -> Iterator[None]:
    """Evaluation mode for a while."""
    training = lm.training
    lm.eval()
    try:
        yield
    finally:
        lm.train(training)


class _Decoder:
    """One call of transformers' `generate` a batch."""

    def __init__(
        self,
        lm: PersonalizedLM,
        options: GenerationOptions,
        seed: int | None,
        context: int | None,
        streamer: Any,
        criteria: Sequence[StoppingCriteria],
    ):
        self.lm = lm
        self.options = options
        self.seed = seed
        self.context = context
        self.streamer = streamer
        self.criteria = criteria
        self.ends = _end_ids(lm)

    def batch(self, prompts: Sequence[Sequence[int]], numbers: Sequence[int]) -> list[tuple[tuple[int, ...], bool]]:
        """Token ids of each answer, and whether it came to an end."""
        ids, mask = _pad(prompts, self.lm.pad_id, self.lm.device)
        start = ids.shape[1]
        new = self.options.max_new_tokens
        new = new if self.context is None else min(new, self.context - start)
        stops = StopTexts(self.lm.tokenizer, self.options.stop, start) if self.options.stop else None
        found = self.lm.causal_lm.generate(
            input_ids=ids,
            attention_mask=mask,
            generation_config=self._config(new),
            logits_processor=LogitsProcessorList(self._processors(ids, mask, numbers, new)),
            stopping_criteria=StoppingCriteriaList([*self.criteria, *([stops] if stops else [])]),
            streamer=self.streamer,
        )
        lengths = stops.lengths if stops else {}
        return [self._cut(tokens, lengths.get(i)) for i, tokens in enumerate(found[:, start:].tolist())]

    def _cut(self, tokens: list[int], stopped: int | None) -> tuple[tuple[int, ...], bool]:
        """Without the padding that follows an answer, and without its end of sequence."""
        tokens = tokens if stopped is None else tokens[:stopped]
        end = next((i for i, t in enumerate(tokens) if t in self.ends), None)
        return tuple(tokens[:end]), stopped is not None or end is not None

    def _config(self, new: int) -> GenerationConfig:
        """Every value is given, since a model's own `generation_config` fills the gaps."""
        return GenerationConfig(
            max_new_tokens=new,
            do_sample=False,  # `Draw` samples
            num_beams=1,
            temperature=1.0,
            top_p=1.0,
            top_k=50,
            repetition_penalty=1.0,
            no_repeat_ngram_size=0,
            use_cache=True,
            eos_token_id=sorted(self.ends),
            pad_token_id=self.lm.pad_id,
        )

    def _processors(self, ids: Tensor, mask: Tensor, numbers: Sequence[int], new: int) -> list[LogitsProcessor]:
        o = self.options
        hidden = (mask == 0) | (ids >= self.lm.vocab_rows)
        out: list[LogitsProcessor] = []
        if o.repetition_penalty != 1:
            out.append(RepetitionPenalty(o.repetition_penalty, hidden))
        if o.no_repeat_ngram_size:
            out.append(NoRepeatNGram(o.no_repeat_ngram_size, ids, hidden))
        if o.temperature > 0:
            if o.temperature != 1:
                out.append(TemperatureLogitsWarper(float(o.temperature)))
            if o.top_k:
                out.append(TopKLogitsWarper(o.top_k))
            if o.top_p < 1:
                out.append(TopPLogitsWarper(o.top_p))
            out.append(Draw([_seed(self.seed or 0, n) for n in numbers], ids.shape[1], new, ids.device))
        return out


def _seed(seed: int, number: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {number}".encode()).digest()[:7], "little")


def _pad(prompts: Sequence[Sequence[int]], pad: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Ids and attention mask `[b, s]`, padded at the left."""
    longest = max(map(len, prompts))
    ids = torch.tensor([[pad] * (longest - len(p)) + list(p) for p in prompts], device=device)
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts], device=device)
    return ids, mask


def _end_ids(lm: PersonalizedLM) -> set[int]:
    """Tokens that end an answer: the tokenizer's, the model's, and what the chat template writes after a response."""
    ends = {lm.tokenizer.eos_token_id}
    own = lm.causal_lm.generation_config.eos_token_id
    ends.update([] if own is None else [own] if isinstance(own, int) else own)
    if lm.template.chat:
        special = set(lm.tokenizer.all_special_ids)
        closing = (t for t in lm.template.response("a", "b") if t in special)
        ends.update([next(closing)])
    return ends
