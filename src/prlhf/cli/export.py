"""`prlhf export`: a trained model in the formats of other libraries."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prlhf.cli.answers import Run
from prlhf.cli.console import no_loading_bars
from prlhf.cli.places import check_new_folder

if TYPE_CHECKING:
    from prlhf.lm import PersonalizedLM

__all__ = ["Kind", "export"]


class Kind(StrEnum):
    """What `--as` takes."""

    MERGED = "merged"
    PROMPT_TUNING = "prompt-tuning"
    EMBEDDINGS = "embeddings"


def export(
    run: Run,
    kind: Annotated[
        Kind, typer.Option("--as", help="A plain model with its user table; PEFT adapters of users; tensors.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="A folder that does not exist yet.")],
    user: Annotated[
        list[str] | None, typer.Option("--user", "-u", metavar="ID", help="Which user; may be repeated.")
    ] = None,
    everybody: Annotated[bool, typer.Option("--all", help="Every user, and the generic one.")] = False,
    prompts: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Embeddings of whole prompts; the file as `prlhf generate` takes it."),
    ] = None,
    max_new_tokens: Annotated[
        int, typer.Option("--max-new-tokens", "-n", metavar="N", help="Room for answers that --prompts leave.")
    ] = 256,
) -> None:
    """Write a trained model as other libraries take it.

    `merged` folds the LoRA into the weights: a folder that transformers and vLLM load, and prlhf too. `prompt-tuning`
    makes an adapter of PEFT of each user, on a merged model. `embeddings` makes tensors: of users, or with --prompts of
    whole prompts with the user's tokens in them. Without --user and --all it is the generic user, or in a file of
    prompts whom it names.
    """
    users = user or []
    _check(kind, users, everybody, prompts)
    check_new_folder("--output", output)
    lm = _load(run)
    if kind == Kind.MERGED:
        _merged(lm, output)
    elif kind == Kind.PROMPT_TUNING:
        _prompt_tuning(lm, run, output, _chosen(lm, users, everybody))
    elif prompts is None:
        _embeddings(lm, output, _chosen(lm, users, everybody))
    else:
        _prompts(lm, output, prompts, _chosen(lm, users, everybody) if users or everybody else [], max_new_tokens)
    typer.echo(f"written: {output}")


def _check(kind: Kind, users: list[str], everybody: bool, prompts: Path | None) -> None:
    """Refuse options that contradict each other, before anything is loaded."""
    from prlhf.errors import ConfigError

    for wrong, message in (
        (users and everybody, "give --user or --all, not both"),
        (kind == Kind.MERGED and (users or everybody), "--as merged has every user; leave --user and --all out"),
        (kind != Kind.EMBEDDINGS and prompts, "--prompts belongs to --as embeddings"),
    ):
        if wrong:
            raise ConfigError(message)


def _load(run: str) -> PersonalizedLM:
    from prlhf.lm import PersonalizedLM

    no_loading_bars()
    return PersonalizedLM.from_pretrained(run)


def _chosen(lm: PersonalizedLM, users: list[str], everybody: bool) -> list[str | None]:
    return [None, *lm.users.ids()] if everybody else [*users] or [None]


def _merged(lm: PersonalizedLM, output: Path) -> None:
    from prlhf.lm.export import export_merged
    from prlhf.lm.merging import merged

    export_merged(merged(lm, in_place=True), output)


def _prompt_tuning(lm: PersonalizedLM, run: str, output: Path, users: list[str | None]) -> None:
    """A run without LoRA is itself the model that the adapters belong to."""
    from prlhf.lm.checkpoint import find
    from prlhf.lm.export import export_prompt_tuning
    from prlhf.lm.merging import merged

    model = find(run) if lm.config.tuning.type == "full" else None
    export_prompt_tuning(merged(lm, in_place=True), output, users, model=model)


def _embeddings(lm: PersonalizedLM, output: Path, users: list[str | None]) -> None:
    from prlhf.lm.export import export_embeddings

    export_embeddings(lm, output, users)


def _prompts(lm: PersonalizedLM, output: Path, prompts: Path, users: list[str | None], new: int) -> None:
    from prlhf.generation.jobs import assign, read_questions
    from prlhf.lm.export import export_prompts

    questions = read_questions(prompts)
    if users:
        questions = assign(questions, users, every=True)
    texts = [q.user_text for q in questions]
    asked, who = [q.prompt for q in questions], [q.user for q in questions]
    export_prompts(lm, output, asked, who, user_texts=texts, max_new_tokens=new)
