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


def test_the_table_is_read_at_a_lookup_and_outlives_its_name(tmp_path):
    path = tmp_path / "users.parquet"
    UserIndex.from_ids(["b", "a"]).save(path)
    index = UserIndex.load(path)
    assert len(index) == 2
    path.unlink()
    assert index.rows(["a", "b"]).tolist() == [2, 1]


@pytest.fixture
def in_groups(tmp_path, monkeypatch):
    """An index file of 50 row groups with ids that are no ASCII, and the rows of its users."""
    monkeypatch.setattr("prlhf.users.index.GROUP", 4)
    ids = [f"ü{i * 7919 % 199}" for i in range(199)]
    UserIndex.from_ids(ids, counts=range(199)).save(tmp_path / "users.parquet")
    assert pq.read_metadata(tmp_path / "users.parquet").num_row_groups == 50
    return tmp_path / "users.parquet", {i: row for row, i in enumerate(ids, start=1)}


def test_few_ids_are_looked_up_on_disk_as_in_memory(in_groups):
    path, rows = in_groups
    for i, row in rows.items():
        index = UserIndex.load(path)
        assert index.rows([i, None, i + "x"]).tolist() == [row, 0, 0]
        assert index.known([i, None, "", "zzz", "\ud800"]).tolist() == [True, True, False, False, False]
    assert index.rows(list(rows)).tolist() == list(rows.values())  # of all: from memory
    assert index.counts.tolist() == [0, *range(199)]


def test_a_lookup_reads_only_the_row_groups_that_it_needs(in_groups):
    path, rows = in_groups
    first, *_, last = sorted(rows)
    whole = bytearray(path.read_bytes())
    footer = pq.read_metadata(path)
    end = footer.row_group(footer.num_row_groups - 1).column(0).dictionary_page_offset
    end = end or footer.row_group(footer.num_row_groups - 1).column(0).data_page_offset
    whole[footer.row_group(0).column(3).data_page_offset : end] = bytes(
        end - footer.row_group(0).column(3).data_page_offset
    )  # all groups between the first and the last
    path.write_bytes(whole)
    index = UserIndex.load(path)
    assert index.rows([first, last]).tolist() == [rows[first], rows[last]]
    with pytest.raises(CheckpointError, match="cannot be read"):
        index.rows([sorted(rows)[100]])
    with pytest.raises(CheckpointError, match="cannot be read"):
        UserIndex.load(path).rows(list(rows))


def test_after_as_many_lookups_as_row_groups_all_is_in_memory(in_groups):
    path, rows = in_groups
    index, asked = UserIndex.load(path), list(rows)
    for i in asked[:50]:
        assert index.rows([i])[0] == rows[i]
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))  # the mapping sees it; what is in memory does not
    assert index.rows([asked[60]])[0] == rows[asked[60]]


def test_a_row_group_out_of_order_is_refused(tmp_path):
    ids, rows = [None, "a", "c", "b", "d", "e"], [0, 1, 2, 3, 4, 5]
    for wrong, message in ((rows, "not sorted"), ([0, 1, 2, 9, 4, 5], "rows of no user")):
        held = ids if wrong is rows else sorted(ids, key=lambda i: i or "")
        table = pa.table({"id": held, "row": wrong, "n_comparisons": [0] * 6, "version": [1] * 6})
        pq.write_table(table, tmp_path / "u.parquet", row_group_size=2 if wrong is not rows else 4)
        with pytest.raises(CheckpointError, match=message):
            UserIndex.load(tmp_path / "u.parquet").rows(["b"])


def test_files_without_statistics_are_read_whole(in_groups, tmp_path):
    path, rows = in_groups
    pq.write_table(pq.read_table(path), tmp_path / "bare.parquet", row_group_size=4, write_statistics=False)
    index = UserIndex.load(tmp_path / "bare.parquet")
    assert [int(index.rows([i])[0]) for i in rows] == list(rows.values())


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
