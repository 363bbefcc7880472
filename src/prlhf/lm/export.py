"""Exports: what was trained in the formats of others. Every folder is new, written aside and then renamed.

merged           a plain model of transformers, with tokenizer and user table; loads here too
prompt-tuning    users as prompt-tuning adapters of PEFT on a merged model
embeddings       user embeddings, or whole prompts with user tokens in them, as tensors
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from peft import PromptTuningConfig, TaskType
from safetensors.torch import save_file
from torch import Tensor

from prlhf.errors import UnsupportedModelError
from prlhf.lm.folders import new_folder, refuse_existing
from prlhf.lm.generate import encode
from prlhf.lm.merging import merged
from prlhf.lm.requests import Request, requests

if TYPE_CHECKING:
    from prlhf.lm.personalized import PersonalizedLM

__all__ = ["export_embeddings", "export_merged", "export_prompt_tuning", "export_prompts"]

logger = logging.getLogger(__name__)
Users = Sequence[str | None]

_CHUNK = 4096
_FOLDED = "\nThe LoRA of the training run is folded into the weights.\n"


def export_merged(lm: PersonalizedLM, folder: str | Path) -> Path:
    """The model with its LoRA folded in, the tokenizer and the user table: a checkpoint as after full fine-tuning.

    `AutoModelForCausalLM` loads it as the model without user tokens, `PersonalizedLM` with them. Memory holds the
    weights twice; with `merged(lm, in_place=True)` before the call it does not.

    Raises:
        CheckpointError: `folder` exists.
        UnsupportedModelError: the LoRA cannot be folded in, see `merged`.
    """
    refuse_existing(Path(folder))
    return merged(lm).save_pretrained(folder, _FOLDED)


def export_prompt_tuning(
    lm: PersonalizedLM, folder: str | Path, users: Users = (None,), *, model: str | Path | None = None
) -> Path:
    """Users as prompt-tuning adapters of PEFT: `users/<row>/`, and `users.parquet` for which row is whose.

    PEFT puts its virtual tokens before everything. Where prompts begin with BOS, its embedding is therefore the first
    of an adapter's `t + 1`, and prompts go in without it: `[BOS][user tokens][prompt]`, as here.

    Args:
        users: ids; `None` is the generic user.
        model: where the merged model lies already; by default it is written to `model/`.

    Raises:
        CheckpointError: `folder` exists.
        UnknownUserError: an id that is not in the user table.
        UnsupportedModelError: no user tokens, or user tokens at another place than the start.
    """
    _need_tokens(lm)
    if lm.config.user_tokens_at != "start":
        raise UnsupportedModelError(
            f"user_tokens_at={lm.config.user_tokens_at}: PEFT puts virtual tokens before the prompt and nowhere else; "
            "export embeddings, or train with model.user_tokens_at=start"
        )
    folder = Path(folder)
    rows = lm.lookup(users, unknown="error")
    with new_folder(folder) as aside:
        plain = merged(lm)
        if model is None:
            plain.causal_lm.save_pretrained(str(aside / "model"))
            plain.tokenizer.save_pretrained(str(aside / "model"))
        first = _before_users(plain)
        base = (folder / "model" if model is None else Path(model)).resolve()
        for row, embedding in _embeddings(plain, rows):
            _adapter(plain, torch.cat([first, embedding]), str(base), aside / "users" / str(row))
        lm.users.save(aside / "users.parquet", rows)
    return folder


def _need_tokens(lm: PersonalizedLM) -> None:
    if lm.user_model.tokens == 0:
        raise UnsupportedModelError(
            "the model has no user tokens (user_model.tokens = 0), so that there is nothing of a user to export"
        )


@torch.no_grad()
def _before_users(lm: PersonalizedLM) -> Tensor:
    """Embeddings `[c, d]` of what stands before the user tokens in every prompt: BOS, or nothing."""
    prompt = lm.template.prompt("a")
    if prompt.cut:
        logger.info(
            "the adapters begin with BOS, so give PEFT prompts without it: tokenizer(text, add_special_tokens=False), "
            "or drop the first id of what a chat template wrote"
        )
    return lm.embedding(torch.tensor(prompt.ids[: prompt.cut], dtype=torch.long, device=lm.device)).cpu()


def _adapter(lm: PersonalizedLM, embedding: Tensor, base: str, folder: Path) -> None:
    """One user as PEFT writes one: its config, and `embedding` `[t, d]` as the tensor `prompt_embeddings`."""
    config = lm.causal_lm.config.get_text_config()
    described = PromptTuningConfig(
        task_type=TaskType.CAUSAL_LM,
        base_model_name_or_path=base,
        inference_mode=True,
        num_virtual_tokens=len(embedding),
        token_dim=embedding.shape[1],
        num_transformer_submodules=1,
        num_attention_heads=config.num_attention_heads,
        num_layers=config.num_hidden_layers,
    )
    described.save_pretrained(str(folder))
    save_file({"prompt_embeddings": embedding}, folder / "adapter_model.safetensors", metadata={"format": "pt"})


@torch.no_grad()
def _embeddings(lm: PersonalizedLM, rows: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
    """Each row with its user embedding `[t, d]`, in the model's type and as the model meets it."""
    for start in range(0, len(rows), _CHUNK):
        part = rows[start : start + _CHUNK]
        found = lm.user_model(torch.tensor(part, device=lm.device)).to(lm.dtype).cpu()
        yield from ((row, e.clone()) for row, e in zip(part, found, strict=True))


