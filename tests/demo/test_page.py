from html import escape

from prlhf.demo.page import page, side_by_side
from prlhf.demo.targets import DEMO, findings


def test_the_page_shows_figures_pictures_and_answers(hand_study):
    found = findings(hand_study, DEMO)
    html = page(hand_study, found).html()
    assert all(escape(f.words) in html for f in found)
    assert html.count("<img ") == 3  # accuracy by user and by profile, win rates; nothing was logged while training
    assert "12 users" in html and "61 s" in html


def test_generated_text_is_escaped(hand_study):
    html = page(hand_study, findings(hand_study, DEMO)).html()
    assert "&lt;script&gt;x()&lt;/script&gt;" in html and "&lt;b&gt;me" in html and "&lt;i&gt;sundry" in html
    assert "&lt;u&gt;Yes." in html and "<u>Yes." not in html
    assert "<script>x()" not in html and "<b>me" not in html and "<i>sundry" not in html


def test_side_by_side_names_everybody(hand_study):
    shown = side_by_side(hand_study)
    user = hand_study.world.users[0]
    assert [a.name for a in shown.answers] == ["pooled DPO", f"{user.id} ({user.name})"]
    assert shown.answers[1].note == user.text


def test_a_real_study_has_learning_curves(tiny_study):
    study, _ = tiny_study
    assert page(study, findings(study, DEMO)).html().count("<img ") == 4
