"""Thumbs: rows of single responses, what is said about bad ones, and where they are in a log."""

import csv
import json
from dataclasses import replace

import pytest

from prlhf.config import SplitConfig
from prlhf.data import Log, Notes, decided, inspect_log, load_comparisons, recency_weights, split, trainable
from prlhf.data.picture import draw
from prlhf.data.splits import Split
from prlhf.errors import DataError
from prlhf.types import Comparison, Message, Thumb

UP = {"prompt": "p", "completion": "a", "label": True}
DOWN = {"prompt": "p", "completion": "b", "label": False}
PAIR = {"prompt": "p", "chosen": "a", "rejected": "b"}
U, A, S = (
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Yo"},
    {"role": "system", "content": "Be."},
)


@pytest.fixture
def load(tmp_path):
    def _load(*rows, **options):
        path = tmp_path / "log.jsonl"
        path.write_text("\n".join(json.dumps(row) for row in rows))
        return load_comparisons(path, **options)

    return _load


def thumbs(count: int = 40) -> list[Thumb]:
    return [Thumb(f"p{i // 4}", f"r{i}", i % 3 > 0, user=f"u{i % 5}", id=str(i)) for i in range(count)]


# --- rows ---


@pytest.mark.parametrize(
    ("row", "prompt", "response"),
    [
        (UP, "p", "a"),
        ({**UP, "prompt": [S, U], "completion": [A]}, (Message("system", "Be."), Message("user", "Hi")), "Yo"),
        ({**UP, "prompt": [U], "completion": A}, (Message("user", "Hi"),), "Yo"),
        ({**UP, "prompt": [U], "completion": "Yo"}, (Message("user", "Hi"),), "Yo"),
    ],
)
def test_forms_of_a_thumb(load, row, prompt, response):
    log = load(row, DOWN)
    assert log.comparisons == ()
    assert (log.thumbs[0].prompt, log.thumbs[0].response) == (prompt, response)
    assert [t.up for t in log.thumbs] == [True, False]


def test_user_columns(load):
    row = {**UP, "user_id": 7, "user_text": "t", "weight": 2, "timestamp": "2025-01-01", "group": "g"}
    (t,) = load(row).thumbs
    assert (t.user, t.user_text, t.weight, t.group, t.id) == ("7", "t", 2.0, "g", "1")
    assert t.timestamp.isoformat() == "2025-01-01T00:00:00+00:00"
    assert load(row).users == ("7",)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({**UP, "label": None}, "field 'label': found nothing, expected true (thumb up) or false (thumb down)"),
        ({**UP, "label": "up"}, "field 'label': found 'up' (str), expected true (thumb up) or false (thumb down)"),
        ({**UP, "label": 1}, "field 'label': found 1 (int), expected true"),
        ({**UP, "completion": None}, "field 'completion': found nothing, expected text, or a list of messages"),
        ({**UP, "completion": 5}, "field 'completion': found 5 (int), expected text"),
        ({**UP, "completion": [A, A]}, "field 'completion': found messages of assistant, assistant, expected text, or"),
        ({**UP, "completion": [U]}, "field 'completion': found messages of user, expected text, or one message from"),
        ({**UP, "prompt": None}, "field 'prompt': found nothing, expected text"),
        ({**UP, "prompt": ""}, "field 'prompt': found an empty text, expected text"),
        ({**UP, "prompt": [A]}, "field 'prompt': found messages that end with the role 'assistant'"),
        ({**UP, "weight": -1}, "field 'weight': found -1 (int), expected a number that is not negative"),
        ({**UP, "tie": True}, "field 'tie': found True (bool), expected nothing beside completion and label"),
        ({**UP, **PAIR}, "field 'completion': found 'a' (str), expected nothing beside chosen and rejected"),
        ({**UP, "responses": ["a", "b"]}, "field 'completion': found 'a' (str), expected nothing beside responses"),
        ({"completion": "a", "label": True}, "field 'prompt': found no 'prompt' in the row (completion, label)"),
    ],
)
def test_bad_rows(load, row, message):
    with pytest.raises(DataError) as caught:
        load(UP, row)
    assert f"row 2: {message}" in str(caught.value) and "--on-bad-row skip" in str(caught.value)
    assert [t.id for t in load(UP, row, DOWN, on_bad_row="skip").thumbs] == ["1", "3"]


def test_a_first_row_without_its_columns_names_them(load):
    with pytest.raises(DataError, match=r"no column 'label'; found .* completion, liked, prompt; .*label=liked"):
        load({"prompt": "p", "completion": "a", "liked": True})
    log = load({"q": "p", "a": "x", "liked": True}, columns={"prompt": "q", "completion": "a", "label": "liked"})
    assert log.thumbs == (Thumb("p", "x", True, id="1"),)