def export_embeddings(lm: PersonalizedLM, folder: str | Path, users: Users = ()) -> Path:
    """User embeddings: `users.safetensors` with a tensor `row-<row>` `[t, d]` each, and `users.parquet`.

    They stand in the type of the model's embeddings and need no scaling. The generic user, row 0, is always there, for
    whoever is not.

    Raises:
        CheckpointError: `folder` exists.
        UnknownUserError: an id that is not in the user table.
        UnsupportedModelError: the model has no user tokens.
    """
    _need_tokens(lm)
    rows = sorted({0, *lm.lookup(users, unknown="error")})
    with new_folder(Path(folder)) as aside:
        tensors = {f"row-{row}": embedding for row, embedding in _embeddings(lm, rows)}
        save_file(tensors, aside / "users.safetensors", metadata=_about(lm))
        lm.users.save(aside / "users.parquet", rows)
    return Path(folder)


def export_prompts(
    lm: PersonalizedLM,
    folder: str | Path,
    prompts: Sequence[Any],
    users: Users | str | None = None,
    *,
    user_texts: Users | str | None = None,
    max_new_tokens: int = 256,
) -> Path:
    """Prompts as `inputs_embeds`, with user text and user tokens in place, as `generate` would begin to answer them.

    `prompts.safetensors` has a tensor `prompt-<number>` `[s, d]` each, numbered from 1; `prompts.jsonl` has a line each
    with `name`, `prompt`, `user`, `user_text`, `known` and `tokens` (s).

    Args:
        prompts, users, user_texts: as in `PersonalizedLM.generate`.
        max_new_tokens: room to leave in a limited context.

    Raises:
        CheckpointError: `folder` exists.
        DataError: as `PersonalizedLM.generate`.
    """
    wanted = requests(lm, prompts, users, user_texts=user_texts)
    with new_folder(Path(folder)) as aside:
        tensors, lines = {}, []
        for number, request in enumerate(wanted, 1):
            name = f"prompt-{number}"
            tensors[name] = _inputs_embeds(lm, request, max_new_tokens)
            lines.append(json.dumps(_record(name, request, len(tensors[name]))) + "\n")
        save_file(tensors, aside / "prompts.safetensors", metadata=_about(lm))
        (aside / "prompts.jsonl").write_text("".join(lines), encoding="utf8")
    return Path(folder)


@torch.no_grad()
def _inputs_embeds(lm: PersonalizedLM, request: Request, new: int) -> Tensor:
    ids, _ = encode(lm, request, new)
    return lm.embedding(torch.tensor([ids], device=lm.device))[0].cpu().contiguous()


def _record(name: str, request: Request, tokens: int) -> dict[str, Any]:
    prompt = request.prompt if isinstance(request.prompt, str) else [asdict(m) for m in request.prompt]
    about = {"user": request.user, "user_text": request.user_text, "known": request.known}
    return {"name": name, "prompt": prompt, **about, "tokens": tokens}


def _about(lm: PersonalizedLM) -> dict[str, str]:
    """What a file of tensors says about itself."""
    return {"format": "pt", "user_tokens": str(lm.user_model.tokens), "user_tokens_at": lm.config.user_tokens_at}
