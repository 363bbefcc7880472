"""What a row means: TRL's forms, user columns, rankings; and what is said about a row that means nothing."""

import csv
import json

import pytest

from prlhf.config import DataConfig
from prlhf.data import load_comparisons
from prlhf.data.rankings import ranking_of
from prlhf.data.readers import open_table
from prlhf.data.rows import convert
from prlhf.errors import ConfigError, DataError
from prlhf.types import ROLES, Message

U, A = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}
B, S = {"role": "assistant", "content": "Hm"}, {"role": "system", "content": "Be kind."}
PAIR = {"prompt": "p", "chosen": "a", "rejected": "b"}
RANKING = {"prompt": "p", "responses": ["a", "b"]}


@pytest.fixture
def load(tmp_path):
    def _load(*rows, **options):
        path = tmp_path / "log.jsonl"
        path.write_text("\n".join(json.dumps(row) for row in rows))
        return load_comparisons(path, **options)

    return _load


@pytest.mark.parametrize(
    ("row", "prompt", "chosen", "rejected"),
    [
        (PAIR, "p", "a", "b"),
        ({"prompt": [S, U], "chosen": [A], "rejected": [B]}, "SU", "Yo", "Hm"),
        ({"chosen": [U, A], "rejected": [U, B]}, "U", "Yo", "Hm"),
        ({"chosen": [S, U, A], "rejected": [S, U, B]}, "SU", "Yo", "Hm"),
        ({"chosen": [U, A, U, A], "rejected": [U, A, U, A]}, "UAU", "Yo", "Yo"),
        ({"prompt": "Hi", "chosen": [S, U, A], "rejected": [S, U, B]}, "SU", "Yo", "Hm"),  # prompt said twice
        ({"prompt": "Hi", "chosen": [A], "rejected": [B]}, "U", "Yo", "Hm"),
        ({"prompt": [S, U], "chosen": [S, U, A], "rejected": [S, U, B]}, "SU", "Yo", "Hm"),
        ({"prompt": [U], "chosen": "Yo", "rejected": "Hm"}, "U", "Yo", "Hm"),
        ({"chosen": "Sky: it is blue", "rejected": "Sky: it is black"}, "Sky: it is", " blue", " black"),
    ],
)
def test_forms_of_a_pair(load, row, prompt, chosen, rejected):
    (found,) = load(row).comparisons
    known = {letter: Message(**message) for letter, message in {"S": S, "U": U, "A": A}.items()}
    expected = tuple(known[letter] for letter in prompt) if set(prompt) <= set(known) else prompt
    assert (found.prompt, found.chosen, found.rejected) == (expected, chosen, rejected)


def test_ids_are_opaque_text(load):
    log = load({**PAIR, "user_id": 12}, {**PAIR, "user_id": " 012 "}, {**PAIR, "user_id": "用户"}, PAIR)
    assert [c.user for c in log.comparisons] == ["12", " 012 ", "用户", None]
    assert log.users == (" 012 ", "12", "用户")


