import json
import math
import time
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from prlhf.errors import DataError
from prlhf.evaluation.metrics import Figures, PerUser, derangement, per_user, summarise
from prlhf.evaluation.scores import Scores


def table(rows, permuted=True):
    """Rows of (user, group, seen, h_specific, h_generic, h_permuted[, weight])."""
    n = len(rows)
    column = list(zip(*rows, strict=True))
    text = [np.array([*column[k], None], dtype=object)[:n] for k in (0, 1)]
    return Scores(
        user=text[0],
        group=text[1],
        weight=column[6] if len(column) > 6 else np.ones(n),
        seen=column[2],
        h_specific=column[3],
        h_generic=column[4],
        h_permuted=column[5] if permuted else None,
        chosen_chars=np.ones(n),
        rejected_chars=np.ones(n),
        ids=np.array([f"r{i}" for i in range(n)], dtype=object),
    )


ROWS = [
    ("a", "majority", True, 1.0, 1.0, -1.0),
    ("a", "majority", True, -1.0, 1.0, -1.0),
    ("a", "majority", True, 0.0, 1.0, -1.0),
    ("b", "minority", True, 2.0, -1.0, 1.0),
    ("c", "minority", False, 9.0, 1.0, 9.0),
    ("c", "minority", False, 9.0, -1.0, 9.0),
    (None, None, False, 9.0, 0.0, 9.0),
]


