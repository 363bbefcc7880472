import numpy as np
import pytest

from prlhf.errors import DataError
from prlhf.evaluation.scores import Scores
from prlhf.types import Comparison

LOG = [
    Comparison("q", "longer", "short", user="a", group="majority", id="1", weight=0.5),
    Comparison("q", "x", "y", user="ä\u4f60", id="2"),
    Comparison("q", "x", "", id="3"),
]


def table(**changes):
    given = {"seen": [True, False, False], "h_specific": [1.0, 2.0, 3.0], "h_generic": [-1.0, -2.0, -3.0]}
    return Scores.of(LOG, **given | changes)


def test_of_takes_everything_from_the_comparisons():
    scores = table()
    assert scores.user.tolist() == ["a", "ä\u4f60", None]
    assert scores.group.tolist() == ["majority", None, None]
    assert scores.weight.tolist() == [0.5, 1, 1]
    assert scores.chosen_chars.tolist() == [6, 1, 1]
    assert scores.rejected_chars.tolist() == [5, 1, 0]
    assert scores.ids.tolist() == ["1", "2", "3"]
    assert scores.h_permuted is None


def test_h_is_the_row_that_answers():
    assert table().h.tolist() == [1, -2, -3]


@pytest.mark.parametrize("permuted", [None, [0.25, 0.5, 0.125]])
def test_save_and_load_is_identity(tmp_path, permuted):
    scores = table(h_permuted=permuted)
    scores.save(tmp_path / "deep" / "scores.parquet")
    again = Scores.load(tmp_path / "deep" / "scores.parquet")
    for name, array in vars(scores).items():
        if array is None:
            assert getattr(again, name) is None
        else:
            assert getattr(again, name).tolist() == array.tolist()
            assert getattr(again, name).dtype == array.dtype
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["scores.parquet"]


def test_an_empty_table_can_be_saved(tmp_path):
    table().select([False, False, False]).save(tmp_path / "s.parquet")
    assert len(Scores.load(tmp_path / "s.parquet")) == 0


def test_another_parquet_file_is_refused(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"user": ["a"]}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match=r"x\.parquet: not a table of scores.*h_specific"):
        Scores.load(tmp_path / "x.parquet")


@pytest.mark.parametrize("name", ["h_specific", "h_generic", "h_permuted"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_margin_that_is_not_finite_names_its_row(name, value):
    with pytest.raises(DataError, match=rf"{name} of 1 of 3 comparisons \(ids '2'\).*row 1, expected a finite"):
        table(**{name: [0.0, value, 0.0]})


def test_unequal_lengths_are_refused():
    with pytest.raises(DataError, match=r"'h_generic': \(2,\)"):
        table(h_generic=[1.0, 2.0])


def test_a_seen_row_needs_a_user():
    with pytest.raises(DataError, match="marked as seen"):
        table(seen=[True, True, True])


def test_a_negative_weight_is_refused():
    given = vars(table()) | {"weight": [1.0, -1.0, 1.0]}
    with pytest.raises(DataError, match=r"weight.*-1\.0 in row 1"):
        Scores(**given)


def test_the_arrays_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        table().h_specific[0] = 5


def test_select_keeps_rows_aligned():
    some = table(h_permuted=[7.0, 8.0, 9.0]).select([2, 0])
    assert some.ids.tolist() == ["3", "1"]
    assert some.h_permuted.tolist() == [9, 7]