def test_texts_are_shared(load):
    text = "a long answer " * 5
    first, second = load({**PAIR, "chosen": text}, {**PAIR, "rejected": text}).comparisons
    assert first.chosen is second.rejected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chosen": None}, "row 2: field 'chosen': found nothing, expected text"),
        ({"chosen": 3}, "row 2: field 'chosen': found 3 (int), expected text, or a list of messages"),
        ({"rejected": 3}, "row 2: field 'rejected': found 3 (int), expected text, or a list of messages"),
        ({"chosen": [A]}, "row 2: field 'rejected': found 'b' (str), expected the same form as chosen (messages)"),
        ({"chosen": 3, "rejected": 4}, "field 'chosen': found 3 (int), expected text, or a list of messages"),
        ({"prompt": ""}, "field 'prompt': found an empty text"),
        (
            {"prompt": None},
            "'prompt': found nothing, expected text, or a list of messages; or chosen and rejected that begin alike",
        ),
        ({"prompt": [U, A]}, "field 'prompt': found messages that end with the role 'assistant'"),
        (
            {"prompt": [{"role": "poet", "content": "x"}]},
            "field 'prompt[0].role': found 'poet' (str), expected one of system",
        ),
        ({"prompt": [{"role": "user", "content": None}]}, "field 'prompt[0].content': found nothing, expected text"),
        ({"prompt": ["Hi"]}, "field 'prompt[0]': found 'Hi' (str), expected a message {role, content}"),
        ({"chosen": [A, U, A], "rejected": [B]}, "field 'chosen': found 3 messages (assistant, user, assistant)"),
        ({"prompt": None, "chosen": [A], "rejected": [B]}, "field 'prompt': found no message before the responses"),
        ({"prompt": [U], "chosen": [U], "rejected": [A]}, "field 'chosen': found 1 messages (user)"),
        ({"chosen": []}, "expected the same form as chosen (messages)"),
        ({"user_id": 1.0}, "field 'user_id': found 1.0 (float), expected a string or an integer (integers with gaps"),
        ({"user_id": True}, "field 'user_id': found True (bool), expected a string or an integer"),
        ({"user_id": ""}, "field 'user_id': found an empty text"),
        ({"user_text": 5}, "field 'user_text': found 5 (int), expected text"),
        ({"weight": -1}, "field 'weight': found -1 (int), expected a number that is not negative"),
        ({"weight": "much"}, "field 'weight': found 'much' (str), expected a number"),
        ({"weight": float("inf")}, "field 'weight': found inf (float), expected a number"),
        ({"timestamp": "yesterday"}, "field 'timestamp': found 'yesterday' (str), expected a time in ISO 8601"),
        ({"timestamp": 12345}, "field 'timestamp': found 12345 (int), expected a time in ISO 8601"),
        (
            {"timestamp": "0001-01-01T00:00:00+05:00"},
            "found '0001-01-01T00:00:00+05:00' (str), expected a time in the years",
        ),
        ({"timestamp": "9999-12-31T23:59:59-05:00"}, "field 'timestamp': found '9999-12-31T23:59:59-05:00' (str)"),
        ({"weight": 10**400}, "field 'weight': found 1000000000"),
        ({"weight": 10**400}, "… (int), expected a number that a float can hold"),
        ({"responses": ["x", "y"]}, "field 'responses': found ['x', 'y'] (list), expected nothing beside chosen and"),
        ({"responses": ["x", "y"], "rejected": None}, "expected nothing beside chosen and rejected"),
        ({"tie": "maybe"}, "field 'tie': found 'maybe' (str), expected true or false"),
        ({"first_shown": "left"}, "field 'first_shown': found 'left' (str), expected 'chosen' or 'rejected'"),
        (
            {"chosen": "half \ud800"},
            "field 'chosen': found half a surrogate pair at character 6, expected valid Unicode",
        ),
    ],
)
def test_bad_rows(load, tmp_path, change, message):
    with pytest.raises(DataError) as caught:
        load(PAIR, {**PAIR, **change})
    assert str(caught.value).startswith(f"{tmp_path / 'log.jsonl'}, row 2: ")
    assert message in str(caught.value)
    log = load(PAIR, {**PAIR, **change}, PAIR, on_bad_row="skip")
    assert [c.id for c in log.comparisons] == ["1", "3"]
    assert log.notes.skipped == 1 and message in log.notes.bad_rows[0]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"better": 3}, "row 2: field 'better' (read as chosen): found 3 (int), expected text, or a list of messages."),
        ({"better": None}, "row 2: field 'better' (read as chosen): found nothing, expected text"),
        ({"worse": [A]}, "field 'worse' (read as rejected): found [{"),
        ({"worse": [A]}, "expected the same form as better (text)"),
        (
            {"q": None},
            "field 'q' (read as prompt): found nothing, expected text, or a list of messages; or better and worse",
        ),
        ({"q": ["Hi"]}, "field 'q[0]' (read as prompt): found 'Hi' (str)"),
        ({"who": True}, "field 'who' (read as user_id): found True (bool)"),
        (
            {"responses": ["`x`", "y"]},
            "field 'responses': found ['`x`', 'y'] (list), expected nothing beside better and",
        ),
        ({"nr": 1}, "field 'nr' (read as id): found '1' a second time"),
        (
            {"nr": "1:1>2"},
            "field 'nr' (read as id): found '1:1>2', expected an id that does not read like one of a pair",
        ),
        ({"tie": "maybe"}, "field 'tie': found 'maybe' (str)"),
    ],
)
def test_bad_rows_are_told_by_the_names_of_the_file(load, row, message):
    columns = {"prompt": "q", "chosen": "better", "rejected": "worse", "user_id": "who", "id": "nr"}
    good = {"q": "?", "better": "a", "worse": "b", "who": "ann", "nr": 1}
    with pytest.raises(DataError) as caught:
        load(good, {**good, "nr": 2, **row}, columns=columns)
    assert message in str(caught.value)


