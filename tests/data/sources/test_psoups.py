"""P-SOUPS from files of the published schema: the preference is taken away, duplicates too, and the paper's draw."""

import json

import pytest

from prlhf.config import SplitConfig
from prlhf.data import load_comparisons, split
from prlhf.data.sources.psoups import PROFILES, _paper_sides, shared_ending
from prlhf.errors import ConfigError, DataError
from prlhf.generation.jobs import read_questions
from prlhf.types import Message
from published import QUESTIONS, WISHES
from published import psoups_rows as rows
from published import write_psoups as release


def test_preferences_are_taken_from_the_requests(tmp_path):
    log = load_comparisons("psoups", path=release(tmp_path))
    assert list(log.users) == list(PROFILES) and len(log) == 6 * len(QUESTIONS)
    for c in log.comparisons:
        assert c.prompt[0].content in QUESTIONS and c.chosen == f"{c.user} {c.prompt[0].content}"
    assert log.comparisons[0].prompt == (Message("user", "What is rice?"),) and log.comparisons[0].id == "P1A/1"
    for wish in WISHES.values():
        assert repr(wish) in log.notes.text()
    assert load_comparisons("psoups", path=str(tmp_path / "rm_training")).fingerprint == log.fingerprint


def test_duplicates_and_equal_answers_are_counted(tmp_path):
    twice = [*rows("P2A"), *rows("P2A")[:4], {**rows("P2A")[0], "completion_a": "No."}]
    log = load_comparisons("psoups", path=release(tmp_path, P2A=twice))
    assert sum(c.user == "P2A" for c in log.comparisons) == len(QUESTIONS) and not log.notes.equal
    assert log.notes.rows == 6 * len(QUESTIONS) + 5
    assert "P2A: 9 comparisons of 14 rows (1 different ones of equal answers)" in log.notes.text()


def test_a_question_occurs_twice_however_its_preference_was_added(tmp_path):
    """One request is without the preference and another has more white space: the same question, judged once."""
    many = rows("P1B", [f"What is {i}?" for i in range(150)])
    first = many[0]
    bare = {**first, "user_input": "What is 0?"}
    wide = {**first, "user_input": f"What is 0?\n\n{WISHES['P1B']} "}
    log = load_comparisons("psoups", path=release(tmp_path, P1B=[*many, bare, wide]))
    own = [c for c in log.comparisons if c.user == "P1B"]
    assert len(own) == 150 and own[0].id == "P1B/1"
    assert "P1B: 150 comparisons of 152 rows (0 different ones of equal answers)" in log.notes.text()
    assert "without the preference" not in log.notes.text()


def test_own_sides_keep_a_request_together_and_the_papers_do_not(tmp_path):
    path = release(tmp_path)
    own = load_comparisons("psoups", path=path)
    assert own.fixed_split is None
    by_prompt = split(own, SplitConfig(by="prompt", test=0.2))
    assert by_prompt.overlap(own)["train/test"]["prompts"] == 0
    paper = load_comparisons("psoups", path=path, sides="paper")
    assert len(paper.fixed_split.test) == 6 and len(paper.fixed_split.train) == 48
    assert paper.fixed_split.overlap(paper)["train/test"]["prompts"] > 0


def test_the_papers_draw_is_that_of_datasets():
    import datasets

    data = datasets.Dataset.from_dict({"i": list(range(53))}).shuffle(seed=123).train_test_split(0.1, seed=123)
    assert {i for i, side in enumerate(_paper_sides(53)) if side == "test"} == set(data["test"]["i"])


def test_limit_on_characters(tmp_path):
    long = [*rows("P1A"), {**rows("P1A")[0], "completion_b": "x" * 5000}]
    path = release(tmp_path, P1A=long)
    assert len(load_comparisons("psoups", path=path, max_characters=4800)) == 54
    assert "Too long and left out: 1" in load_comparisons("psoups", path=path, max_characters=4800).notes.text()


@pytest.mark.parametrize(
    ("requests", "ending"),
    [
        (["Why? Be brief.", "Who? Be brief."], "Be brief."),
        (["Cats\nBe brief. Now.", "Dogs Be brief. Now."], "Be brief. Now."),
        (["Name cats Be brief.", "Name hats Be brief."], "Be brief."),  # they share "ats " before the sentence
        (["Be brief.", "Dogs Be brief."], "Be brief."),
        (["Tell me.", "Ask me."], None),
        (["Tell me A1", "Ask B1"], None),
        (["Be brief."], None),
        ([f"{i}? Be brief." for i in range(199)] + ["And you?"], "Be brief."),
        ([f"{i}? Be brief." for i in range(49)] + ["And you?"], None),
    ],
)
def test_shared_ending(requests, ending):
    assert shared_ending(requests) == ending


def test_rare_requests_without_the_preference_are_kept_and_counted(tmp_path):
    many = rows("P3B", [f"What is {i}?" for i in range(150)])
    bare = {"user_input": "Why?", "completion_a": "a", "completion_b": "b"}
    log = load_comparisons("psoups", path=release(tmp_path, P3B=[*many, bare]))
    assert log.comparisons[-1].prompt[0].content == "Why?"
    assert "1 requests are without the preference" in log.notes.text()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([{"user_input": q, "completion_a": "a", "completion_b": "b"} for q in ("Why?", "Who are you?")],
         r"P2B\.json: field 'user_input': found no ending that its 2 requests share"),
        ([*rows("P2B"), {"user_input": WISHES["P2B"], "completion_a": "a", "completion_b": "b"}],
         r"P2B\.json, row 10: field 'user_input': found nothing before the preference"),
        ([*rows("P2B"), {"user_input": "q", "completion_a": "a"}],
         r"P2B\.json, row 10: field 'completion_b': found no such field; the row has user_input, completion_a"),
        ([*rows("P2B"), {"user_input": "q", "completion_a": 7, "completion_b": "b"}],
         r"P2B\.json, row 10: field 'completion_a': found 7 \(int\), expected text"),
    ],
)  # fmt: skip
def test_other_files_are_named(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        load_comparisons("psoups", path=release(tmp_path, P2B=content))


def test_a_missing_file_is_named(tmp_path):
    path = release(tmp_path)
    (tmp_path / "rm_training" / "P3A.json").unlink()
    with pytest.raises(DataError, match=r"source 'psoups': no P3A\.json in .*; found in it: rm_training"):
        load_comparisons("psoups", path=path)


def test_options():
    with pytest.raises(
        ConfigError, match=r"the source 'psoups' needs the option 'path' \(--set data\.options\.path=…\)"
    ):
        load_comparisons("psoups")
    with pytest.raises(ConfigError, match="option sides: found 'theirs', expected one of own, paper"):
        load_comparisons("psoups", path="x", sides="theirs")


def test_hub(tmp_path, monkeypatch):
    import datasets

    def load_dataset(name, **options):
        assert name == "owner/psoups" and options["split"] == "train"
        return datasets.Dataset.from_list(
            rows(options["data_files"].removeprefix("rm_training/").removesuffix(".json"))
        )

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert load_comparisons("psoups", path="owner/psoups").fingerprint == (
        load_comparisons("psoups", path=release(tmp_path)).fingerprint
    )


def test_the_koala_prompts_are_a_file_of_prompts(tmp_path):
    file = tmp_path / "koala_eval_50.json"
    file.write_text(json.dumps([{"id": f"koala_{i}", "prompt": f"Question {i}?"} for i in range(50)]), encoding="utf8")
    questions = read_questions(file)
    assert len(questions) == 50 and questions[3].prompt == "Question 3?"