def test_every_figure_by_hand():
    found = summarise(table(ROWS), beta=0.5, bootstrap=0).values()
    softplus = [math.log1p(math.exp(-0.5 * h)) for h in (1, -1, 0, 2)]
    expected = {
        "accuracy_seen": (1 + 0 + 0.5 + 1) / 4,
        "accuracy_per_user": (1.5 / 3 + 1) / 2,
        "accuracy_worst_tenth": 0.5,
        "accuracy_generic": (3 + 0 + 1 + 0.5) / 7,
        "accuracy_generic_seen": 3 / 4,
        "accuracy_generic_unseen": (1 + 0 + 0.5) / 3,
        "accuracy_permuted": 1 / 4,
        "personal_gain": 2.5 / 4 - 3 / 4,
        "permutation_drop": 2.5 / 4 - 1 / 4,
        "margin_seen": 2 / 4,
        "margin_generic": (3 - 1 + 0 + 0) / 7,
        "margin_permuted": -2 / 4,
        "log_loss_seen": sum(softplus) / 4,
        "log_loss_permuted": (3 * math.log1p(math.exp(0.5)) + math.log1p(math.exp(-0.5))) / 4,
        "ties_seen": 1 / 4,
        "ties_generic": 1 / 7,
        "minority/accuracy_seen": 1.0,
        "minority/accuracy_generic_unseen": 0.5,
        "majority/accuracy_seen": 0.5,
        "majority/accuracy_generic": 1.0,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert "majority/accuracy_generic_unseen" not in found


def test_counts():
    metrics = summarise(table(ROWS), beta=0.1, bootstrap=10)
    counts = (metrics.comparisons, metrics.users, metrics.seen_users, metrics.unseen_users, metrics.nameless)
    assert counts == (7, 3, 2, 1, 1)
    assert metrics.overall.accuracy_seen.users == 2
    assert metrics.overall.accuracy_seen.comparisons == 4
    assert metrics.overall.accuracy_generic.users == 4
    assert list(metrics.groups) == ["majority", "minority"]


def test_intervals_by_hand():
    # Draws of two users: (a, a) 0.5, (a, b) 2.5/4, (b, b) 1; a quarter, a half, a quarter of them.
    overall = summarise(table(ROWS), beta=0.1, bootstrap=400, seed=3).overall
    assert (overall.accuracy_seen.low, overall.accuracy_seen.high) == (0.5, 1.0)
    # The gain is paired: a loses half a point, b wins one.
    assert (overall.personal_gain.low, overall.personal_gain.high) == (-0.5, 1.0)
    # Accuracy-average ± s.e.: the standard deviation of (.5, 1) is .3536, over the root of 2.
    assert overall.accuracy_per_user.standard_error == pytest.approx(0.25)


def test_the_seed_decides_the_intervals():
    one, same, other = (summarise(table(ROWS * 1), 0.1, 50, seed).overall.accuracy_generic for seed in (1, 1, 2))
    assert one == same
    assert one.standard_error != other.standard_error


def test_weights_count():
    rows = [("a", None, True, 1.0, 1.0, 1.0, 0.25), ("a", None, True, -1.0, 1.0, 1.0, 0.75)]
    assert summarise(table(rows), 0.1, 0).overall.accuracy_seen.value == 0.25


def test_weight_zero_counts_nowhere():
    rows = [(*row, 1.0) for row in ROWS] + [("z", "odd", True, -5.0, -5.0, -5.0, 0.0)]
    assert summarise(table(rows), 0.1, 20) == summarise(table(ROWS), 0.1, 20)


def test_all_ties_are_one_half():
    rows = [(user, None, True, 0.0, 0.0, 0.0) for user in "abab"]
    overall = summarise(table(rows), 0.1, 100).overall
    assert overall.accuracy_seen.value == overall.accuracy_per_user.value == 0.5
    assert overall.ties_seen.value == 1
    assert (overall.accuracy_seen.low, overall.accuracy_seen.high) == (0.5, 0.5)
    assert overall.log_loss_seen.value == pytest.approx(math.log(2))


def test_a_single_user_has_values_but_no_interval():
    overall = summarise(table([("a", "g", True, 1.0, -1.0, 1.0)]), 0.1, 100).overall
    assert overall.accuracy_seen.value == overall.accuracy_worst_tenth.value == 1
    assert math.isnan(overall.accuracy_seen.low)
    assert overall.accuracy_seen.as_dict()["low"] is None


def test_users_of_one_comparison_each():
    rows = [(f"u{i}", None, True, 1.0 if i % 4 else -1.0, 1.0, 1.0) for i in range(20)]
    overall = summarise(table(rows), 0.1, 200).overall
    assert overall.accuracy_seen.value == overall.accuracy_per_user.value == 0.75
    assert overall.accuracy_worst_tenth.value == 0
    assert (overall.accuracy_seen.low, overall.accuracy_seen.high) == (
        overall.accuracy_per_user.low,
        overall.accuracy_per_user.high,
    )


def test_a_log_without_users_has_generic_figures_only():
    rows = [(None, None, False, 1.0, h, 1.0) for h in (1.0, 1.0, -1.0, 1.0)]
    metrics = summarise(table(rows), 0.1, 100)
    assert set(metrics.values()) == {
        "accuracy_generic",
        "accuracy_generic_unseen",
        "margin_generic",
        "log_loss_generic",
        "ties_generic",
    }
    assert metrics.overall.accuracy_generic.value == 0.75
    assert metrics.overall.accuracy_generic.low < 0.75
    assert metrics.as_dict()["overall"]["accuracy_seen"]["value"] is None
    assert metrics.groups == {}


def test_without_a_permutation_its_figures_are_missing():
    values = summarise(table(ROWS, permuted=False), 0.1, 10).values()
    assert "accuracy_permuted" not in values
    assert "permutation_drop" not in values
    assert values["accuracy_seen"] == 0.625


def test_as_dict_is_json_with_stable_names():
    found = json.loads(json.dumps(summarise(table(ROWS), 0.1, 20).as_dict(), allow_nan=False))
    assert found["resamples"] == 20
    assert set(found["overall"]) == set(found["groups"]["minority"])
    assert set(found["overall"]["accuracy_seen"]) == {
        "value",
        "low",
        "high",
        "standard_error",
        "users",
        "comparisons",
    }


def test_nothing_to_evaluate_is_an_error():
    with pytest.raises(DataError, match="found 0 comparisons"):
        summarise(table(ROWS).select([]), 0.1)


def test_the_log_loss_does_not_overflow():
    rows = [("a", None, True, -1e6, 1e6, 0.0)]
    values = summarise(table(rows), 1.0, 0).values()
    assert values["log_loss_seen"] == pytest.approx(1e6)
    assert values["log_loss_generic"] == 0


def test_per_user_by_hand(tmp_path):
    import pyarrow.parquet as pq

    users = per_user(table(ROWS), beta=0.5)
    assert users.user.tolist() == ["a", "b", "c"]
    assert users.group.tolist() == ["majority", "minority", "minority"]
    assert users.seen.tolist() == [True, True, False]
    assert users.comparisons.tolist() == [3, 1, 2]
    # c is unseen, so the generic row answers.
    assert users.accuracy.tolist() == [0.5, 1, 0.5]
    assert users.accuracy_generic.tolist() == [1, 0, 0.5]
    assert users.accuracy_permuted[:2].tolist() == [0, 1]
    assert math.isnan(users.accuracy_permuted[2])
    assert users.margin.tolist() == [0, 2, 0]
    assert users.log_loss[1] == pytest.approx(math.log1p(math.exp(-1)))
    users.save(tmp_path / "per_user.parquet")
    rows = pq.read_table(tmp_path / "per_user.parquet").to_pylist()
    assert rows[2]["user"] == "c"
    assert rows[2]["accuracy_permuted"] is None
    assert rows[0]["comparisons"] == 3


def test_a_user_of_several_groups_has_none():
    rows = [("a", "x", True, 1.0, 1.0, 1.0), ("a", "y", True, 1.0, 1.0, 1.0)]
    assert per_user(table(rows), 0.1).group.tolist() == [None]


def test_a_user_is_seen_or_not():
    rows = [("a", None, True, 1.0, 1.0, 1.0), ("a", None, False, 1.0, 1.0, 1.0)]
    with pytest.raises(DataError, match="user 'a' is seen in some rows"):
        per_user(table(rows), 0.1)


def test_per_user_of_a_log_without_users_is_empty(tmp_path):
    users = per_user(table(ROWS[6:]), 0.1)
    assert len(users) == 0
    users.save(tmp_path / "per_user.parquet")


@pytest.mark.parametrize("count", [2, 3, 50])
def test_derangement_moves_everybody_and_loses_nobody(count):
    rows = np.arange(1, count + 1)
    partners = derangement(rows, seed=7)
    assert (partners != rows).all()
    assert sorted(partners) == rows.tolist()
    assert (partners == derangement(rows, seed=7)).all()


def test_derangement_gives_a_row_the_same_partner_everywhere():
    partners = derangement([[3, 5], [3, 0]], seed=0)
    assert partners.tolist() == [[5, 3], [5, 0]]
    assert derangement([4, 4]).tolist() == [4, 4]
    assert derangement([0, 0]).tolist() == [0, 0]
    assert derangement([]).tolist() == []


def test_derangement_among_a_population_does_not_depend_on_who_asks():
    everyone = np.arange(0, 21)
    whole = derangement(everyone, 1, population=everyone)
    assert derangement([4, 9], 1, population=everyone).tolist() == [whole[4], whole[9]]
    with pytest.raises(DataError, match=r"rows \[30\]"):
        derangement([4, 30], 1, population=everyone)


def test_seeds_give_different_derangements():
    rows = np.arange(1, 40)
    assert (derangement(rows, 0) != derangement(rows, 1)).any()


def test_a_large_log_takes_seconds():
    rng = np.random.default_rng(0)
    n = 100_000
    user = np.array([f"u{i}" for i in rng.integers(0, 1000, n)], dtype=object)
    h = rng.normal(1, 1, n)
    scores = Scores(user, np.full(n, None), np.ones(n), np.ones(n), h, h, np.ones(n), np.ones(n), user, h)
    start = time.perf_counter()
    metrics = summarise(scores, 0.1, 1000)
    assert time.perf_counter() - start < 20  # about half a second on an idle core
    assert metrics.overall.accuracy_seen.value == pytest.approx(0.841, abs=0.01)


def test_every_figure_is_defined_in_the_docs():
    page = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text("utf8")
    assert [f.name for f in fields(Figures) + fields(PerUser) if f"`{f.name}`" not in page] == []
