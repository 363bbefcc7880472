"""Every format gives the same comparisons, and every broken file says where it is broken."""

import csv
import json
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from prlhf.config import DataConfig
from prlhf.data import load_comparisons
from prlhf.errors import ConfigError, DataError
from prlhf.types import Message

ROWS = [
    {
        "prompt": "Name a colour, please.",
        "chosen": "Blue,\nlike the “sky” 🌤",
        "rejected": "[none]",
        "user_id": "Zoë\u2028/7",
        "user_text": "likes the sea",
        "weight": 0.5,
        "timestamp": "2025-03-01T12:00:00Z",
        "tie": False,
        "first_shown": "rejected",
        "group": "g",
    },
    {
        "prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
        "chosen": [{"role": "assistant", "content": "Hello"}],
        "rejected": [{"role": "assistant", "content": ""}],
        "user_id": None,
        "user_text": None,
        "weight": None,
        "timestamp": None,
        "tie": True,
        "first_shown": None,
        "group": None,
    },
]


def check(log):
    """Both rows as they are meant, whatever the format."""
    first, second = log.comparisons
    assert (first.prompt, first.chosen) == ("Name a colour, please.", "Blue,\nlike the “sky” 🌤")
    assert first.rejected == "[none]"
    assert (first.user, first.user_text, first.weight) == ("Zoë\u2028/7", "likes the sea", 0.5)
    assert first.timestamp == datetime(2025, 3, 1, 12, tzinfo=UTC)
    assert (first.tie, first.first_shown, first.group) == (False, "rejected", "g")
    assert second.prompt == (Message("system", "Be brief."), Message("user", "Hi"))
    assert (second.chosen, second.rejected, second.user, second.weight) == ("Hello", "", None, 1.0)
    assert (second.tie, second.timestamp, second.user_text) == (True, None, None)
    assert [c.id for c in log.comparisons] == ["1", "2"]
    assert (log.notes.ties, log.notes.empty, log.notes.without_user, log.notes.rows) == (1, 1, 1, 2)


def write_csv(path, rows, delimiter=","):
    with path.open("w", newline="", encoding="utf8") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(rows[0])
        for row in rows:
            cells = [json.dumps(v) if isinstance(v, list) else "" if v is None else v for v in row.values()]
            writer.writerow(cells)


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "lines.json", "list.json", "pretty.json", "a.csv", "a.tsv"])
def test_text_formats_round_trip(tmp_path, name):
    path = tmp_path / name
    if path.suffix in (".jsonl", ".ndjson") or name == "lines.json":
        path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS) + "\n", encoding="utf8")
    elif path.suffix == ".json":
        path.write_text(json.dumps(ROWS, indent=2 if name == "pretty.json" else None), encoding="utf-8-sig")
    else:
        write_csv(path, ROWS, "\t" if path.suffix == ".tsv" else ",")
    check(load_comparisons(path))


def test_parquet_round_trip(tmp_path):
    standard, conversation = ROWS
    times = pa.array([datetime(2025, 3, 1, 13, tzinfo=UTC)], pa.timestamp("ns", tz="UTC"))
    table = pa.Table.from_pylist([standard]).drop(["timestamp"]).append_column("timestamp", times)
    pq.write_table(table, tmp_path / "a.parquet")
    found = load_comparisons(tmp_path / "a.parquet").comparisons[0]
    assert (found.chosen, found.weight, found.timestamp) == (
        standard["chosen"],
        0.5,
        datetime(2025, 3, 1, 13, tzinfo=UTC),
    )
    assert type(found.timestamp) is datetime
    pq.write_table(pa.Table.from_pylist([conversation]), tmp_path / "b.parquet")
    assert load_comparisons(tmp_path / "b.parquet").comparisons[0].chosen == "Hello"


def test_formats_share_the_fingerprint(tmp_path):
    (tmp_path / "a.jsonl").write_text("\n\n".join(json.dumps(row) for row in ROWS))  # blank lines shift the row numbers
    write_csv(tmp_path / "a.csv", ROWS)
    a, b = load_comparisons(tmp_path / "a.jsonl"), load_comparisons(tmp_path / "a.csv")
    assert [c.id for c in a.comparisons] == ["1", "3"]
    assert a.fingerprint == b.fingerprint
    (tmp_path / "a.jsonl").write_text(json.dumps({**ROWS[0], "user_id": "somebody"}))
    assert load_comparisons(tmp_path / "a.jsonl").fingerprint != a.fingerprint


