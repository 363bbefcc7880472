"""A report in one HTML file: text, tables, pictures and answers side by side, with nothing loaded from anywhere."""

from __future__ import annotations

import base64
import html
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from prlhf.errors import DataError
from prlhf.evaluation.bootstrap import Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Answer", "Code", "Picture", "Report", "Section", "SideBySide", "Table", "Text", "Verdict"]

Cell = str | int | float | bool | Estimate | None

# A vector picture with very many marks is heavier than the same as pixels.
_SVG_LIMIT = 300_000


def _escape(text: str) -> str:
    return html.escape(text, quote=True)


def _paragraphs(text: str) -> str:
    """Blank lines part paragraphs, single line breaks stay."""
    parts = (part.strip() for part in text.split("\n\n"))
    return "".join(f"<p>{_escape(part).replace(chr(10), '<br>')}</p>" for part in parts if part)


@dataclass(frozen=True)
class Text:
    """Plain paragraphs."""

    text: str

    def html(self) -> str:
        return _paragraphs(self.text)


@dataclass(frozen=True)
class Code:
    """A command or a recipe, as typed."""

    text: str

    def html(self) -> str:
        return f'<div class="scroll"><pre><code>{_escape(self.text)}</code></pre></div>'


@dataclass(frozen=True)
class Table:
    """Rows of cells; numbers stand at the right, an `Estimate` shows its interval, None is a dash.

    `emphasis` is the index of a row to set off.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    emphasis: int | None = None
    digits: int = 3

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise DataError(f"report table, row {number}: found {len(row)} cells, expected {len(self.columns)}")

    def html(self) -> str:
        head = "".join(f'<th scope="col"{self._side(k)}>{_escape(name)}</th>' for k, name in enumerate(self.columns))
        body = "".join(self._row(number, row) for number, row in enumerate(self.rows))
        caption = f"<caption>{_escape(self.caption)}</caption>" if self.caption else ""
        return f'<div class="scroll"><table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'

    def _side(self, column: int) -> str:
        cells = [row[column] for row in self.rows if row[column] is not None]
        return ' class="number"' if cells and not any(isinstance(cell, str | bool) for cell in cells) else ""

    def _row(self, number: int, row: Sequence[Cell]) -> str:
        cells = "".join(f"<td{self._side(k)}>{self._cell(cell)}</td>" for k, cell in enumerate(row))
        return f"<tr{' class=emphasis' if number == self.emphasis else ''}>{cells}</tr>"

    def _cell(self, cell: Cell) -> str:
        if cell is None or (isinstance(cell, float) and cell != cell):
            return "–"
        if isinstance(cell, bool):
            return "yes" if cell else "no"
        if isinstance(cell, int):
            return f"{cell:,}"
        if isinstance(cell, float):
            return f"{cell:.{self.digits}f}"
        if isinstance(cell, Estimate):
            return self._estimate(cell)
        return _escape(cell)

    def _estimate(self, cell: Estimate) -> str:
        if not cell.exists:
            return "–"
        value = f"{cell.value:.{self.digits}f}"
        if cell.low != cell.low:
            return value
        return f'{value} <small class="interval">[{cell.low:.{self.digits}f}, {cell.high:.{self.digits}f}]</small>'


@dataclass(frozen=True)
class Picture:
    """A matplotlib figure, or the bytes of an SVG or PNG. `alt` says in words what is to be seen."""

    figure: Figure | bytes
    alt: str
    caption: str = ""

    def html(self) -> str:
        data = self._bytes()
        kind = "png" if data.startswith(b"\x89PNG") else "svg+xml"
        image = f'<img alt="{_escape(self.alt)}" src="data:image/{kind};base64,{base64.b64encode(data).decode()}">'
        caption = f"<figcaption>{_escape(self.caption)}</figcaption>" if self.caption else ""
        return f'<figure><div class="scroll">{image}</div>{caption}</figure>'

    def _bytes(self) -> bytes:
        if isinstance(self.figure, bytes):
            return self.figure
        from prlhf.evaluation import plots

        svg = plots.to_svg(self.figure)
        return svg if len(svg) <= _SVG_LIMIT else plots.to_png(self.figure)


@dataclass(frozen=True)
class Answer:
    """Somebody's answer: whose, what they want (`note`), and the text."""

    name: str
    text: str
    note: str = ""


