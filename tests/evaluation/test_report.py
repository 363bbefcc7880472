import re
from html.parser import HTMLParser

import pytest

from prlhf.errors import DataError
from prlhf.evaluation import plots
from prlhf.evaluation.bootstrap import Estimate
from prlhf.evaluation.report import Answer, Code, Picture, Report, Section, SideBySide, Table, Text, Verdict

EVIL = "<script>alert('x')</script> & \"quoted\""
VOID = {"meta", "br", "img"}


class Page(HTMLParser):
    """Checks that tags close in order, and keeps what a browser would see."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.words = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(self.words)


def page(*items):
    return Report(EVIL, EVIL, [Section(EVIL, EVIL, items)] * 3, footer=EVIL).html()


EVERYTHING = (
    Text(EVIL),
    Code(EVIL),
    Table([EVIL, "n"], [[EVIL, 1]], caption=EVIL, emphasis=0),
    Picture(plots.profile_bars({"a": {"b": 0.5}}), alt=EVIL, caption=EVIL),
    SideBySide(EVIL, [Answer(EVIL, EVIL, EVIL)]),
    Verdict([(EVIL, 0.5, EVIL, True)], EVIL),
)


def test_every_text_is_escaped():
    html = page(*EVERYTHING)
    found = Page(html)
    assert "script" not in {tag for tag, _ in found.tags}
    assert "<script" not in html
    # As text it is all there: title twice, intro, footer, three links; and in a section heading, intro and 13 texts.
    assert found.text.count("alert('x')") == 7 + 3 * 15
    assert next(attrs for tag, attrs in found.tags if tag == "img")["alt"] == EVIL


def test_nothing_is_loaded_from_elsewhere():
    html = page(*EVERYTHING)
    for tag, attrs in Page(html).tags:
        assert tag not in {"link", "script", "iframe", "object"}
        for name in ("src", "href"):
            assert attrs.get(name, "#").startswith(("#", "data:image/"))
    assert "url(" not in html
    assert "@import" not in html
    assert "default-src 'none'" in html


def test_cells_are_formatted():
    row = [1234, 0.5, None, Estimate(0.5, 0.25, 0.75), Estimate(float("nan")), float("nan"), True]
    html = Table([str(k) for k in range(7)], [row]).html()
    cells = [re.sub("<.*?>", "", cell) for cell in re.findall("<td.*?</td>", html)]
    assert cells == ["1,234", "0.500", "–", "0.500 [0.250, 0.750]", "–", "–", "yes"]


def test_numbers_stand_at_the_right_and_words_at_the_left():
    html = Table(["name", "n"], [["a", 1], ["b", None]]).html()
    assert html.count('<td class="number">') == 2
    assert '<th scope="col">name' in html


def test_a_row_of_the_wrong_width_is_refused():
    with pytest.raises(DataError, match="row 1: found 1 cells, expected 2"):
        Table(["a", "b"], [[1, 2], [1]])


def test_paragraphs_and_lines_stay():
    assert Text("one\ntwo\n\nthree").html() == "<p>one<br>two</p><p>three</p>"


def test_an_empty_answer_is_said():
    assert "(empty answer)" in SideBySide("q", [Answer("a", "")]).html()


def test_a_verdict_says_what_was_reached():
    html = Verdict([("a", 0.9, "≥ 0.8", True), ("b", 0.7, "≥ 0.8", False)]).html()
    assert html.count("✓ reached") == 1
    assert html.count("✗ not reached") == 1


def test_pictures_are_inline_svg_or_png_bytes():
    figure = plots.profile_bars({"a": {"b": 0.5}})
    assert "data:image/svg+xml;base64," in Picture(figure, "x").html()
    assert "data:image/png;base64," in Picture(plots.to_png(figure), "x").html()


def test_a_heavy_picture_becomes_pixels(monkeypatch):
    monkeypatch.setattr("prlhf.evaluation.report._SVG_LIMIT", 100)
    assert "data:image/png;base64," in Picture(plots.profile_bars({"a": {"b": 0.5}}), "x").html()


def test_save_leaves_one_file(tmp_path):
    target = Report("t", "", [Section("s")]).save(tmp_path / "out" / "report.html")
    assert target.read_text("utf8").startswith("<!doctype html>")
    assert [p.name for p in target.parent.iterdir()] == ["report.html"]
