"""Batched generation: a prompt and a user each, any users together in one batch.

User tokens are ids, so this is transformers' own `generate` with padding and a KV cache. Prompts are batched by length,
what they have in common is computed once, and answers come back in the order of their prompts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from transformers import StoppingCriteria

from prlhf.errors import DataError
from prlhf.lm.batching import Batch, plan
from prlhf.lm.caches import window
from prlhf.lm.decoder import Decoder, shares_beginnings
from prlhf.lm.merging import folded
from prlhf.lm.reference import as_reference
from prlhf.lm.requests import AS_IT_COMES, Generation, GenerationOptions, Request, Work, requests

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
    max_new_tokens: Sequence[int] | int = 256,
    batch_size: int = 16,
    share_prefix: str = "auto",
    merge_lora: str = "auto",
    **sampling: Any,
) -> list[Generation]:
    """`PersonalizedLM.generate` with its details."""
    each: Any = max_new_tokens if hasattr(max_new_tokens, "__len__") else None
    options = GenerationOptions.of(sampling if each is not None else {"max_new_tokens": max_new_tokens, **sampling})
    row = -1 if reference and users is None and row is None else row
    wanted = requests(lm, prompts, users, user_texts=user_texts, row=row, num_samples=num_samples, max_new_tokens=each)
    work = Work(batch_size, share_prefix, merge_lora)
    return respond(lm, wanted, options, work, reference=reference)


def respond(
    lm: PersonalizedLM,
    wanted: Sequence[Request],
    options: GenerationOptions,
    work: Work = AS_IT_COMES,
    *,
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
    seed = options.seed
    if options.temperature > 0 and seed is None:
        seed = int(torch.randint(2**62, ()))
    if not reference:
        _tell_untold(lm, wanted)
    new = [options.max_new_tokens if r.max_new_tokens is None else r.max_new_tokens for r in wanted]
    rendered = [encode(lm, r, n, reference) for r, n in zip(wanted, new, strict=True)]
    prompts = [ids for ids, _ in rendered]
    limits = _limits(prompts, new, lm.template.context)
    out: dict[int, Generation] = {}
    with as_reference(lm) if reference else _answering(lm):
        batches = _plan(lm, prompts, new, work)
        steps = sum(max(limits[i] for i in batch.rows) for batch in batches)
        decoder = Decoder(
            lm, options, prompts, limits, [r.number for r in wanted], seed=seed, streamer=streamer, criteria=criteria
        )
        with folded(lm, work.merge_lora, 0 if reference else steps):
            for at in progress(range(len(batches)), "generating"):
                part = batches[at].rows
                for i, (added, finished) in zip(part, decoder.answer(batches[at]), strict=True):
                    tokens = (*wanted[i].begun, *added)
                    text = answer_text(lm, tokens, options.stop)
                    r = -1 if reference else wanted[i].row
                    out[i] = Generation(text, wanted[i].user, r, wanted[i].known, tokens, finished, rendered[i][1])
    answered = [out[i] for i in range(len(wanted))]
    _tell_cut(lm, answered)
    return answered


def _tell_cut(lm: PersonalizedLM, answered: Sequence[Generation]) -> None:
    """Say how many prompts were cut, and by which limit."""
    cut, context = sum(g.truncated for g in answered), lm.template.context
    if cut:
        end = "" if context is None else f", context of the model {context} less room for the answer"
        words = "%d prompts were cut at their left: max_prompt_tokens=%d%s"
        logger.warning(words, cut, lm.config.max_prompt_tokens, end)


def _plan(lm: PersonalizedLM, prompts: Sequence[Sequence[int]], new: Sequence[int], work: Work) -> list[Batch]:
    """The batches; with beginnings that are computed once where that pays and the model allows it."""
    context, narrow = lm.template.context, window(lm.causal_lm)
    share = work.share_prefix == "auto" and len(prompts) > 1
    found = plan(prompts, new, work.batch_size, share, context, narrow)
    if any(batch.shared for batch in found) and not shares_beginnings(lm):
        return plan(prompts, new, work.batch_size, False, context, narrow)
    return found


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
    """Ids of a prompt with the user tokens in their place and what the answer begins with, and whether the prompt was
    cut, also for an answer of `new` more."""
    text = None if reference and not lm.config.reference_user_text else request.user_text
    room = lm.template.answer_room(len(request.begun) + new)
    rendered = lm.template.prompt(request.prompt, text, room, keep_head=True)
    user = () if reference or request.row < 0 else lm.user_token_ids(request.row)
    return [*rendered.ids[: rendered.cut], *user, *rendered.ids[rendered.cut :], *request.begun], rendered.truncated


def _limits(prompts: Sequence[Sequence[int]], new: Sequence[int], context: int | None) -> list[int]:
    """The longest answer to each prompt: what is wanted, or what the context has room for."""
    if context is None:
        return list(new)
    for i, ids in enumerate(prompts):
        if len(ids) >= context:
            raise DataError(
                f"prompt {i + 1}: its user text and system message leave no room in the model's context of {context} "
                f"({len(ids)} tokens with the user's); shorten them"
            )
    return [min(n, context - len(ids)) for n, ids in zip(new, prompts, strict=True)]


@contextmanager
def _answering(lm: PersonalizedLM) -> Iterator[None]:
    """Evaluation mode for a while."""
    if not any(module.training for module in lm.modules()):
        yield
        return
    training = lm.training
    lm.eval()
    try:
        yield
    finally:
        lm.train(training)
