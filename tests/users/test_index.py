"""The user index: rows, counts, growth, files, and its cost for a million users."""

import time
import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from prlhf.errors import CheckpointError, DataError
from prlhf.users.index import UserIndex

ODD = ["", "a", "ä", "a\u0308", " ", "\x00", "A", "generic", "0", "None", "😀", "\ud800", "\udfff x", "z" * 5000]


def test_rows_follow_first_appearance_and_row_zero_is_the_generic_user():
    index = UserIndex.from_ids(["bob", "ann", None, "bob", "cid"])
    assert len(index) == 3
    assert index.rows(["cid", "ann", None, "bob", "dan"]).tolist() == [3, 2, 0, 1, 0]
    assert index.known(["cid", None, "dan"]).tolist() == [True, True, False]
    assert index.ids([2, 0, 1]) == ["ann", None, "bob"]
    assert index.ids() == ["bob", "ann", "cid"]


def test_every_string_is_an_id_of_its_own(tmp_path):
    index = UserIndex.from_ids(ODD)
    index.save(tmp_path / "users.parquet")
    for it in (index, UserIndex.load(tmp_path / "users.parquet")):
        assert it.rows(ODD).tolist() == list(range(1, len(ODD) + 1))
        assert [int(it.rows([i])[0]) for i in ODD] == list(range(1, len(ODD) + 1))
        assert it.ids() == ODD
        assert not it.known(["missing", "\ud801"]).any()


def test_ids_are_ordered_by_their_utf8_bytes_in_the_file(tmp_path):
    UserIndex.from_ids(["ä", "z", "Z", ""]).save(tmp_path / "u.parquet")
    table = pq.read_table(tmp_path / "u.parquet")
    assert table.column_names == ["id", "row", "n_comparisons", "version"]
    assert table["id"].to_pylist() == [None, "", "Z", "z", "ä"]
    assert table["row"].to_pylist() == [0, 4, 3, 2, 1]


def test_binary_search_and_hash_lookup_agree():
    ids = [f"user-{i * 7919 % 5000}" for i in range(5000)]
    index = UserIndex.from_ids(ids)
    asked = [*ids[:200], None, "", "user-", "user-9", "zzz", "user-99999"]
    bulk = index.rows(asked)
    assert bulk.tolist() == [int(index.rows([i])[0]) for i in asked]
    assert index.known(asked).tolist() == [bool(index.known([i])[0]) for i in asked]


def test_empty_index():
    index = UserIndex.from_ids([])
    assert len(index) == 0
    assert index.rows(["a", None]).tolist() == [0, 0]
    assert index.known(["a", None]).tolist() == [False, True]
    assert index.ids([0]) == [None] and index.ids() == []
    assert index.rows([]).shape == (0,)


def test_counts_and_versions():
    index = UserIndex.from_ids(["a", "b"], counts=[4, 5])
    assert index.counts.tolist() == [0, 4, 5]
    assert index.versions.tolist() == [1, 1, 1]
    assert index.counted(["b", "b", None, "x", "a"]).counts.tolist() == [2, 1, 2]
    assert index.counts.tolist() == [0, 4, 5], "the index itself does not change"
    with pytest.raises(DataError, match="2 counts for 2 ids of which 1 differ"):
        UserIndex.from_ids(["a", "a"], counts=[1, 2])


def test_add_keeps_all_other_rows():
    index = UserIndex.from_ids(["m", "c"], counts=[3, 1])
    bigger, rows = index.add(["z", "c", "a", None, "z"])
    assert rows.tolist() == [3, 4]
    assert bigger.ids() == ["m", "c", "z", "a"]
    assert bigger.counts.tolist() == [0, 3, 1, 0, 0]
    assert bigger.rows(["a", "c", "m", "z"]).tolist() == [4, 2, 1, 3]
    assert len(index) == 2 and not index.known(["z"]).any()


def test_save_load_identity_and_saving_over_the_file_it_came_from(tmp_path):
    path = tmp_path / "users.parquet"
    UserIndex.from_ids(["b", "a", "c"], counts=[1, 2, 3]).save(path)
    loaded = UserIndex.load(path)
    loaded.save(path)
    again = UserIndex.load(path)
    assert again.ids() == ["b", "a", "c"] and again.counts.tolist() == [0, 1, 2, 3]
    assert [p.name for p in tmp_path.iterdir()] == ["users.parquet"]