def test_a_label_beside_a_pair_is_not_read(load):
    log = load({**PAIR, "label": 1})
    assert len(log.comparisons) == 1 and not log.thumbs
    with pytest.raises(DataError, match="row 2: field 'chosen': found nothing, expected text"):
        load(PAIR, {"prompt": "p", "chosen": None, "rejected": None, "label": 1})


def test_pairs_and_thumbs_in_one_log(load):
    log = load(UP, PAIR, DOWN)
    assert [item.id for item in log.items] == ["2", "1", "3"]  # comparisons, then thumbs
    assert len(log) == 3 and log.kinds == "comparisons and thumbs"
    assert log.notes.text().startswith("1 comparisons and 2 thumbs (1 up, 1 down) from 3 rows")
    assert "not trained on: 2 thumbs" in log.notes.text(thumbs=False)


def test_csv(tmp_path):
    path = tmp_path / "thumbs.csv"
    messages = json.dumps([U])
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([
            ("prompt", "completion", "label", "chosen", "rejected"),
            ("p", "a", "yes", "", ""), (messages, "", "0", "", ""), ("p", "", "", "x", "y"),
        ])  # fmt: skip
    log = load_comparisons(path)
    assert log.thumbs == (
        Thumb("p", "a", True, id="1"),
        Thumb((Message("user", "Hi"),), "", False, id="2"),
    )
    assert [(c.chosen, c.rejected) for c in log.comparisons] == [("x", "y")]
    assert log.notes.empty == 1
    path.write_text("prompt,completion,label\np,a,maybe\n")
    with pytest.raises(DataError, match="row 1: field 'label': found 'maybe'"):
        load_comparisons(path)


# --- in a log ---


def test_keys():
    t = Thumb("p", "a", True)
    assert t.pair_key == replace(t, up=False, user="x").pair_key and t.response_keys == (t.pair_key,)
    assert t.prompt_key == Comparison("p", "x", "y").prompt_key
    assert t.response_keys[0] == Comparison("p", "a", "b").response_keys[0]


def test_what_is_tested_and_trained():
    t = Thumb("p", "a", False)
    assert decided(t) and trainable(t) and not trainable(replace(t, response=" \n"))


def test_fingerprint_and_notes():
    t = Thumb("p", "a", True, user="u", id="1")
    log = lambda *found: Log((), "x", thumbs=found)  # noqa: E731
    base = log(t).fingerprint
    assert log(replace(t, id="9")).fingerprint == base
    for change in ({"up": False}, {"response": "A"}, {"user": "v"}, {"weight": 2.0}, {"group": "g"}):
        assert log(replace(t, **change)).fingerprint != base
    notes = Notes.of((t, replace(t, up=False, user=None, response="")))
    assert (notes.thumbs, notes.up, notes.comparisons, notes.empty, notes.without_user) == (2, 1, 0, 1, 1)
    assert notes.text().startswith("2 thumbs (1 up, 1 down) from 2 rows; 1 without a user")


@pytest.mark.parametrize("by", ["pair", "prompt", "response"])
def test_split(by, tmp_path):
    log = Log((), "x", thumbs=tuple(thumbs()))
    sides = split(log, SplitConfig(by=by, test=0.2, users=0.2))
    assert sum(map(len, sides.sides().values())) == 40 and sides.test and sides.unseen
    shared = sides.overlap(log)["train/test"]
    assert shared["pairs"] == shared["responses"] == 0 and (by != "prompt" or shared["prompts"] == 0)
    assert "of 40 thumbs" in sides.text(log)
    sides.save(tmp_path / "split.json", log)
    assert Split.load(tmp_path / "split.json", log) == sides


def test_a_split_without_thumbs_is_that_of_the_comparisons():
    comparisons = tuple(Comparison(f"p{i}", "a", "b", id=f"c{i}") for i in range(20))
    both = split(Log(comparisons, "x", thumbs=tuple(thumbs())), thumbs=False)
    assert both == split(Log(comparisons, "x"))


def test_recency():
    dated = [replace(t, timestamp=None) for t in thumbs(2)]
    with pytest.raises(DataError, match="time of every vote; 2 of 2"):
        recency_weights(dated, 10)


def test_inspection(tmp_path):
    made = [*thumbs(), Thumb("p0", "r0", False, user="u0"), Thumb("q", "", True, user="only")]
    found = inspect_log(Log((), "x", notes=Notes.of(made), thumbs=tuple(made)))
    expected = {"comparisons": 0, "thumbs": 42, "thumbs_up": 27, "users": 6, "users_of_one_opinion": 1, "duplicates": 1}
    assert {name: found.counts[name] for name in expected} == expected
    assert found.counts["empty"] == 1 and found.counts["responses"] == 41 and found.user_counts == (9, 8, 8, 8, 8, 1)
    assert set(found.characters) == {"prompt", "liked", "disliked"} and "thumbs only" in found.hope()
    assert json.dumps(found.as_dict())
    draw(found, tmp_path / "x.svg")
    assert "42 thumbs of 6 users" in (tmp_path / "x.svg").read_text()