def test_a_named_column_that_is_missing_is_told_with_what_it_stands_for(load):
    with pytest.raises(DataError, match=r"no column 'best' \(to be read as chosen\); found the columns"):
        load(PAIR, columns={"chosen": "best"})


def test_nothing_but_bad_rows(load):
    with pytest.raises(DataError, match="none of 2 rows could be used; the first"):
        load({"prompt": 1}, {}, on_bad_row="skip")


def test_missing_column_names_what_is_there(load, tmp_path):
    row = {"prompt": "p", "chosn": "a", "rejected": "b"}
    with pytest.raises(DataError) as caught:
        load(row)
    assert "row 1: no column 'chosen'; found the columns chosn, prompt, rejected; " in str(caught.value)
    assert str(caught.value).endswith("--set data.columns.chosen=chosn")  # skipping would not help here
    assert load(row, columns={"chosen": "chosn"}).comparisons[0].chosen == "a"
    (tmp_path / "a.csv").write_text("prompt,preferred,rejected\np,a,b\n")
    with pytest.raises(DataError, match=r"a\.csv: no column 'chosen'.*--set data\.columns\.chosen=preferred"):
        load_comparisons(tmp_path / "a.csv")
    with pytest.raises(DataError, match=r"a\.csv: no column 'votr' \(to be read as user_id\); found the columns"):
        load_comparisons(tmp_path / "a.csv", columns={"chosen": "preferred", "user_id": "votr"})


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"prompt": "p", "chosen": "a"},
            "field 'rejected': found no 'rejected' in the row (chosen, prompt), expected text",
        ),
        (
            {"prompt": "p", "chosen": "a", "rejcted": "b"},
            "no 'rejected' in the row (chosen, prompt, rejcted), expected",
        ),
        (
            {"chosen": "a", "rejected": "b"},
            "field 'prompt': found nothing, expected text, or a list of messages; or chosen",
        ),
        (
            {"prompt": "p", "completion": "a"},
            "field 'label': found no 'label' in the row (completion, prompt), expected",
        ),
        ({"prompt": "p", "responses": None}, "no 'chosen' in the row (prompt, responses)"),
        ({"responses": ["a", "b"]}, "field 'prompt': found no 'prompt' in the row (responses), expected text"),
    ],
)
def test_a_later_row_without_a_column_is_a_bad_row(load, row, message):
    """No option is told that would rename a column which the rows before it have."""
    with pytest.raises(DataError) as caught:
        load(PAIR, row, PAIR)
    assert "row 2: " in str(caught.value) and message in str(caught.value)
    assert str(caught.value).endswith("--on-bad-row skip (data.on_bad_row)") and "--set" not in str(caught.value)
    assert [c.id for c in load(PAIR, row, PAIR, on_bad_row="skip").comparisons] == ["1", "3"]


def test_renamed_optional_column_must_exist(load):
    with pytest.raises(DataError, match=r"no column 'workr' .*; found .* --set data\.columns\.user_id=worker"):
        load({**PAIR, "worker": "w"}, columns={"user_id": "workr"})


def test_a_log_without_users_says_so(load):
    log = load({**PAIR, "worker": "w"})
    assert log.notes.without_user == 1
    assert "nobody to personalise for" in log.notes.text()
    assert "--set data.columns.user_id=worker" in log.notes.text()
    assert "nobody" not in load(PAIR, {**PAIR, "user_id": "u"}).notes.text()


def test_a_bad_row_says_how_to_go_on(load):
    with pytest.raises(DataError, match=r"row 2: field 'tie': .* --on-bad-row skip \(data\.on_bad_row\)$"):
        load(PAIR, {**PAIR, "tie": 5})
    assert "--on-bad-row" not in load(PAIR, {**PAIR, "tie": 5}, on_bad_row="skip").notes.text()


def test_columns_option_is_checked(load):
    with pytest.raises(ConfigError, match="'user' is not one of our names; did you mean user_id"):
        load(PAIR, columns={"user": "worker"})


def test_own_ids(load):
    log = load({**PAIR, "id": 4, "n": "x"}, {**PAIR, "id": 4, "n": "y"}, columns={"id": "n"})
    assert [c.id for c in log.comparisons] == ["x", "y"]
    assert [c.id for c in load({**PAIR, "id": 4}, {**PAIR, "id": 4}).comparisons] == ["1", "2"]  # not unless named
    with pytest.raises(DataError, match="row 2: field 'id': found '4' a second time"):
        load({**PAIR, "id": 4}, {**PAIR, "id": 4}, columns={"id": "id"})
    with pytest.raises(DataError, match="row 1: field 'id': found nothing"):
        load({**PAIR, "id": None}, columns={"id": "id"})


