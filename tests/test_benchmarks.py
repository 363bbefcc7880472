"""The benchmarks run in their quick mode, and write what docs/benchmarks.md is made of."""

import json
import runpy
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """Runs a benchmark's quick mode in this process, and reads its figures."""

    def run(name, *arguments):
        found = tmp_path / "found.json"
        monkeypatch.syspath_prepend(str(BENCHMARKS))
        monkeypatch.chdir(BENCHMARKS.parent)
        monkeypatch.setenv("PRLHF_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("CLOCK", "cpu")  # which train_profile sets
        monkeypatch.setattr(sys, "argv", [name, *arguments, "--quick", "--json", str(found)])
        runpy.run_path(str(BENCHMARKS / f"{name}.py"), run_name="__main__")
        return json.loads(found.read_text(encoding="utf8"))

    return run


SPEED = ["TRL", "TRL at its best", "P-DPO uniform, no user tokens"]
LINES = {  # arguments: what tells the lines of the table apart
    "thumbs": ["dpo", "kto"],
    "user_text": ["text and state", "text alone", "state alone"] * 2,
    "adapt": [
        "generic row",
        "trained row (second run)",
        *["fitted row", "fitted row, one strength for all"] * 2,
        "ridge from reward",
        "nearest trained user",
        "cluster mean",
        *["fitted row", "fitted row, one strength for all"] * 2,
    ],
    "sampled_branches": ["both", "one drawn", "one drawn, twice the epochs"],
    "reward_soft_prompt": ["P-DPO", "P-RM soft_prompt", "the paper's soft prompt"],
    "learning": ["start", "before_response"],
    "convarg length": ["length, top 10"],
    "convarg votes": ["true votes, top 40, seed 0"],
    "train_speed": SPEED + [f"P-DPO individual, {place}" for place in ("start", "after_system", "before_response")],
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of one step, of TRL
@pytest.mark.parametrize("command", LINES)
def test_quick_mode(quick, command):
    name, *arguments = command.split()
    found = quick(name, *arguments)
    assert found["benchmark"] == name and "torch" in found["machine"] and found["options"]["quick"] is True
    lines = [next(line[key] for key in ("", "study", "objective", "row") if key in line) for line in found["rows"]]
    assert lines == LINES[command]
    assert all(0 <= line["seen"][0] <= 1 for line in found["rows"] if isinstance(line.get("seen"), list))


def test_profile_has_shares_of_the_whole(quick):
    [line] = quick("train_profile")["rows"]
    shares = [int(value.removesuffix("%")) for value in line.values() if str(value).endswith("%")]
    assert len(shares) == 7 and 95 <= sum(shares) <= 110
    assert line["CPU seconds"] > line["products of useful token-passes alone, seconds"] > 0


def test_the_page_is_made_of_the_results(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import figures
    import table

    rows = [
        {"table": "one", "": "ours", "speed": 12345.6, "ratio": [1.234, 1.1, 1.5], "count": 10**6, "held": True},
        {"table": "one", "": "theirs", "speed": 0.01234, "ratio": None, "count": 3, "held": False},
        {"table": "two", "only": "x"},
    ]
    path = tmp_path / "thumbs.json"
    figures.write(path, "thumbs", "a machine", {"quick": False, "json": path, "seeds": 3}, rows, ["A remark."])
    made = table.section(path)
    assert "Options: seeds=3. Machine: a machine." in made and made.endswith("A remark.")
    assert "**one**\n\n|  | speed | ratio | count | held |\n| --- | --- | --- | --- | --- |\n" in made
    assert "| ours | 12,346 | 1.23 [1.1, 1.5] | 1,000,000 | yes |\n| theirs | 0.0123 |  | 3 | no |" in made
    assert made.index("**one**") < made.index("**two**\n\n| only |")


@pytest.mark.slow
def test_every_way_of_picking_is_measured(quick):
    features, *lines, tried = quick("best_of")["rows"]
    assert features["features"] == "tfidf" and tried["way"] == "weight 1.0"
    curve = [(line["way"], line["votes"]) for line in lines[:4]]
    assert curve == [("best of 1", 0), ("best of 2", 0), ("best of 1", 10), ("best of 2", 10)]
    assert [line["way"].split(":")[0] for line in lines[-3:]] == ["best of 2", "beams", "guidance"]
    generated = {line["way"]: line["generated"] for line in lines}
    assert generated["best of 1"] == pytest.approx(1) and generated["best of 2"] == pytest.approx(2)
    assert all(0 <= line["win rate"][0] <= 1 for line in lines)


def test_planted_people_are_met_and_nothing_is_found_where_there_is_nothing(quick):
    alike, *people = quick("reward_planted", "--only", "consensus,people")["rows"]
    assert alike["rank 0"] == alike["draws"] == 2 and alike["largest difference"] < 0.05
    assert [line["people"] for line in people] == ["learned from, 40 votes", "met, 5 votes", "met, 20 votes"]
    assert all(line["accuracy"][0] > 0.7 and 0.6 < line["coverage of 90 %"][0] <= 1 for line in people)


def test_people_are_met_by_every_rule(quick):
    rows = quick("onboarding", "--only", "planted")["rows"]
    names = ["information", "variance", "d_optimal", "pref", "random"]
    assert [row[""] for row in rows] == names + names + [0.05, 0.1, 0.15, 0.2, 0.25, 0.3]
    first, last = (row["200 random"][0] for row in (rows[0], rows[4]))
    assert first == last > rows[0]["0"][0] == rows[4]["0"][0] > 0.5
