"""The `prlhf` command: a table of commands whose modules load only when they are called or asked for help."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperGroup
from typer.main import get_command

from prlhf.cli.console import calm
from prlhf.cli.errors import clear_errors

__all__ = ["COMMANDS", "Command", "app", "load", "main"]


class Command(NamedTuple):
    """Where a command lives, and its line in `prlhf --help`."""

    module: str
    attribute: str
    summary: str


COMMANDS: dict[str, Command] = {
    "train": Command(
        "prlhf.cli.train", "train", "Train one language model that answers each user of a preference log."
    ),
    "sweep": Command("prlhf.cli.sweep", "sweep", "Train variants of a recipe; compare each with the recipe itself."),
    "evaluate": Command(
        "prlhf.cli.evaluate", "evaluate", "Measure a run on held-out comparisons, beside its baselines."
    ),
    "adapt": Command("prlhf.cli.adapt", "adapt", "Meet new users: fit their rows from a few votes, without training."),
    "generate": Command("prlhf.cli.generate", "generate", "Answer prompts as each user would like them answered."),
    "best-of": Command(
        "prlhf.cli.best_of", "best_of", "Draw several answers; a reward model picks the best for each user."
    ),
    "chat": Command("prlhf.cli.chat", "chat", "Talk to a trained model as one of its users."),
    "check-data": Command(
        "prlhf.cli.check_data", "check_data", "Look for leaks in a preference log: what tells the vote without a taste."
    ),
    "export": Command(
        "prlhf.cli.export", "export", "Write a trained model as other libraries take it: merged, per user, as tensors."
    ),
    "suggest": Command(
        "prlhf.cli.suggest", "suggest", "What to ask somebody next, so that a reward model learns most about them."
    ),
    "onboard": Command(
        "prlhf.cli.onboard", "onboard", "Interview somebody in the terminal: a few well-chosen votes, and who they are."
    ),
    "data": Command("prlhf.cli.data", "app", "Look at preference logs."),
    "sft": Command("prlhf.cli.sft", "sft", "Fine-tune a language model, or make a small one, from texts."),
    "reward": Command(
        "prlhf.cli.reward", "app", "Learn what a response is worth to each person; score, measure, compare."
    ),
    "demo": Command(
        "prlhf.cli.demo", "demo", "Learn what planted users want from their votes, and answer each of them."
    ),
}


def load(name: str) -> Any:
    """Import the module of a command and build it."""
    entry = COMMANDS[name]
    found = getattr(import_module(entry.module), entry.attribute)
    holder = typer.Typer(add_completion=False)
    holder.callback()(lambda: None)  # makes a group of it, whatever it holds
    if isinstance(found, typer.Typer):
        holder.add_typer(found, name=name)
    else:
        holder.command(name)(found)
    group = get_command(holder)
    assert isinstance(group, TyperGroup)
    return group.commands[name]


class LazyGroup(TyperGroup):
    """Lists its commands by their summaries; puts the real command in place when one is called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that `args` names, imported now; an unknown one suggests the nearest."""
        if args[0] in COMMANDS:
            self.add_command(load(args[0]), args[0])
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run; an error made for the user is told in one message."""
        with clear_errors():
            return super().invoke(ctx)


app = typer.Typer(cls=LazyGroup, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def _version(asked: bool) -> None:
    if asked:
        from prlhf import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _prlhf(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """One language model, an answer for each user: training from preferences with user ids."""
    calm()


def _listed(summary: str) -> Callable[[], None]:
    def unloaded() -> None:
        raise AssertionError("replaced by the real command before it is called")

    unloaded.__doc__ = summary
    return unloaded


for _name, _entry in COMMANDS.items():
    app.command(_name)(_listed(_entry.summary))


def main() -> None:
    """Entry point of the `prlhf` script."""
    app(prog_name="prlhf")


if __name__ == "__main__":
    main()
