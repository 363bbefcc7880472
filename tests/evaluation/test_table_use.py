import json

import numpy as np
import pytest

from prlhf.evaluation.table_use import TableUse, check_table, effective_rank

SEEDS = range(20)


def test_effective_rank_by_hand():
    assert effective_rank(np.eye(4)) == pytest.approx(4)
    assert effective_rank(np.outer([1.0, 2, 3], [1.0, 1])) == pytest.approx(1)
    assert effective_rank(np.diag([3.0, 1.0])) == pytest.approx(np.exp(-0.9 * np.log(0.9) - 0.1 * np.log(0.1)))
    assert effective_rank(np.zeros((3, 2))) == 0


def test_distances_by_hand():
    """A generic row of norm 5; offsets of norm 5 and 10 to opposite sides of one direction, and none."""
    use = TableUse.of([[6, 8], [-3, -4], [3, 4]], [3, 4], votes=[4, 9, 0])
    assert use.distance == pytest.approx(1) and use.rank == pytest.approx(1) and use.most_rank == 2
    # mean offset (-1, -4/3), squared norm 25/9; mean squared norm of the offsets (25 + 100 + 0) / 3
    assert use.common == pytest.approx((25 / 9) / (125 / 3))
    assert [(p.fewest, p.most, p.users) for p in use.by_votes] == [(0, 0, 1), (4, 4, 1), (9, 9, 1)]
    assert [p.distance for p in use.by_votes] == pytest.approx([0, 1, 2])


@pytest.mark.parametrize("seed", SEEDS)
def test_silent_on_rows_of_their_own(seed):
    rng = np.random.default_rng(seed)
    tastes = rng.normal(size=(30, 3)) @ rng.normal(size=(3, 32)) + rng.normal(size=32)
    found = check_table(TableUse.of(1 + 0.1 * tastes, np.ones(32), rng.integers(1, 50, 30)))
    assert found.state == "nothing found" and 1.5 < found.numbers["rank"] < 3.01
    assert sum(part["users"] for part in found.numbers["by_votes"]) == 30
    json.dumps(found.as_dict(), allow_nan=False)


@pytest.mark.parametrize("seed", SEEDS)
def test_fires_on_a_table_that_collapsed(seed):
    rng = np.random.default_rng(seed)
    generic, noise = rng.normal(size=32), rng.normal(size=(30, 32))
    still = check_table(TableUse.of(generic + 1e-5 * noise, generic))
    assert still.finding and "hardly left" in still.text
    together = check_table(TableUse.of(2 * generic + 1e-3 * noise, generic))
    assert together.finding and "same place" in together.text and together.numbers["common"] > 0.999


def test_rows_that_are_the_generic_one():
    found = check_table(TableUse.of(np.ones((6, 4)), np.ones(4), [1] * 6))
    assert found.finding and found.numbers["rank"] == 0 and len(found.numbers["by_votes"]) == 1
    json.dumps(found.as_dict(), allow_nan=False)
