import io
import json

from rich.console import Console

from prlhf.demo.show import show
from prlhf.demo.targets import DEMO, findings


def shown(study, width=100):
    console = Console(file=io.StringIO(), width=width)
    show(console, study, findings(study, DEMO))
    return console.file.getvalue()


def test_figures_and_marks(hand_study):
    lines = shown(hand_study).splitlines()
    [drop] = [line for line in lines if "accuracy lost with somebody else's row" in line]
    [gap] = [line for line in lines if "generic row against pooled DPO" in line]
    assert "≥ 0.20 ✓" in drop and "0.100" in gap and "≤ 0.02 ✗" in gap


def test_sampled_and_greedy_answers_are_both_judged(hand_study):
    lines = shown(hand_study).splitlines()
    [sampled] = [line for line in lines if "│ pooled DPO  " in line]
    [greedy] = [line for line in lines if "pooled DPO, greedy" in line]
    assert "1.000" in sampled and "1.000" not in greedy and "100%" in greedy


def test_answers_are_text_and_not_markup(hand_study):
    out = shown(hand_study)
    assert "[red]all[/] & <i>sundry</i>" in out and "<script>x()</script>" in out
    assert "“And <b>now</b>?”" in out and "[blue]Hm.[/]" in out and "10 votes later (0.2 s)" in out


def test_findings_as_json(hand_study):
    shown(hand_study)
    found = json.loads((hand_study.folder / "findings.json").read_text(encoding="utf8"))
    assert {f["name"]: f["reached"] for f in found["findings"] if f["target"] is not None} == {
        f.name: f.reached for f in findings(hand_study, DEMO) if f.target is not None
    }
    assert found["wins"]["pooled DPO"]["groups"]["minority"]["rate"]["value"] == 1.0
    assert found["seconds"] == {"P-DPO": 61.4}
