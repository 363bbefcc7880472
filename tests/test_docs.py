"""What the pages say can be done: commands parse, recipes exist, links lead somewhere."""

import argparse
import re
import runpy
import shlex
from pathlib import Path

import pytest
import typer

from prlhf.cli.main import COMMANDS, load
from prlhf.config import RunConfig, SftConfig, load_config

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf8"), re.MULTILINE))


def commands(text: str) -> list[list[str]]:
    """The `prlhf …` and `make …` commands in the bash blocks of a page, as words."""
    found = []
    for block in re.findall(r"^```(?:bash|sh)\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words = words[1:]
            if words and words[0] in ("prlhf", "make"):
                found.append(words)
    return found


def check(words: list[str]) -> None:
    """A command that could be typed: known names, options and values; recipes that exist and fit."""
    if words[0] == "make":
        unknown = [word for word in words[1:] if "=" not in word and word not in TARGETS]
        assert not unknown, f"no such target: {unknown}"
        return
    name, *rest = words[1:]
    command = load(name)
    while hasattr(command, "commands"):
        command = command.commands[rest.pop(0)]
    with command.make_context(" ".join(words[:2]), rest) as context:
        given = context.params
    kind = {"train": RunConfig, "sft": SftConfig, "demo": RunConfig}.get(name)
    if kind is not None and given.get("overrides"):
        load_config(kind, overrides=given["overrides"])
    recipe = given.get("recipe")
    if recipe is not None and Path(recipe).parts[0] == "recipes":
        load_config(kind or RunConfig, ROOT / recipe)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_commands_parse(page):
    for words in commands(page.read_text(encoding="utf8")):
        if words[0] == "prlhf" and len(words) > 1 and words[1] not in COMMANDS:
            pytest.fail(f"{shlex.join(words)}: no such command")
        try:
            check(words)
        except Exception as error:
            pytest.fail(f"{shlex.join(words)}: {error}")


@pytest.mark.parametrize(
    "wrong",
    [
        "prlhf train --ouptut x",
        "prlhf sft",
        "prlhf train -o x --set objective.bata=1",
        "prlhf train -o x --recipe recipes/nonesuch.toml",
        "prlhf data inpsect x",
        "make tset",
    ],
)
def test_a_wrong_command_is_noticed(wrong):
    with pytest.raises((Exception, SystemExit)) as error:
        check(shlex.split(wrong))
    assert not isinstance(error.value, typer.Exit)


def test_commands_are_found():
    text = "```bash\n# a comment\nA=1 prlhf train \\\n  -o x  # why\n$ make test\nls\n```\n```text\nprlhf chat\n```\n"
    assert commands(text) == [["prlhf", "train", "-o", "x"], ["make", "test"]]


def slug(heading: str) -> str:
    """The anchor that a heading gets on the usual hosts."""
    kept = re.sub(r"[^\w\- ]", "", re.sub(r"\[(.*?)\]\(.*?\)", r"\1", heading).lower())
    return kept.strip().replace(" ", "-")


def anchors(page: Path) -> set[str]:
    """The anchors of a page."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf8"), flags=re.DOTALL | re.MULTILINE)
    return {slug(heading) for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf8"), flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"`[^`\n]*`", "", text)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), f"{page.name}: {target} does not exist"
        assert not anchor or anchor in anchors(found), f"{page.name}: no heading for {target}"


def test_every_page_is_in_the_index():
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf8")
    missing = [path.name for path in PAGES if path.parent.name == "docs" and path.name not in index]
    assert missing == ["README.md"] or not missing


SCRIPTS = sorted(
    {
        found
        for page in PAGES
        for found in re.findall(r"python ((?:benchmarks|examples)/[^`\n#]+)", page.read_text("utf8"))
    }
)


@pytest.mark.parametrize("line", SCRIPTS)
def test_a_script_takes_the_options_that_a_page_gives_it(line, monkeypatch):
    path, *options = shlex.split(line)
    parse = argparse.ArgumentParser.parse_args

    class Parsed(Exception):
        pass

    def only_parse(self, *_):
        parse(self, options)  # exits where they do not fit
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", only_parse)
    monkeypatch.syspath_prepend(str((ROOT / path).parent))  # as `python FILE` does
    script = runpy.run_path(str(ROOT / path))
    if "argparse" in script:
        with pytest.raises(Parsed):
            script["main"]()
    else:
        assert not options
