"""The generated parts of the documentation: `python -m prlhf.cli.docs` writes them, `--check` says which are stale.

- `docs/cli.md`: the `--help` of every command;
- the option tables between `<!-- options … -->` marks in `docs/training.md` and `docs/rewards.md`, from the
  configuration models;
- the file tree between `<!-- tree -->` marks in `README.md`, from what the files say about themselves.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from prlhf.cli.tree import with_tree
from prlhf.config import Config, RunConfig, SftConfig
from prlhf.config.options import Option, Options
from prlhf.config.rewards.compare import RewardCompare
from prlhf.config.rewards.run import RewardRun

__all__ = ["cli_page", "main", "options_table", "other_typer", "pages", "stale", "with_options"]

WIDTH = 100
HEAD = """# The command line

Made from `--help` by `python -m prlhf.cli.docs` (typer {typer}); do not edit.

Every command exits with 0 when it did what was asked, 2 when something in the options, data or files has to be changed
(one message says what), and 130 after Ctrl-C; `prlhf check-data --strict` with 1 where it finds a leak. `PRLHF_DEBUG=1`
shows tracebacks and all log lines.
"""
KINDS: dict[str, type[Config]] = {"train": RunConfig, "sft": SftConfig, "reward": RewardRun, "compare": RewardCompare}


def cli_page() -> str:
    """The `--help` of all commands, as Markdown."""
    import typer
    from typer.main import get_command

    from prlhf.cli.main import COMMANDS, app, load

    parts = [HEAD.format(typer=_typer())]
    todo: list[tuple[str, Any]] = [("prlhf", get_command(app)), *((f"prlhf {name}", load(name)) for name in COMMANDS)]
    while todo:
        name, command = todo.pop(0)
        context = typer.Context(command, info_name=name, terminal_width=WIDTH, max_content_width=WIDTH)
        text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
        parts.append(f"\n## {name}\n\n```text\n{text.strip()}\n```\n")
        if name != "prlhf":
            todo[:0] = [(f"{name} {sub}", inner) for sub, inner in getattr(command, "commands", {}).items()]
    return "".join(parts)


def _typer() -> str:
    """The minor version of typer, which decides how help is laid out."""
    return ".".join(version("typer").split(".")[:2])


def other_typer(page: str) -> bool:
    """Whether `page` was made by a typer that lays help out in another way; its words cannot be compared then."""
    return f"(typer {_typer()})" not in page


def options_table(kind: str) -> str:
    """All options of a kind of run, as a Markdown table."""
    rows = [f"| {' | '.join(_cells(option))} |" for option in _merged(Options(KINDS[kind]).rows())]
    return "\n".join(["| option | values | default | meaning |", "|---|---|---|---|", *rows])


def _merged(options: list[Option]) -> Iterator[Option]:
    """Options that several variants share become one row."""
    held: dict[tuple[str, str, str, str], list[str]] = {}
    for o in options:
        held.setdefault((o.name, o.values, o.default, o.meaning), []).append(o.variant)
    for (name, values, default, meaning), variants in held.items():
        yield Option(name, ", ".join(v for v in variants if v), values, default, meaning)


def _cells(option: Option) -> list[str]:
    only = f"*{option.variant}:* " if option.variant else ""
    default = f"`{option.default}`" if option.default else ""
    return [
        cell.replace("|", "\\|") for cell in (f"`{option.name}`", option.values, default, f"{only}{option.meaning}")
    ]


def with_options(text: str) -> str:
    """`text` with its option tables made anew."""
    pattern = re.compile(r"(<!-- options (\w+) -->\n).*?(?:\n)?(<!-- end -->)", re.DOTALL)
    return pattern.sub(lambda match: f"{match[1]}{options_table(match[2])}\n{match[3]}", text)


def pages(root: Path) -> dict[Path, str]:
    """Every generated page as it should be."""
    tables, readme = [root / "docs" / name for name in ("training.md", "rewards.md")], root / "README.md"
    return {
        root / "docs" / "cli.md": cli_page(),
        **{page: with_options(page.read_text(encoding="utf8")) for page in tables},
        readme: with_tree(readme.read_text(encoding="utf8"), root),
    }


def stale(root: Path) -> list[Path]:
    """The generated pages under `root` that are not what they should be, as far as this typer can tell."""
    found = []
    for path, text in pages(root).items():
        held = path.read_text(encoding="utf8") if path.exists() else None
        if held != text and not (held and path.name == "cli.md" and other_typer(held)):
            found.append(path)
    return found


def main(arguments: list[str]) -> int:
    """Write the pages, or with `--check` name the stale ones and return 1."""
    root = Path.cwd()
    if "--check" in arguments:
        found = stale(root)
        for path in found:
            print(f"{path.relative_to(root)} is stale; run: python -m prlhf.cli.docs", file=sys.stderr)
        return 1 if found else 0
    (root / "docs" / "cli.md").touch()  # the tree lists it
    for path, text in pages(root).items():
        path.write_text(text, encoding="utf8")
    return 0


if __name__ == "__main__":
    os.environ["TYPER_USE_RICH"] = "0"  # plain help, without boxes; read when typer is imported
    raise SystemExit(main(sys.argv[1:]))
