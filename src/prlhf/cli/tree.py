"""The file tree of the README: every file with the first line of what it says about itself."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

__all__ = ["tree", "with_tree"]

TOP = {
    "Makefile": "demo, test, check: each sets itself up",
    ".ci/run": "tests, long tests and checks in one command",
    "tests/": "mirrors src/prlhf; tiny models made from configs, no downloads",
}
"""What cannot say it itself."""


def tree(root: Path) -> str:
    """The tree under `root` as text, one file a line with its comment."""
    lines = [(f"{name}", comment) for name, comment in TOP.items()]
    texts = {"docs": "*.md", "recipes": "*.toml", "recipes/papers": "*.toml"}
    for folder, pattern in {**texts, "examples": "*.py", "benchmarks": "*.py"}.items():
        files = sorted((root / folder).glob(pattern))
        lines += [(f"{folder}/", "")] * bool(files) + [(f"  {file.name}", _comment(file)) for file in files]
    lines.append(("src/prlhf/", _comment(root / "src" / "prlhf" / "__init__.py")))
    lines += list(_package(root / "src" / "prlhf", "  "))
    width = max(len(name) for name, _ in lines) + 2
    return "\n".join(f"{name:{width}}{comment}".rstrip() for name, comment in lines)


def _package(folder: Path, indent: str) -> Iterator[tuple[str, str]]:
    for file in sorted(folder.glob("*.py")):
        if file.name not in ("__init__.py", "__main__.py"):
            yield f"{indent}{file.name}", _comment(file)
    for inner in sorted(path for path in folder.iterdir() if path.is_dir() and path.name != "__pycache__"):
        about = next((inner / name for name in ("__init__.py", "README.md") if (inner / name).exists()), None)
        if about is not None or any(inner.rglob("README.md")):
            yield f"{indent}{inner.name}/", _comment(about) if about else ""
            yield from _package(inner, indent + "  ")


def _comment(file: Path) -> str:
    """The first sentence of a docstring, the first comment of a recipe, the heading of a page."""
    text = file.read_text(encoding="utf8")
    if file.suffix == ".py":
        first = (ast.get_docstring(ast.parse(text)) or "").split("\n\n")[0]
    else:
        first = next((line.lstrip("# ") for line in text.splitlines() if line.startswith("#")), "")
    return re.split(r"\.(?=\s+[A-Z`]|$)|:$", " ".join(first.split()))[0]


def with_tree(page: str, root: Path) -> str:
    """`page` with the tree between its `<!-- tree -->` marks made anew."""
    pattern = re.compile(r"(<!-- tree -->\n).*?(<!-- end -->)", re.DOTALL)
    return pattern.sub(lambda match: f"{match[1]}```text\n{tree(root)}\n```\n{match[2]}", page)
