"""Batches of prompts to their answers, by transformers' own `generate` and its KV cache.

What rows have in common at their beginning is computed once and copied. Rows that are done leave the batch as soon as
enough of them are, so that short answers do not wait for long ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
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

from prlhf.lm.batching import Batch
from prlhf.lm.caches import Beginnings, keeps_rows, pad_left
from prlhf.lm.decoding import Done, Draw, NoRepeatNGram, RepetitionPenalty, StopTexts
from prlhf.lm.requests import GenerationOptions

if TYPE_CHECKING:
    from prlhf.lm.personalized import PersonalizedLM

__all__ = ["Answer", "Decoder", "shares_beginnings"]

Answer = tuple[tuple[int, ...], bool]
"""Token ids, and whether the answer came to an end."""


class Decoder:
    """Answers batches of prompts, one after the other.

    Args:
        prompts: token ids of all prompts; batches name them by their place.
        limits: the longest answer to each, in tokens.
        numbers: what the sampling of each is seeded by, beside `seed`.
        streamer: of transformers; for batches of one.
        criteria: further reasons to stop.
    """

    def __init__(
        self,
        lm: PersonalizedLM,
        options: GenerationOptions,
        prompts: Sequence[Sequence[int]],
        limits: Sequence[int],
        numbers: Sequence[int],
        *,
        seed: int | None = None,
        streamer: Any = None,
        criteria: Sequence[StoppingCriteria] = (),
    ):
        self.lm = lm
        self.options = options
        self.prompts, self.limits, self.numbers = prompts, limits, numbers
        self.seed = seed
        self.streamer = streamer
        self.criteria = criteria
        self.ends = _end_ids(lm)
        self.leaving = keeps_rows(lm.causal_lm)
        self.beginnings = Beginnings(lambda ids, mask: self._run(ids, mask, 1).past_key_values, lm.pad_id, lm.device)

    def answer(self, batch: Batch) -> list[Answer]:
        """The answers of a batch, in the order of its rows."""
        ids, mask, cache = self._columns(batch)
        prompt, hidden = ids, (mask == 0) | (ids >= self.lm.vocab_rows)
        start, rows = ids.shape[1], list(batch.rows)
        out: dict[int, Answer] = {}
        while rows:
            limits = [self.limits[i] for i in rows]
            stops = StopTexts(self.lm.tokenizer, self.options.stop, start) if self.options.stop else None
            done = Done(self.ends, limits, start, stops, leaving=self.leaving)
            processors = self._processors(prompt, hidden, [self.numbers[i] for i in rows], max(limits))
            new = start + max(limits) - ids.shape[1]
            found = self._run(ids, mask, new, cache, processors, [*self.criteria, done])
            stay = done.stay()
            for k in set(range(len(rows))) - set(stay):
                tokens = found.sequences[k, start : start + done.lengths.get(k, limits[k])].tolist()
                ended = k in done.ended
                out[rows[k]] = tuple(tokens[:-1] if ended and tokens[-1] in self.ends else tokens), ended
            rows, ids, prompt, hidden = [rows[k] for k in stay], found.sequences[stay], prompt[stay], hidden[stay]
            mask = torch.nn.functional.pad(mask, (0, ids.shape[1] - mask.shape[1]), value=1)[stay]
            cache = found.past_key_values
            if stay:
                cache.batch_select_indices(torch.tensor(stay, device=ids.device))
        return [out[i] for i in batch.rows]

    def logits(self, batch: Batch) -> Tensor:
        """Of the first token after each prompt, `[b, v]`."""
        ids, mask, cache = self._columns(batch)
        return self._run(ids, mask, 1, cache, output_logits=True).logits[0]

    def _columns(self, batch: Batch) -> tuple[Tensor, Tensor, Any]:
        """Ids and mask `[b, s]`, and the cache of their beginnings where they have some in common."""
        prompts = [self.prompts[i] for i in batch.rows]
        if not batch.shared:
            return *pad_left(prompts, self.lm.pad_id, self.lm.device), None
        ids, mask, cache = self.beginnings([tuple(t[:p]) for t, p in zip(prompts, batch.shared, strict=True)])
        rests = [t[p:] for t, p in zip(prompts, batch.shared, strict=True)]
        rest_ids, rest_mask = pad_left(rests, self.lm.pad_id, self.lm.device)
        return torch.cat([ids, rest_ids], dim=1), torch.cat([mask, rest_mask], dim=1), cache

    def _run(
        self,
        ids: Tensor,
        mask: Tensor,
        new: int,
        cache: Any = None,
        processors: Sequence[LogitsProcessor] = (),
        criteria: Sequence[StoppingCriteria] = (),
        **more: Any,
    ) -> Any:
        """One call of transformers' `generate`; `cache` holds what comes first of `ids`."""
        return self.lm.causal_lm.generate(
            input_ids=ids,
            attention_mask=mask,
            generation_config=self._config(new, **more),
            logits_processor=LogitsProcessorList(processors),
            stopping_criteria=StoppingCriteriaList(criteria),
            streamer=self.streamer,
            **({} if cache is None else {"past_key_values": cache}),
        )

    def _config(self, new: int, **more: Any) -> GenerationConfig:
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
            return_dict_in_generate=True,
            **more,
        )

    def _processors(self, ids: Tensor, hidden: Tensor, numbers: Sequence[int], new: int) -> list[LogitsProcessor]:
        o = self.options
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


_SHARES: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()


def shares_beginnings(lm: PersonalizedLM) -> bool:
    """Whether a prompt gets the same logits after a beginning that was computed for another, tried once for a model."""
    if lm.causal_lm not in _SHARES:
        _SHARES[lm.causal_lm] = keeps_rows(lm.causal_lm) and _tried(lm)
    return _SHARES[lm.causal_lm]


@torch.no_grad()
def _tried(lm: PersonalizedLM) -> bool:
    prompts = [(0, 1, 2, 3, 4), (0, 1, 2, 3, 5, 6, 7), (2, 3), (2, 4, 5)]
    decoder = Decoder(lm, GenerationOptions(), prompts, [1] * 4, [0] * 4)
    try:
        apart, together = (decoder.logits(Batch((0, 1, 2, 3), shared)) for shared in ((), (4, 4, 1, 1)))
    except (AttributeError, NotImplementedError, RuntimeError, TypeError, ValueError):
        return False
    rounding, finite = 4 * torch.finfo(lm.dtype).eps ** 0.5, apart.isfinite()  # a model may rule tokens out
    if not finite.any() or not torch.equal(finite, together.isfinite()):
        return False
    difference = (apart - together)[finite].square().mean().sqrt()
    return bool(difference <= rounding * apart[finite].std())


def _seed(seed: int, number: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {number}".encode()).digest()[:7], "little")


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