def test_counts(load):
    rows = [PAIR, {**PAIR, "chosen": "b"}, {**PAIR, "tie": True}, {**PAIR, "rejected": " \n"}, {**PAIR, "user_id": "u"}]
    notes = load(*rows).notes
    assert (notes.comparisons, notes.equal, notes.ties, notes.empty, notes.without_user) == (5, 1, 1, 1, 4)
    assert "not trained on: 1 ties, 1 with equal responses, 1 with an empty response" in notes.text()


def test_ranking_in_order(load):
    log = load({"prompt": "p", "responses": ["a", "b", "c"], "user_id": "u", "weight": 6})
    assert [(c.chosen, c.rejected, c.id) for c in log.comparisons] == [
        ("a", "b", "1:1>2"),
        ("a", "c", "1:1>3"),
        ("b", "c", "1:2>3"),
    ]
    assert [c.weight for c in log.comparisons] == [2.0, 2.0, 2.0]  # 6 shared by 3 pairs
    assert {ranking_of(c) for c in log.comparisons} == {"1"} and ranking_of(load(PAIR).comparisons[0]) is None
    assert {c.user for c in log.comparisons} == {"u"} and not any(c.tie for c in log.comparisons)
    assert (log.notes.rows, log.notes.rankings, log.notes.comparisons) == (1, 1, 3)
    assert "1 of the rows are rankings" in log.notes.text()


def test_ranking_by_scores(load):
    row = {"prompt": [U], "responses": ["low", [A], B, "low too"], "scores": [1, 9.5, 4, 1]}
    log = load(row, rankings="comparison")
    votes = {(c.chosen, c.rejected): (c.tie, c.weight) for c in log.comparisons}
    assert votes == {
        ("Yo", "low"): (False, 1.0),
        ("Hm", "low"): (False, 1.0),
        ("low", "low too"): (True, 1.0),
        ("Yo", "Hm"): (False, 1.0),
        ("Yo", "low too"): (False, 1.0),
        ("Hm", "low too"): (False, 1.0),
    }
    assert log.comparisons[0].id == "1:2>1"
    shared = load(row).comparisons
    assert sum(c.weight for c in shared) == pytest.approx(1.0)


@pytest.mark.parametrize("n", [2, 3, 5, 8])
def test_a_ranking_is_one_judgement(load, n):
    comparisons = load({"prompt": "p", "responses": [str(i) for i in range(n)]}).comparisons
    assert len(comparisons) == n * (n - 1) // 2
    assert sum(c.weight for c in comparisons) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"responses": ["a"]}, "field 'responses': found ['a'] (list), expected a list of at least two responses"),
        ({"responses": "a b"}, "expected a list of at least two responses"),
        ({"responses": ["a", 3]}, "field 'responses[1]': found 3 (int), expected text, or a list of messages"),
        ({"responses": ["a", [U]]}, "field 'responses[1]': found messages of user"),
        ({"responses": ["a", "b"], "scores": [1]}, "field 'scores': found [1] (list), expected a list of 2 numbers"),
        ({"responses": ["a", "b"], "scores": [1, None]}, "field 'scores[1]': found nothing, expected a number"),
        ({"responses": ["a", "b"], "tie": True}, "field 'tie': found True (bool), expected nothing in a ranking"),
        ({"responses": ["a", "b"], "prompt": None}, "field 'prompt': found nothing"),
    ],
)
def test_bad_rankings(load, row, message):
    with pytest.raises(DataError) as caught:
        load({"prompt": "p", **row})
    assert message in str(caught.value)


def test_ranking_in_csv(tmp_path):
    (tmp_path / "a.csv").write_text('prompt,responses,scores\np,"[""x"", ""y""]","[1, 2]"\n')
    (found,) = load_comparisons(tmp_path / "a.csv").comparisons
    assert (found.chosen, found.rejected) == ("y", "x")


