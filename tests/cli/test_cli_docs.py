"""The generated pages are made as they say, and those in the tree are fresh."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from prlhf.cli import docs
from prlhf.cli.tree import tree, with_tree

ROOT = Path(__file__).parents[2]


def run(*arguments, cwd=ROOT):
    env = {**os.environ, "COLUMNS": "80"}
    return subprocess.run(
        [sys.executable, "-m", "prlhf.cli.docs", *arguments], cwd=cwd, env=env, capture_output=True, text=True
    )


def test_the_pages_are_fresh():
    done = run("--check")
    assert done.returncode == 0, done.stderr


def test_a_stale_page_is_named_and_made_anew(tmp_path):
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    for name in ("README.md", "Makefile"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "src" / "prlhf").mkdir(parents=True)
    (tmp_path / "src" / "prlhf" / "__init__.py").write_text('"""A package."""\n')
    page = tmp_path / "docs" / "cli.md"
    page.write_text(page.read_text(encoding="utf8").replace("--resume", "--go-on"), encoding="utf8")
    done = run("--check", cwd=tmp_path)
    assert done.returncode == 1
    assert "docs/cli.md is stale" in done.stderr and "README.md is stale" in done.stderr
    assert "training.md" not in done.stderr
    assert run(cwd=tmp_path).returncode == 0
    assert run("--check", cwd=tmp_path).returncode == 0
    assert "--resume" in page.read_text(encoding="utf8")


def test_every_reward_option_is_listed_with_its_meaning():
    rows = docs.options_table("reward").splitlines()
    assert any(row.startswith("| `model.rank` |") and "*factor:*" in row for row in rows)
    silent = [row for row in rows[2:] if row.rstrip("| ").endswith(":*")]
    assert not silent, f"options without a meaning: {silent}"


def test_options_table_merges_variants_and_names_them():
    table = docs.options_table("train")
    assert "| `objective.beta` | number > 0 | `0.1` |" in table
    assert table.count("`user_model.tokens`") == 2  # three variants share theirs, `uniform` has its own
    assert "*individual, cluster, low_rank:*" in table
    for line in table.splitlines()[2:]:
        assert not line.endswith("|  |"), f"an option without a meaning: {line}"


@pytest.mark.parametrize("mark", ["train", "sft", "reward", "compare"])
def test_a_page_keeps_the_text_around_a_table(mark):
    page = f"before\n<!-- options {mark} -->\nold\n<!-- end -->\nafter\n"
    made = docs.with_options(page)
    assert made.startswith(f"before\n<!-- options {mark} -->\n| option |") and made.endswith("|\n<!-- end -->\nafter\n")
    assert docs.with_options(made) == made


def test_tree_takes_the_first_sentence(tmp_path):
    package = tmp_path / "src" / "prlhf"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text('"""The whole. More of it."""\n')
    (package / "inner" / "__init__.py").write_text('"""A part, as in eq. 7 of it."""\n')
    (package / "inner" / "thing.py").write_text('"""One thing:\n\n- and its parts."""\n')
    (package / "inner" / "silent.py").write_text("x = 1\n")
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "a.toml").write_text("# What it shows:\n#   command\nseed = 0\n")
    lines = {tuple(line.split(maxsplit=1)) for line in tree(tmp_path).splitlines()}
    assert {("src/prlhf/", "The whole"), ("inner/", "A part, as in eq. 7 of it"), ("thing.py", "One thing")} <= lines
    assert {("a.toml", "What it shows"), ("silent.py",)} <= lines
    page = with_tree("<!-- tree -->\n<!-- end -->\n", tmp_path)
    assert page.startswith("<!-- tree -->\n```text\nMakefile") and page.endswith("```\n<!-- end -->\n")
    assert with_tree(page, tmp_path) == page
