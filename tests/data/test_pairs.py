"""Pools of questions from files of every form."""

import json
from itertools import combinations

import pytest

from prlhf.config.data import DataConfig
from prlhf.data.pairs import _places, read_pairs
from prlhf.errors import DataError


def written(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def of(found):
    return [(c.prompt, c.chosen, c.rejected) for c in found.pairs]


def test_votes_and_rankings_are_pairs_of_nobody(tmp_path):
    rows = [
        {"prompt": "p", "chosen": "x", "rejected": "y", "user_id": "ann", "user_text": "tall"},
        {"prompt": "q", "responses": ["u", "v", "w"]},
    ]
    found = read_pairs(written(tmp_path / "log.jsonl", rows))
    assert of(found) == [("p", "x", "y"), ("q", "u", "v"), ("q", "u", "w"), ("q", "v", "w")]
    assert all(c.user is None and c.user_text is None for c in found.pairs) and not found.note


def test_a_and_b(tmp_path):
    path = tmp_path / "pool.csv"
    path.write_text("prompt,a,b\nWhich?,red,blue\n")
    assert of(read_pairs(path)) == [("Which?", "red", "blue")]
    rows = [{"question": "Which?", "chosen": "red", "rejected": "blue"}]
    other = written(tmp_path / "pool.jsonl", rows)
    like = DataConfig(source="x.jsonl", columns={"prompt": "question", "user_id": "worker"})
    assert of(read_pairs(other, like)) == of(read_pairs(path, like))


def test_single_responses_are_paired_within_a_prompt(tmp_path):
    rows = [{"prompt": p, "response": r} for p, r in (("p", "a"), ("q", "d"), ("p", "b"), ("p", "c"), ("q", "d"))]
    found = read_pairs(written(tmp_path / "r.jsonl", rows))
    assert of(found) == [("p", "a", "b"), ("p", "a", "c"), ("p", "b", "c")]
    assert found.note == "4 responses give 3 pairs"
    thumbs = [{"prompt": "p", "completion": t, "label": t == "a"} for t in "abc"]
    assert of(read_pairs(written(tmp_path / "t.jsonl", thumbs))) == of(found)
    drawn = read_pairs(
        written(tmp_path / "r.jsonl", [{"prompt": "p", "response": str(i)} for i in range(50)]), most=100
    )
    assert 80 < len(set(of(drawn))) == len(drawn.pairs) <= 100 and "give 1,225 pairs, of which" in drawn.note


def test_places_count_all_pairs():
    expected = sorted(combinations(range(9), 2), key=lambda pair: (pair[1], pair[0]))
    assert [_places(k) for k in range(36)] == expected
    big = 10**8
    assert _places(big * (big - 1) // 2 - 1) == (big - 2, big - 1) and _places(big * (big - 1) // 2) == (0, big)


def test_what_cannot_be_read_is_said(tmp_path):
    with pytest.raises(DataError, match="no file at"):
        read_pairs(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match="row 1"):
        read_pairs(written(tmp_path / "bad.jsonl", [{"prompt": 3, "response": "x"}]))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "p", "a": "x"}, "a is one response of a pair, expected the other one in a column b"),
        (
            {"question": "p", "answer": "x"},
            "say --set data.columns.completion=answer --set data.columns.prompt=question",
        ),
        ({"this": "p", "that": "x"}, r"expected pairs \(prompt, a, b\), single responses"),
    ],
)
def test_the_nearest_form_of_a_pool_is_told(tmp_path, row, message):
    with pytest.raises(DataError, match=message):
        read_pairs(written(tmp_path / "pool.jsonl", [row]))


def test_single_responses_under_other_names(tmp_path):
    rows = [{"question": "p", "answer": text} for text in "xyz"]
    columns = {"prompt": "question", "completion": "answer"}
    config = DataConfig(source=str(written(tmp_path / "r.jsonl", rows)), columns=columns)
    assert of(read_pairs(config)) == [("p", "x", "y"), ("p", "x", "z"), ("p", "y", "z")]
