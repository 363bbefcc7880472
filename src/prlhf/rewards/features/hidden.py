"""Hidden states of a causal language model that has read the prompt and then the response.

Both are written by `prlhf.lm.template`, as for training: a response goes into the chat template as the text that it is,
whichever side of a comparison it stands on. (A list put there instead is written with brackets and quotes, by which
one side can be told from the other: the label leak of a published pipeline.)
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import AutoConfig

from prlhf.config import ModelConfig
from prlhf.config.rewards.features import Hidden
from prlhf.errors import CheckpointError, ConfigError, UnsupportedModelError
from prlhf.lm.layout import slices
from prlhf.lm.loading import load_base, load_tokenizer, resolve
from prlhf.lm.logprobs import tokens_at_once
from prlhf.lm.placement import first_line
from prlhf.lm.template import Encoded, Template
from prlhf.rewards.features.base import Vectors
from prlhf.rewards.features.computed import VectorCache, device_of, identity, key_of
from prlhf.rewards.features.embedder import PretrainedEmbedder, Work
from prlhf.types import Prompt, Thumb

__all__ = ["HiddenEmbedder"]

logger = logging.getLogger(__name__)
_FORMAT = 1
"""To be raised when the same tokens become other vectors."""


class _Row(NamedTuple):
    """Token ids, and where those begin that a mean is over."""

    ids: tuple[int, ...]
    start: int

    @property
    def key(self) -> bytes:
        return key_of(np.array([self.start, *self.ids], np.int64).tobytes())


class HiddenEmbedder(PretrainedEmbedder):
    """The state at the last token of a response (with a chat template what ends its turn), or the mean over its tokens.

    Without a chat template no end of sequence is appended: after it a base model begins another text. The model is
    loaded when a text is not in the cache.

    Raises:
        CheckpointError: no such model, or no tokenizer with it.
        UnsupportedModelError: no causal language model, or no fast tokenizer.
        ConfigError: it has no such layer, or there is no GPU where one is asked for.
    """

    def __init__(self, config: Hidden, work: Work):
        self.config = config
        self.work = work
        self.device = torch.device(device_of(config.device))
        self._base = ModelConfig(
            base=config.model,
            dtype=config.dtype,
            chat_template=config.chat_template,
            max_prompt_tokens=config.max_tokens,
            max_response_tokens=config.max_tokens,
        )
        source = _named(lambda: resolve(config.model))
        text = _described(source, config.model)
        has = getattr(text, "max_position_embeddings", None) or config.max_tokens
        context, rows = min(has, config.max_tokens), text.vocab_size
        tokenizer = _named(lambda: load_tokenizer(self._base))
        self.template = Template(tokenizer, self._base, context, vocab_rows=rows)
        alone = self._base.model_copy(update={"chat_template": "never", "max_prompt_tokens": context})
        self._alone = Template(tokenizer, alone, context, vocab_rows=rows)
        self._context = context
        self._eos = tokenizer.eos_token_id
        about = [_FORMAT, identity(source), config.layer, config.pool, config.dtype]
        self.cache = VectorCache(work.cache, "hidden", about)

    @cached_property
    def model(self) -> Any:
        """Loaded when it is first needed."""
        return _named(lambda: load_base(self._base)).to(self.device).eval()

    def responses(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> Vectors:
        asked = [Thumb(prompt, text, up=True) for prompt, text in zip(prompts, responses, strict=True)]
        encoded = list(self.template.comparisons(asked))
        cut = [sum(e.truncated for e in encoded), sum(e.responses_cut for e in encoded)]
        if any(cut):
            logger.warning(
                "of %d prompts with a response %d are cut at their left, and %d responses at their right: there is "
                "room for %d tokens (features.max_tokens)", len(asked), *cut, self._context
            )  # fmt: skip
        return self._vectors([self._row(e) for e in encoded])

    def _row(self, e: Encoded) -> _Row:
        ended = not self.template.chat and e.chosen[-1:] == (self._eos,)
        ids = e.prompt + (e.chosen[:-1] if ended else e.chosen)
        return _Row(ids, min(len(e.prompt), len(ids) - 1))

    def texts(self, texts: Sequence[str]) -> Vectors:
        found = [self._alone.prompt(text) for text in texts]
        cut = sum(one.truncated for one in found)
        if cut:
            room = self._context
            logger.warning("%d of %d texts are cut at their left to %d tokens", cut, len(texts), room)
        return self._vectors([_Row(one.ids, 0) for one in found])

    def _vectors(self, rows: Sequence[_Row]) -> Vectors:
        if not rows:
            return np.zeros((0, self.width), np.float32)

        def batches(places: list[int]) -> list[list[int]]:
            order = sorted(places, key=lambda i: len(rows[i].ids))
            sizes = [(1, len(rows[i].ids)) for i in order]
            return [order[part] for part in slices(sizes, self.config.batch_size, tokens_at_once(self.device))]

        keys = [row.key for row in rows]
        return self.cache.vectors(
            keys, batches, lambda batch: self._states([rows[i] for i in batch]), self.work.progress
        )

    @torch.no_grad()
    def _states(self, rows: Sequence[_Row]) -> Vectors:
        """The pooled states `[b, d]` of rows padded at their right, which no token before can see."""
        lengths = torch.tensor([len(row.ids) for row in rows], device=self.device)
        starts = torch.tensor([row.start for row in rows], device=self.device)
        longest = int(lengths.max())
        ids = torch.tensor([row.ids + (0,) * (longest - len(row.ids)) for row in rows], device=self.device)
        place = torch.arange(longest, device=self.device)
        mask = place < lengths[:, None]
        states = self._layer(ids, mask.long())
        if self.config.pool == "last":
            pooled = states[torch.arange(len(rows), device=states.device), (lengths - 1).to(states.device)]
        else:
            share = (mask & (place >= starts[:, None])).to(states.device)
            # a state that is not a number, at padding, would not go away by a weight of 0
            total = states.float().masked_fill(~share[..., None], 0).sum(1)
            pooled = total / share.sum(1, keepdim=True)
        return pooled.float().cpu().numpy()

    def _layer(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The states `[b, s, d]` of the chosen layer; the last without keeping the others, none with logits."""
        last = self.config.layer == -1
        found = self.model.base_model(ids, attention_mask=mask, use_cache=False, output_hidden_states=not last)
        if last:
            return found.last_hidden_state
        count = len(found.hidden_states)
        if not -count <= self.config.layer < count:
            raise ConfigError(
                f"features.layer: found {self.config.layer}, but {self.config.model} has the layers 0 to {count - 1} "
                f"(or {-count} to -1)"
            )
        return found.hidden_states[self.config.layer]

    def describe(self) -> str:
        c = self.config
        layer = "the last layer" if c.layer == -1 else f"layer {c.layer}"
        return f"hidden states of {c.model} ({layer}, {'last token' if c.pool == 'last' else 'mean over the response'})"


def _described(source: str, model: str) -> Any:
    """The text model's configuration of transformers."""
    try:
        return AutoConfig.from_pretrained(source).get_text_config()
    except (OSError, ValueError) as e:
        raise CheckpointError(f"features.model: {model!r} cannot be loaded: {first_line(e)}") from e


def _named(load: Callable[[], Any]) -> Any:
    """What `load` gives; its errors name the option of features, not that of training."""
    try:
        return load()
    except (CheckpointError, UnsupportedModelError) as e:
        raise type(e)(str(e).replace("model.base:", "features.model:")) from e