def test_the_table_is_read_at_the_first_lookup(tmp_path):
    path = tmp_path / "users.parquet"
    UserIndex.from_ids(["b", "a"]).save(path)
    index = UserIndex.load(path)
    assert len(index) == 2
    path.unlink()
    with pytest.raises(CheckpointError, match=r"users\.parquet cannot be read"):
        index.rows(["a"])


def test_plain_string_columns_of_other_writers_are_read(tmp_path):
    table = pa.table({"id": [None, "a", "b"], "row": [0, 2, 1], "n_comparisons": [0, 1, 2], "version": [1, 1, 1]})
    pq.write_table(table, tmp_path / "u.parquet")
    assert UserIndex.load(tmp_path / "u.parquet").rows(["b", "a"]).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("ids", "rows", "message"),
    [
        ([None, "b", "a"], [0, 1, 2], "not sorted"),
        ([None, "a", "a"], [0, 1, 2], "stands there twice"),
        ([None, "a", "b"], [0, 1, 1], "each of 1 to 2 once"),
        (["", "a", "b"], [0, 1, 2], "null id"),
        ([None, "a", "b"], [1, 0, 2], "not 0"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, ids, rows, message):
    table = pa.table({"id": ids, "row": rows, "n_comparisons": [0, 0, 0], "version": [1, 1, 1]})
    pq.write_table(table, tmp_path / "u.parquet")
    with pytest.raises(CheckpointError, match=message):
        UserIndex.load(tmp_path / "u.parquet").rows(["a"])


def test_what_is_no_index_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="cannot be read"):
        UserIndex.load(tmp_path / "missing.parquet")
    (tmp_path / "text.parquet").write_text("no parquet")
    with pytest.raises(CheckpointError, match="cannot be read"):
        UserIndex.load(tmp_path / "text.parquet")
    pq.write_table(pa.table({"id": pa.array([], pa.string())}), tmp_path / "empty.parquet")
    with pytest.raises(CheckpointError, match="no row for the generic user"):
        UserIndex.load(tmp_path / "empty.parquet")
    pq.write_table(pa.table({"name": ["a", "b"]}), tmp_path / "other.parquet")
    with pytest.raises(CheckpointError, match="cannot be read"):
        UserIndex.load(tmp_path / "other.parquet").rows(["a"])


def test_wrong_arguments_say_what_is_wrong():
    index = UserIndex.from_ids(["a"])
    with pytest.raises(DataError, match=r"write \['a'\]"):
        index.rows("a")
    with pytest.raises(DataError, match="user ids are strings"):
        index.rows([3])
    for row in (2, -1):
        with pytest.raises(DataError, match=f"row {row} is not in the user index"):
            index.ids([row])


def test_a_million_users_cost_no_python_objects(tmp_path):
    m = 1_000_000
    ids = pc.binary_join_element_wise("user", pc.cast(pa.array(np.arange(m)), pa.string()), "-")  # 10-11 bytes each
    tracemalloc.start()
    before, start = pa.total_allocated_bytes(), time.perf_counter()
    index = UserIndex.from_ids(ids)
    rows = index.rows(ids)
    seconds, arrow = time.perf_counter() - start, pa.total_allocated_bytes() - before
    python = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert np.array_equal(rows, np.arange(1, m + 1))
    assert python < 50e6  # four int64 arrays of 8 MB; a million Python strings alone take 60 MB
    assert arrow < 40e6
    assert seconds < 20  # about 1.5 on one slow core
    start = time.perf_counter()
    for i in range(0, m, m // 200):
        assert index.rows([f"user-{i}"])[0] == i + 1
    assert (time.perf_counter() - start) / 200 < 0.01  # a lookup of one does not scan all
    index.save(tmp_path / "users.parquet")
    assert UserIndex.load(tmp_path / "users.parquet").rows(["user-999999"]).tolist() == [m]


def test_some_rows_alone_are_a_table_to_look_up_in(tmp_path):
    index = UserIndex.from_ids(["b", "a", "c"], counts=[7, 8, 9])
    index.save(tmp_path / "some.parquet", [3, 0, 1])
    assert pq.read_table(tmp_path / "some.parquet").to_pylist() == [
        {"id": None, "row": 0, "n_comparisons": 0, "version": 1},
        {"id": "b", "row": 1, "n_comparisons": 7, "version": 1},
        {"id": "c", "row": 3, "n_comparisons": 9, "version": 1},
    ]
