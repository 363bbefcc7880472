"""`prlhf train`: from a preference log to a run folder."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prlhf.cli.console import is_first, no_loading_bars
from prlhf.cli.errors import interruptible
from prlhf.cli.options import FLAGS, SOURCES, OnBadRow, Overrides, Recipe, one_source
from prlhf.cli.resuming import RESUME, how_to_go_on, kept

if TYPE_CHECKING:
    from prlhf.config import RunConfig
    from prlhf.training.train import TrainResult

__all__ = ["train"]

SAMPLE_TOKENS = 48


def train(
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FOLDER", help="The folder to write; not needed with --dry-run."),
    ] = None,
    recipe: Recipe = None,
    data: Annotated[
        list[str] | None,
        typer.Option(metavar="SOURCE", help=SOURCES),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="A folder, a hub id, or planted: the small model in the package."),
    ] = None,
    adapter: Annotated[
        str | None, typer.Option(metavar="ADAPTER", help="A PEFT adapter that belongs to the model (an SFT run).")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(metavar="DTYPE", help="Of the model's weights: auto (as stored), bfloat16, float32, …")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything that is drawn.")] = None,
    alpha: Annotated[
        float | None, typer.Option(help="Weight of the user's own branch; the generic user's has 1 - alpha.")
    ] = None,
    on_bad_row: OnBadRow = None,
    resume: Annotated[bool, typer.Option("--resume", help=RESUME)] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Resolve and count everything, take two steps on a tiny model, write nothing."),
    ] = False,
    overrides: Overrides = None,
) -> None:
    """Train one language model that answers each user of a preference log.

    Options come from the recipe, then from the flags, then from --set; all of them are listed in docs/training.md.
    Those without a flag of their own are given with --set, as the learning rate: --set training.learning_rate=1e-4.
    """
    given = {
        "data.source": one_source(data),
        "model.base": model,
        "model.adapter": adapter,
        "model.dtype": dtype,
        "seed": seed,
        "alpha": alpha,
    }
    given["data.on_bad_row"] = on_bad_row
    values = {name: value for name, value in given.items() if value is not None}
    if dry_run:
        _rehearse(_config(None, recipe, False, overrides or [], values))
        return
    if output is None:
        raise typer.BadParameter("it is needed, unless with --dry-run", param_hint="--output")
    config = _config(output, recipe, resume, overrides or [], values)
    with interruptible(lambda: how_to_go_on(output, type(config))):
        from prlhf.training.train import train as run

        no_loading_bars()
        result = run(config, output, resume=resume)
        if is_first():  # of several processes only the first has measured something
            _tell(result)


def _rehearse(config: RunConfig) -> None:
    from rich.console import Console

    from prlhf.cli.tables import dry_run_table
    from prlhf.training.dry_run import dry_run
    from prlhf.training.sides import learned_notes

    no_loading_bars()
    found = dry_run(config)
    console = Console()
    console.print(learned_notes(found.log, config), highlight=False)
    console.print(found.sides.text(found.log), highlight=False)
    console.print(dry_run_table(found))
    for remark in found.remarks:
        console.print(f"note: {remark}", highlight=False)


def _config(
    output: Path | None, recipe: Path | None, resume: bool, overrides: list[str], values: dict[str, Any]
) -> RunConfig:
    from prlhf.config import RunConfig, load_config

    recipe = kept(output) if resume and recipe is None and output is not None else recipe
    return load_config(RunConfig, recipe, overrides, values, FLAGS)


def _tell(result: TrainResult) -> None:
    from rich.console import Console

    from prlhf.cli.tables import metrics_table

    console = Console()
    if result.metrics is None:
        console.print(_why_unmeasured(result.held_out))
    else:
        console.print(metrics_table(result.metrics))
    _show_answers(result)
    folder = shlex.quote(str(result.folder))
    first = result.lm.users.ids([1])[0] if len(result.lm.users) else None
    as_user = "" if first is None else f" --user {shlex.quote(first)}"
    if first is not None and result.user_texts.get(first):  # the answers above were given with it
        as_user += f" --user-text {shlex.quote(result.user_texts[first])}"
    typer.echo(f"\nrun: {folder}\nnext:")
    typer.echo(f"  prlhf evaluate {folder}")
    typer.echo(f'  prlhf generate {folder}{as_user} "…"')
    typer.echo(f"  prlhf chat {folder}{as_user}")


def _why_unmeasured(held_out: int) -> str:
    """Why a run has no figures: nothing was held out, or thumbs that cannot be paired."""
    if not held_out:
        return "no comparison was held out, so nothing was measured (see the options data.split.*)"
    return (
        f"{held_out:,} thumbs were held out, but nothing was measured: of those to be measured no user has both a "
        "thumb up and a thumb down, to be compared (hold out more with data.split.test)"
    )


def _show_answers(result: TrainResult) -> None:
    """A held-out prompt and how it is answered for nobody and for two users: accuracies do not show a lost language."""
    from prlhf.errors import DataError
    from prlhf.types import prompt_text

    lm = result.lm
    if result.sample is None:
        return
    people = lm.users.ids(range(1, min(len(lm.users), 2) + 1)) if lm.user_model.tokens else []
    who = [None, *people]
    known = {"users": who, "user_texts": [result.user_texts.get(user) if user else None for user in who]}
    try:
        answers = lm.generate([result.sample] * len(who), **known, max_new_tokens=SAMPLE_TOKENS, details=True)
    except DataError:  # a prompt that fills the model's context
        return
    typer.echo(f"\nanswers to the held-out prompt “{_short(prompt_text(result.sample))}”")
    for name, answer in zip(("generic user", *people), answers, strict=True):
        typer.echo(f"  {name}: {' '.join(answer.text.split()) or '(no words)'}{'' if answer.finished else ' …'}")
    if not all(answer.text.strip() for answer in answers):
        typer.echo("  an answer has no words: see `beta` in docs/training.md, or train for longer or with a lower rate")


def _short(text: str, limit: int = 160) -> str:
    """The end of a prompt, on one line: a conversation ends with the question."""
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else f"… {flat[-limit:]}"