@dataclass(frozen=True)
class SideBySide:
    """One question and several answers to it: next to each other, or below each other where the screen is narrow."""

    question: str
    answers: Sequence[Answer]

    def html(self) -> str:
        cards = "".join(self._card(answer) for answer in self.answers)
        return f'<p class="question">{_escape(self.question)}</p><div class="answers">{cards}</div>'

    def _card(self, answer: Answer) -> str:
        note = f'<p class="note">{_escape(answer.note)}</p>' if answer.note else ""
        text = _paragraphs(answer.text) or '<p class="note">(empty answer)</p>'
        return f'<article><h3>{_escape(answer.name)}</h3>{note}<div class="text">{text}</div></article>'


@dataclass(frozen=True)
class Verdict:
    """Figures against their targets: (what, found, target as words, reached)."""

    lines: Sequence[tuple[str, Cell, str, bool]]
    caption: str = ""

    def html(self) -> str:
        rows = [(what, found, target, "✓ reached" if ok else "✗ not reached") for what, found, target, ok in self.lines]
        return Table(("what", "found", "target", ""), rows, self.caption).html()


Item = Text | Code | Table | Picture | SideBySide | Verdict


@dataclass(frozen=True)
class Section:
    """A title, an introduction in plain text, and what is shown."""

    title: str
    intro: str = ""
    items: Sequence[Item] = field(default_factory=tuple)

    def html(self, anchor: str) -> str:
        inside = "".join(item.html() for item in self.items)
        return f'<section id="{anchor}"><h2>{_escape(self.title)}</h2>{_paragraphs(self.intro)}{inside}</section>'


@dataclass(frozen=True)
class Report:
    """The whole page. Every text is escaped; the page's own policy forbids scripts and any request."""

    title: str
    intro: str
    sections: Sequence[Section]
    footer: str = ""

    def html(self) -> str:
        """The page as one string."""
        sections = "".join(section.html(f"s{k}") for k, section in enumerate(self.sections, 1))
        links = "".join(f'<li><a href="#s{k}">{_escape(s.title)}</a></li>' for k, s in enumerate(self.sections, 1))
        contents = f'<nav aria-label="Contents"><ul>{links}</ul></nav>' if len(self.sections) > 2 else ""
        footer = f"<footer>{_paragraphs(self.footer)}</footer>" if self.footer else ""
        return (
            f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{_escape(self.title)}</title>\n<style>{_CSS}</style></head>\n"
            f"<body><main><header><h1>{_escape(self.title)}</h1>{_paragraphs(self.intro)}{contents}</header>"
            f"{sections}{footer}</main></body></html>\n"
        )

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the page (aside, then renamed); returns where."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            aside.write_text(self.html(), "utf8")
            aside.replace(target)
        finally:
            aside.unlink(missing_ok=True)
        return target


_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

_CSS = """
:root { color-scheme: light; --ink: #1d2329; --soft: #5a6570; --line: #dfe3e7; --blue: #0072b2; --paper: #fff; }
* { box-sizing: border-box; }
body { margin: 0; background: #f5f6f7; color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .6rem; }
h2 { font-size: 1.25rem; line-height: 1.3; margin: 0 0 .5rem; }
h3 { font-size: 1rem; margin: 0; }
p { margin: 0 0 .7rem; max-width: 44rem; overflow-wrap: anywhere; }
section { background: var(--paper); border: 1px solid var(--line); border-radius: 8px; padding: 1.1rem;
  margin-top: 1rem; }
nav ul { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; padding: 0; margin: 0; list-style: none;
  font-size: .92rem; }
a { color: var(--blue); }
.scroll { overflow-x: auto; margin: .6rem 0 1rem; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding-bottom: .35rem; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td:first-child { min-width: 7rem; }
th { color: var(--soft); font-weight: 600; }
.number { text-align: right; white-space: nowrap; padding-left: .8rem; }
.emphasis td { font-weight: 650; background: #eef6fb; }
.interval { color: var(--soft); font-weight: 400; }
pre { margin: 0; padding: .7rem .9rem; background: #f2f4f5; border-radius: 6px; font-size: .87rem; width: max-content;
  min-width: 100%; }
figure { margin: .6rem 0 1rem; }
figure .scroll { margin: 0; }
figure img { display: block; width: 100%; min-width: 34rem; max-width: 50rem; height: auto; }
figcaption, .note, footer { color: var(--soft); font-size: .9rem; }
.question { font-weight: 650; border-left: 4px solid var(--blue); padding-left: .7rem; margin-top: .8rem; }
.answers { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 16rem), 1fr)); gap: .8rem;
  margin-bottom: 1.2rem; }
article { border: 1px solid var(--line); border-radius: 8px; padding: .8rem .9rem; min-width: 0; }
article .note { margin: .1rem 0 .5rem; }
article .text p:last-child { margin: 0; }
footer { margin-top: 1.5rem; }
@media print { body { background: #fff; } section { break-inside: avoid; } }
"""