def test_ranking_in_csv_beside_the_columns_of_pairs(tmp_path):
    header = "prompt,chosen,rejected,responses,user_id\n"
    ranking = '"[""x"",""y"",""z""]"'
    (tmp_path / "a.csv").write_text(f"{header}q,,,{ranking},u1\nq,a,,,u2\n")
    log = load_comparisons(tmp_path / "a.csv")
    assert [(c.chosen, c.rejected, c.user) for c in log.comparisons] == [
        ("x", "y", "u1"),
        ("x", "z", "u1"),
        ("y", "z", "u1"),
        ("a", "", "u2"),
    ]
    assert log.notes.rankings == 1
    for cells in ("a,b", "a,", ",b"):
        (tmp_path / "b.csv").write_text(f"{header}q,{cells},{ranking},u1\n")
        with pytest.raises(
            DataError, match=r"row 1: field 'responses': found \['x', 'y', 'z'\] \(list\), expected nothing"
        ):
            load_comparisons(tmp_path / "b.csv")


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
@pytest.mark.parametrize("row", [["", "It is good", "It is bad", ""], ["", "", "", '["x", "y"]']])
def test_an_empty_prompt_cell_is_a_bad_row(tmp_path, suffix, row):
    """No prompt is invented where the file has a column of prompts with a gap in it."""
    path = tmp_path / f"a.{suffix}"
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t" if suffix == "tsv" else ",")
        writer.writerows([["question", "chosen", "rejected", "responses"], ["p", "a", "b", ""], row])
    columns = {"prompt": "question"}
    with pytest.raises(DataError, match=r"'question' \(read as prompt\): found an empty cell, .*--on-bad-row"):
        load_comparisons(path, columns=columns)
    log = load_comparisons(path, columns=columns, on_bad_row="skip")
    assert [c.prompt for c in log.comparisons] == ["p"] and log.notes.skipped == 1


def test_a_csv_without_a_column_of_prompts_has_implicit_ones(tmp_path):
    (tmp_path / "a.csv").write_text("chosen,rejected\nSky: it is blue,Sky: it is black\n")
    log = load_comparisons(tmp_path / "a.csv")
    assert (log.comparisons[0].prompt, log.notes.implicit) == ("Sky: it is", 1)


def test_implicit_prompts_are_counted(load):
    text = {"chosen": "Sky: it is blue", "rejected": "Sky: it is black"}
    log = load(PAIR, text, {**text, "prompt": None}, {"chosen": [U, A], "rejected": [U, B]}, RANKING)
    assert log.notes.implicit == 3
    assert "; 3 prompts taken from what both responses begin with" in log.notes.text()
    skipped = load(PAIR, {**text, "weight": "much"}, on_bad_row="skip")
    assert skipped.notes.implicit == 0 and "begin with" not in skipped.notes.text()


def test_csv_cells(tmp_path):
    header = "prompt,chosen,rejected,tie,weight,user_id,timestamp\n"
    (tmp_path / "a.csv").write_text(header + "p,[1] see,,Yes,2.5,007,2025-01-01\np,a,b,0,,,\n")
    first, second = load_comparisons(tmp_path / "a.csv").comparisons
    assert (first.chosen, first.rejected, first.tie, first.weight, first.user) == ("[1] see", "", True, 2.5, "007")
    assert first.timestamp.isoformat() == "2025-01-01T00:00:00+00:00"
    assert (second.tie, second.weight, second.user, second.timestamp) == (False, 1.0, None, None)
    for cell, message in {
        "maybe,1": "field 'tie': found 'maybe'",
        "true,heavy": "field 'weight': found 'heavy'",
    }.items():
        (tmp_path / "b.csv").write_text(header + f"p,a,b,{cell},,\n")
        with pytest.raises(DataError, match=message):
            load_comparisons(tmp_path / "b.csv")


def test_config_and_keywords_agree(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"prompt": "p", "responses": ["a", "b", "c"]}))
    by_config = load_comparisons(DataConfig(source=str(path), rankings="comparison"))
    assert by_config.comparisons == load_comparisons(path, rankings="comparison").comparisons
    assert by_config.comparisons[0].weight == 1.0


def test_a_bad_row_leaves_no_file_open(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"prompt": 3}\n{"prompt": 4}\n')
    table = open_table(tmp_path / "a.jsonl")
    with pytest.raises(DataError):
        convert(table)
    assert next(table.rows, None) is None


@pytest.mark.parametrize("role", ROLES)
def test_every_role_of_a_message_is_read(tmp_path, role):
    prompt = [{"role": role, "content": "c"}, {"role": "user", "content": "q"}]
    (tmp_path / "a.jsonl").write_text(json.dumps({"prompt": prompt, "chosen": "a", "rejected": "b"}))
    (found,) = load_comparisons(tmp_path / "a.jsonl").comparisons
    assert found.prompt == (Message(role, "c"), Message("user", "q"))
    assert "developer" in ROLES  # of newer chat models