GOOD = '{"prompt": "p", "chosen": "a", "rejected": "b"}'


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.jsonl", f"{GOOD}\n\n{{oops\n", "row 3: found no JSON"),
        ("a.jsonl", f"{GOOD}\n[1]\n", "row 2: found a JSON list, expected a JSON object"),
        ("a.jsonl", b'{"prompt": "\xff"}', "row 1: found a byte that is not UTF-8"),
        ("a.jsonl", "\n \n", "no rows; expected at least one comparison"),
        ("a.json", f"[\n{GOOD},\n{{oops}}\n]", "line 3, column 2: not JSON"),
        ("a.json", f"[\n{GOOD}\n{GOOD}]", 'line 3: found \'{"prompt": "p", "cho\' after row 1, expected a comma'),
        ("a.json", f"[\n{GOOD}", "found the end of the file after row 1"),
        ("a.json", f"[{GOOD}]\nx", "line 2: found 'x' after the list"),
        ("a.json", '"text"', "expected a list of objects"),
        ("a.json", f"[{GOOD}, {'[' * 200_000}", "line 1: lists within lists too deep to be read, after 1 good rows"),
        ("a.json", "[3]", "row 1: found a JSON number, expected a JSON object"),
        ("a.json", b"[\n\xff]", "line 2: found a byte that is not UTF-8"),
        ("a.csv", "", "empty, expected a header line"),
        ("a.csv", "prompt,prompt\n", "names a column twice: prompt"),
        ("a.csv", "prompt,chosen,rejected\np,a,b\np,a\n", "row 2: found 2 cells, expected 3 as in the header"),
        ("a.csv", b"prompt,chosen,rejected\np,caf\xc3\xa9,\xe9\n", "line 2: found a byte that is not UTF-8"),
        ("a.csv", b"prompt,chosen,rejected\np,a,\xff\n", "iconv -f WINDOWS-1252 -t UTF-8 a.csv > utf8.csv"),
        ("a.csv", "prompt,chosen,rejected\n".encode("utf-16"), "line 1: found a byte that is not UTF-8"),
        ("a.csv", "prompt,chosen,rejected\n".encode("utf-16"), "iconv -f UTF-16 -t UTF-8 a.csv > utf8.csv"),
        ("a.csv", 'prompt,chosen,rejected\np,a,"b\n', "after line 2: not CSV (unexpected end of data)"),
        ("a.csv", "prompt;chosen;rejected\np;a, b;c\n", "looks separated by ';' (the header is 'prompt;chosen;rejec"),
        ("a.csv", "prompt\tchosen\trejected\np\ta\tb\n", "looks separated by tabs"),
        ("a.csv", "prompt;chosen\n", "expected commas: commas in .csv, tabs in .tsv"),
        ("a.tsv", "prompt,chosen,rejected\np,a,b\n", "looks separated by commas"),
        ("a.parquet", "PAR1 no", "not a Parquet file"),
        ("a.txt", "", "unknown suffix '.txt'; expected one of .jsonl"),
    ],
)
def test_broken_files(tmp_path, name, text, message):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError) as caught:
        load_comparisons(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_bad_lines_can_be_skipped(tmp_path):
    (tmp_path / "a.jsonl").write_text(f"{GOOD}\noops\n{GOOD}\n[]\n")
    log = load_comparisons(tmp_path / "a.jsonl", on_bad_row="skip")
    assert [c.id for c in log.comparisons] == ["1", "3"]
    assert (log.notes.skipped, log.notes.rows) == (2, 4)
    assert "row 2" in log.notes.bad_rows[0] and "row 4" in log.notes.bad_rows[1]
    assert "2 bad rows were skipped" in log.notes.text()


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_integers_of_any_length(tmp_path, name):
    """Python reads no more than 4,300 digits; only a row that needs the number is a bad one."""
    rows = [f'{GOOD[:-1]}, "{field}": {"7" * 5000}}}' for field in ("other", "weight", "user_id")] + ["7" * 5000]
    (tmp_path / name).write_text("\n".join(rows) if name == "a.jsonl" else f"[{','.join(rows)}]")
    log = load_comparisons(tmp_path / name, on_bad_row="skip")
    assert [c.id for c in log.comparisons] == ["1"] and log.notes.skipped == 3
    weight, user, whole = log.notes.bad_rows
    assert (
        "row 2: field 'weight': found 77777777777777777777… of 5,000 digits (LongInteger), expected a number" in weight
    )
    assert "row 3: field 'user_id': found 7777" in user and "row 4: found a JSON number" in whole
    with pytest.raises(DataError, match="row 2: field 'weight'"):
        load_comparisons(tmp_path / name)


@pytest.mark.parametrize("kind", [pa.timestamp("ms"), pa.timestamp("us", tz="UTC"), pa.date64()])
def test_times_that_python_cannot_hold_are_bad_rows(tmp_path, kind):
    times = pa.array([0, 2**62, 0], pa.int64()).cast(kind)
    columns = {"prompt": ["p"] * 3, "chosen": ["a"] * 3, "rejected": ["b"] * 3, "timestamp": times}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    log = load_comparisons(tmp_path / "a.parquet", on_bad_row="skip")
    assert [c.id for c in log.comparisons] == ["1", "3"]
    assert "row 2: found a value that cannot be read" in log.notes.bad_rows[0]


def test_long_cells_are_read(tmp_path):
    write_csv(tmp_path / "a.csv", [{"prompt": "p", "chosen": "a" * 200_000, "rejected": "b"}])
    assert len(load_comparisons(tmp_path / "a.csv").comparisons[0].chosen) == 200_000


def test_only_the_columns_that_are_needed_are_read(tmp_path):
    pq.write_table(
        pa.table({"prompt": ["p"], "chosen": ["a"], "rejected": ["b"], "big": ["x"]}), tmp_path / "a.parquet"
    )
    from prlhf.data.readers import open_table

    table = open_table(tmp_path / "a.parquet", {"prompt", "chosen", "rejected"})
    assert table.columns == ("prompt", "chosen", "rejected", "big")
    assert list(table.rows) == [(1, {"prompt": "p", "chosen": "a", "rejected": "b"})]


def test_a_file_has_no_options(tmp_path):
    (tmp_path / "a.jsonl").write_text(GOOD)
    with pytest.raises(ConfigError, match="a file has no option top"):
        load_comparisons(tmp_path / "a.jsonl", top=3)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("missing.jsonl", "no file at missing.jsonl; expected a file, a folder, a source"),
        ("data/missing.csv", "no file at data/missing.csv"),
        ("convarq", "did you mean convarg?"),
    ],
)
def test_sources_that_do_not_exist(source, message):
    with pytest.raises(DataError) as caught:
        load_comparisons(DataConfig(source=source))
    assert message in str(caught.value)
