"""PersonalizedLM: one causal language model, one LoRA, one small user model, any number of users."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, overload

import numpy as np
import torch
from peft import PeftModel
from torch import Tensor, nn

from prlhf.config import ModelConfig, UserModelConfig
from prlhf.config.objectives import ObjectiveConfig
from prlhf.errors import ConfigError, UnknownUserError
from prlhf.lm.adapting.fold_in import fold_in
from prlhf.lm.adapting.prior import Prior
from prlhf.lm.adapting.states import UserStates, committed_to
from prlhf.lm.checkpoint import load, refuse_head, save
from prlhf.lm.embedding import UserTokens
from prlhf.lm.generate import generate
from prlhf.lm.layout import Rows
from prlhf.lm.loading import context_length, fingerprint, load_base, load_tokenizer
from prlhf.lm.logprobs import response_logprobs
from prlhf.lm.lora import add_lora, lora_config
from prlhf.lm.placement import is_placed
from prlhf.lm.publish import PublishedUsers, push_to_hub
from prlhf.lm.publish_card import INTENDED_USE
from prlhf.lm.reference import reference_logprobs
from prlhf.lm.requests import Generation, GenerationOptions, requests
from prlhf.lm.stream import stream
from prlhf.lm.template import Encoded, Template
from prlhf.types import Feedback, Prompt
from prlhf.users import Ids, UserIndex, UserModel, check_size, make_user_model

__all__ = ["PersonalizedLM"]

Users = Sequence[str | None] | str | None

logger = logging.getLogger(__name__)


class PersonalizedLM(nn.Module):
    """A causal LM that answers each user: the only place that touches embeddings.

    Args:
        model: a causal LM of transformers, plain (full fine-tuning) or with one LoRA (PEFT).
        tokenizer: its tokenizer.
        user_model: rows of the user table to user embeddings `[b, t, d]`.
        users: ids to rows; row 0 is the generic user.
        config: how the base was loaded and how prompts are written.
        base_fingerprint: identity of the base model, to refuse a checkpoint on another one.
        with_user_text: whether it was trained with texts about its users, and so expects them in its prompts.
        objective: what it was trained with, and new users' rows are fitted by.
        prior: of the rows of new users; None = that of the rows that there are.
    """

    answers: ClassVar[bool] = True
    """Whether it writes, so that its language is worth something; a reward model only scores."""

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        user_model: UserModel,
        users: UserIndex,
        config: ModelConfig,
        base_fingerprint: str,
        with_user_text: bool = False,
        objective: ObjectiveConfig | None = None,
        prior: Prior | None = None,
    ):
        super().__init__()
        self.model = model
        self.user_model = user_model
        self.tokenizer = tokenizer
        self.users = users
        self.config = config
        self.base_fingerprint = base_fingerprint
        self.with_user_text = with_user_text
        self.objective = objective
        self.prior = prior
        self.told_of_texts = False
        """Whether it was said that texts are missing: once is enough."""
        rows = len(self.embedding.weight)
        self.template = Template(tokenizer, config, context_length(self.causal_lm), user_model.tokens, rows)
        self._user_tokens = UserTokens(self.embedding, user_model)
        pad = tokenizer.pad_token_id
        self.pad_id: int = tokenizer.eos_token_id if pad is None else pad
        self._splits_head: bool | None = None
        if is_placed(self.causal_lm):
            user_model.to(self.device)

    @classmethod
    def create(
        cls, config: ModelConfig, user_model: UserModelConfig, user_ids: Ids = (), seed: int = 0, **options: Any
    ) -> Self:
        """A model at step 0: the base, a fresh LoRA (or every weight free), and a fresh user table; `options` are those
        of a subclass.

        With the default start every user gets the generic user's tokens exactly.

        Raises:
            ConfigError: a user table that does not fit into the memory that is free.
        """
        lora = lora_config(config.tuning) if config.tuning.type == "lora" else None
        base = load_base(config)
        tokenizer = load_tokenizer(config)
        identity = fingerprint(base)
        torch.manual_seed(seed)
        vocabulary = _vocabulary(base, len(tokenizer), seed)
        model = base if lora is None else add_lora(base, lora)
        users = UserIndex.from_ids(user_ids)
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        check_size(user_model, len(users) + 1, vocabulary.shape[1], trained=trained)
        table = make_user_model(user_model, len(users) + 1, vocabulary, seed)
        return cls(model, tokenizer, table, users, config, identity, **options)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Load what `save_pretrained` wrote: a model folder, a run folder (its `model/`), or a hub id of one.

        Raises:
            CheckpointError: no such model, or one that does not answer but scores.
        """
        parts = load(folder)
        refuse_head(folder)
        return cls(*parts).eval()

    def save_pretrained(self, folder: str | Path, card: str = "") -> Path:
        """Write the checkpoint aside, then rename it to `folder`; `card` is added to the model card."""
        return save(self, Path(folder), card)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool = True,
        users: PublishedUsers = "none",
        salt: str | None = None,
        run: str | Path | None = None,
        intended_use: str = INTENDED_USE,
        token: str | None = None,
        commit_message: str = "Upload a prlhf model",
    ) -> str:
        """Upload to the Hugging Face hub, with a model card that names no user; returns the address.

        Args:
            private: a repository that is there already and public is refused.
            users: `none`: the generic row alone, so that everybody is answered by it; `hashed`: everybody's row under
                `hashed_id(id, salt)`; `ids`: everybody's row under their id.
            salt: a secret text, for `hashed`.
            run: the run's folder, for fingerprint of the data and metrics on the card.
            intended_use: that section of the card.
            token: of the hub; by default the one that its client has.

        Raises:
            ConfigError: no such `users`; `hashed` without `salt`; a LoRA on a base that lies in a folder.
            CheckpointError: `run` is no run, or the hub refuses.
        """
        about: Any = {"users": users, "salt": salt, "run": run, "intended_use": intended_use}
        return push_to_hub(self, repo_id, private=private, token=token, commit_message=commit_message, **about)

    @contextmanager
    def without_user_tokens(self) -> Iterator[None]:
        """Within it the model of transformers is as it came, without what resolves user token ids; it may be replaced
        there by another of the same vocabulary."""
        self._user_tokens.remove()
        try:
            yield
        finally:
            self._user_tokens = UserTokens(self.embedding, self.user_model)

    @contextmanager
    def seating(self, user_model: UserModel) -> Iterator[None]:
        """Within it the users are those of another user model, of the same number of tokens and the same width."""
        own = self.user_model
        self._seat(user_model)
        try:
            yield
        finally:
            self._seat(own)

    def _seat(self, user_model: UserModel) -> None:
        self._user_tokens.remove()
        self.user_model = user_model
        self._user_tokens = UserTokens(self.embedding, user_model)

    def response_values(self, rows: Rows) -> Tensor:
        """What this model makes of each response `[slots]`: its log-probability, summed over its tokens."""
        return response_logprobs(self, rows)

    def reference_values(self, comparisons: Sequence[Encoded], **options: Any) -> np.ndarray:
        """What these values are measured against `[n, 2]`: log-probabilities under the reference, with the options of
        `reference_logprobs`."""
        return reference_logprobs(self, comparisons, **options)

    def new_parameters(self) -> list[nn.Parameter]:
        """Those beside the user model's that no trained model had; they are learned as fast as what users share."""
        return []

    @property
    def row_step(self) -> float:
        """How far a user's row moves at a time by default, in sizes of its entries."""
        return 0.4

    @property
    def one_prompt(self) -> bool:
        """Whether all branches of a comparison read the same prompt, but for the user tokens."""
        return True

    def read_by(self, row: int, c: Encoded) -> Encoded:
        """A comparison as the branch of a row of the user table reads it."""
        return c

    @property
    def causal_lm(self) -> Any:
        """The model of transformers, with the LoRA's layers in it where there is one."""
        return self.model.get_base_model() if isinstance(self.model, PeftModel) else self.model

    @property
    def embedding(self) -> nn.Embedding:
        """The input-embedding layer, `[v, d]`."""
        return self.causal_lm.get_input_embeddings()

    @property
    def decoder(self) -> nn.Module:
        """The model without its output projection."""
        return self.causal_lm.get_decoder()

    @property
    def head(self) -> nn.Module:
        """The output projection to the vocabulary."""
        return self.causal_lm.get_output_embeddings()

    @property
    def splits_head(self) -> bool:
        """Whether head(decoder(ids)) gives the model's logits, so that only response positions need projecting.

        Checked numerically once: models that scale or cap their logits do not.
        """
        if self._splits_head is None:
            self._splits_head = self._check_head()
            if not self._splits_head:
                logger.info("logits: of every position, since the model changes them after its output projection")
        return self._splits_head

    @torch.no_grad()
    def _check_head(self) -> bool:
        if getattr(self.causal_lm.config.get_text_config(), "final_logit_softcapping", None):
            return False  # hardly visible on small logits
        ids = torch.arange(min(8, self.vocab_rows), device=self.device)[None]
        training, self.training = self.training, False
        self.model.eval()
        try:
            logits = self.model(input_ids=ids, use_cache=False).logits
            split = self.head(self.decoder(input_ids=ids, use_cache=False).last_hidden_state)
            return torch.allclose(logits, split, rtol=1e-3, atol=1e-4 * float(logits.abs().max()))
        except (AttributeError, TypeError, ValueError):
            return False
        finally:
            self.train(training)

    @property
    def device(self) -> torch.device:
        """Where the input embeddings are."""
        return self.embedding.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """The type of the base model's input embeddings."""
        return self.embedding.weight.dtype

    @property
    def embedding_scale(self) -> float:
        """Root mean square of the embeddings of a few thousand tokens: the size of a typical entry of a user token."""
        return float(_vocabulary(self.causal_lm, min(len(self.tokenizer), self.vocab_rows), 0).square().mean().sqrt())

    @property
    def vocab_rows(self) -> int:
        """v: rows of the input embedding (not the tokenizer's length). User token ids start there."""
        return self._user_tokens.vocab_rows

    def on(self, device: torch.device | str) -> PersonalizedLM:
        """This model, moved to `device`, unless its base was put in its place when it was loaded (over several devices,
        or with quantised weights).

        Raises:
            ConfigError: that place is on another kind of device.
        """
        if not is_placed(self.causal_lm):
            return self.to(device)
        wanted = torch.device(device).type
        if self.device.type != wanted:
            raise ConfigError(
                f"the base was loaded onto {self.device} (model.device_map, model.quantization), and {wanted} is asked "
                "for; with CUDA_VISIBLE_DEVICES= it is loaded onto the CPU"
            )
        return self

    @contextmanager
    def adapter_off(self) -> Iterator[None]:
        """Within it the LoRA is off; without a LoRA nothing changes."""
        if isinstance(self.model, PeftModel):
            with self.model.disable_adapter():
                yield
        else:
            yield

    def user_token_ids(self, row: int) -> tuple[int, ...]:
        """The t ids that stand for a row of the user table."""
        return self._user_tokens.ids(row)

    def lookup(self, ids: Sequence[str | None], *, unknown: str = "generic") -> list[int]:
        """Rows of user ids; `None` and unknown ids are row 0, the generic user.

        `unknown="generic"` logs which ids were not known; `unknown="error"` raises UnknownUserError.
        """
        rows = self.users.rows(ids)
        strangers = sorted({i for i, row in zip(ids, rows, strict=True) if i is not None and row == 0})
        if strangers and unknown == "error":
            raise UnknownUserError(f"not in the user table: {', '.join(map(repr, strangers[:5]))}")
        if strangers:
            logger.warning("unknown users get the generic row: %s", ", ".join(map(repr, strangers[:5])))
        return [int(r) for r in rows]

    def encode_prompt(self, prompt: Prompt, row: int = 0, user_text: str | None = None) -> list[int]:
        """Ids of a prompt with the user tokens of `row` in their place: ready for `generate` of any engine.

        `row=-1` leaves the user tokens out.
        """
        rendered = self.template.prompt(prompt, user_text)
        user = self.user_token_ids(row) if row >= 0 else ()
        return [*rendered.ids[: rendered.cut], *user, *rendered.ids[rendered.cut :]]

    @overload
    def generate(
        self, prompts: Sequence[Any], users: Users = None, *, details: Literal[False] = False, **options: Any
    ) -> list[str]: ...
    @overload
    def generate(
        self, prompts: Sequence[Any], users: Users = None, *, details: Literal[True], **options: Any
    ) -> list[Generation]: ...
    def generate(
        self, prompts: Sequence[Any], users: Users = None, *, details: bool = False, **options: Any
    ) -> list[str] | list[Generation]:
        """Answer each prompt as its user would like it answered; different users share a batch.

        Args:
            prompts: texts, or conversations (messages as `Message` or `{role, content}`).
            users: an id for each prompt, or one for all; None is the generic user. Who is not in the user table is
                answered as the generic user: logged, and `known=False` in the details.
            details: return `Generation`s (text, user, row, known, tokens, finished, truncated) instead of texts.
            options: `user_texts` (one each, or one for all), `row` (instead of users; -1 = no user tokens),
                `reference` (answer by what training started from: LoRA off, no user tokens), `num_samples` (answers
                to a prompt, next to each other in the result), the fields of `Work`: `batch_size`, `share_prefix`,
                `merge_lora`, and those of `GenerationOptions`: `max_new_tokens` (also one for each prompt),
                `temperature` (0 = greedy), `top_p`, `top_k`, `repetition_penalty`, `no_repeat_ngram_size`, `stop`,
                `seed`.

        Raises:
            DataError: something that is no prompt, not one user each, or a user text or system message that fills the
                model's context (anything else is cut at its left, so that there is room for an answer).
            ConfigError: an unknown option, or a value outside its range.
        """
        found = generate(self, prompts, users, **options)
        return found if details else [g.text for g in found]

    def stream(
        self,
        prompt: Any,
        user: str | None = None,
        *,
        user_text: str | None = None,
        row: int | None = None,
        reference: bool = False,
        **options: Any,
    ) -> Generator[str, None, Generation]:
        """Yield one answer piece by piece (and return its `Generation`); joined, what `generate` gives.

        Options as in `generate`. Use the model for nothing else until the generator is done or closed.
        """
        sampling = GenerationOptions.of(options)
        row = -1 if reference and user is None else row
        wanted = requests(self, [prompt], None if user is None else [user], user_texts=user_text, row=row)
        return stream(self, wanted[0], sampling, reference=reference)

    def fold_in(
        self,
        votes: Sequence[Feedback],
        *,
        objective: ObjectiveConfig | None = None,
        weight: np.ndarray | None = None,
        cache: Path | None = None,
    ) -> UserStates:
        """Meet the users of these votes: a row for each, sorted by id, fitted by the training objective under the prior
        of the trained rows. All else is frozen, and nothing is stored: see `commit`.

        Args:
            votes: comparisons, or thumbs where it was trained with `kto`.
            objective: by default the one that it was trained with.
            weight: `[b]`, times the votes' own (`prlhf.data.recency_weights`).
            cache: folder of the reference cache; None = keep nothing.

        Raises:
            DataError: a vote of nobody, on equal texts, or of a kind that the objective does not learn from.
            ConfigError: nothing is personal in this model, or its objective is not known.
        """
        objective = objective or self.objective
        if objective is None:
            raise ConfigError("fold in: what this model was trained with is not kept with it; give objective=")
        prior = self.prior or Prior.of(self.user_model)
        return fold_in(self, votes, prior, objective, weight=weight, cache=cache).states

    def commit(self, states: UserStates) -> list[str]:
        """Keep these users: new ones are appended, of known ones (which are returned) the row is replaced and gets the
        next version. Nobody else's row changes by a bit. `save_pretrained` writes it.

        Raises:
            ConfigError: states of another model.
        """
        if self.prior is None and self.user_model.table is not None and len(self.users):
            self.prior = Prior.of(self.user_model)  # who comes now is no evidence of who will
        self.users, known = committed_to(self.user_model, self.users, states)
        return known

    def forward(self, input_ids: Tensor, **kwargs: Any) -> Any:
        """The model's own forward; `input_ids` may hold user token ids."""
        return self.model(input_ids=input_ids, **kwargs)

    def add_users(self, ids: Ids) -> None:
        """Append users; they start as the generic one, and every other row keeps its bits."""
        self.users, rows = self.users.add(ids)
        self.user_model.add(len(rows))


@torch.no_grad()
def _vocabulary(base: Any, tokens: int, seed: int, sample: int = 4096) -> Tensor:
    """A sample of the embedding layer's outputs `[v', d]`, scaled as the model scales them, to start users from."""
    embedding = base.get_input_embeddings()
    rows = min(embedding.weight.shape[0], tokens)
    chosen = torch.randperm(rows, generator=torch.Generator().manual_seed(seed))[:sample]
    return embedding(chosen.to(embedding.weight.device)).detach().float().cpu()
