"""What each process has of a global batch; the same global batch with other processes; and its rows' gradients."""

import numpy as np
import pytest
import torch
from torch import nn

from prlhf.config import RunConfig, TrainingConfig
from prlhf.errors import ConfigError
from prlhf.training.batches import recut
from prlhf.training.dataset import LengthBuckets
from prlhf.training.exchange import averaged
from prlhf.training.optim import UserAdamW
from prlhf.training.run import Run
from prlhf.training.shares import Counted, Shares
from prlhf.training.train import _tell_unused


def order(count: int, whole: int) -> LengthBuckets:
    return LengthBuckets(np.random.default_rng(0).integers(1, 9, count), whole, seed=1)


def shares(count: int, size: int, steps: int, processes: int) -> list[list[list[int]]]:
    """Of each process, its micro-batches."""
    whole = size * steps * processes
    made = [Shares(order(count, whole), size, steps, processes, process) for process in range(processes)]
    found = [list(each) for each in made]
    assert [len(each) for each in made] == [len(each) for each in found]
    return found


@pytest.mark.parametrize("count", [48, 45, 43, 41])
@pytest.mark.parametrize(("size", "steps", "processes"), [(8, 1, 1), (2, 4, 1), (2, 2, 2), (1, 2, 4), (1, 1, 8)])
def test_a_step_has_the_same_comparisons_however_it_is_shared(count, size, steps, processes):
    found = shares(count, size, steps, processes)
    assert len({len(each) for each in found}) == 1  # all keep pace
    assert all(1 <= len(part) <= size for each in found for part in each)
    whole = list(order(count, 8))
    for step in range(0, count, 8):
        own = [part for each in found for part in each[step // 8 * steps : (step // 8 + 1) * steps]]
        counted = [i for part in own for i in part if i >= 0]
        assert sorted(counted) == sorted(whole[step : step + 8])
        idle = [part for part in own if part[0] < 0]
        assert all(part == [~whole[step]] for part in idle)
        assert len(idle) < processes


def test_processes_that_work_at_the_same_time_have_neighbours():
    """A full batch is cut into micro-batches in its order, which is that of length, and dealt out in turns."""
    whole = list(order(16, 8))
    assert shares(16, 2, 2, 2) == [
        [whole[0:2], whole[4:6], whole[8:10], whole[12:14]],
        [whole[2:4], whole[6:8], whole[10:12], whole[14:16]],
    ]


def test_what_keeps_pace_counts_nothing():
    data = Counted([{"weight": np.float64(2), "prior": np.float64(0.5), "ids": "a"}])
    assert data[0] == {"weight": 2, "prior": 0.5, "ids": "a", "counts": True}
    assert data[~0] == {"weight": 0, "prior": 0, "ids": "a", "counts": False}
    assert len(data) == 1


def options(size: int, steps: int = 1) -> TrainingConfig:
    return TrainingConfig(batch_size=size, gradient_accumulation_steps=steps)


@pytest.mark.parametrize(
    ("held", "started", "now", "expected"),
    [((8, 1), 1, 1, (8, 1)), ((8, 1), 1, 2, (4, 1)), ((8, 1), 1, 4, (2, 1)), ((2, 2), 2, 1, (2, 4)),
     ((6, 1), 2, 3, (4, 1)), ((3, 1), 4, 2, (3, 2)), ((5, 2), 1, 2, (5, 1)), ((4, 3), 1, 6, (2, 1))],
)  # fmt: skip
def test_a_global_batch_is_cut_anew(held, started, now, expected):
    found = recut(options(*held), options(*held), started, now)
    assert (found.batch_size, found.gradient_accumulation_steps) == expected
    assert np.prod(expected) * now == np.prod(held) * started and found.batch_size <= max(held[0], 1)


def test_a_batch_of_ones_own_has_to_fit():
    assert recut(options(8), options(2, 2), 1, 2) == options(2, 2)
    with pytest.raises(ConfigError) as caught:
        recut(options(8), options(4, 2), 1, 2)
    assert "4 x 2 x 2 processes are 16" in str(caught.value)
    assert "global batch of 8 comparisons (8 x 1 x 1 process)" in str(caught.value)
    assert "whose product is 4, as 4 and 1" in str(caught.value)
    with pytest.raises(ConfigError, match=r"4 x 1 x 1 process are 4, .* whose product is 8, as 8 and 1"):
        recut(options(8), options(4), 1, 1)


def test_processes_that_cannot_share_it():
    with pytest.raises(ConfigError, match=r"batch of 9 .* 2 processes cannot share it equally; .* one of 1, 3, 9 proc"):
        recut(options(9), options(9), 1, 2)


def test_a_run_knows_how_many_processes_it_was_started_with(tmp_path):
    from prlhf.config import RunConfig

    config = RunConfig(training=options(4, 2))
    Run(tmp_path / "run").open(config, resume=False, processes=2)
    again = Run(tmp_path / "run")
    assert again.resumed(config, 2) == config
    assert again.resumed(config, 4).training == options(4, 1)
    assert again.resumed(config, 1).training == options(4, 4)
    assert again.resumed(RunConfig(training=options(16)), 1).training == options(16)
    with pytest.raises(ConfigError, match=r"whose product is 16, as 4 and 4"):
        again.resumed(RunConfig(training=options(8)), 1)
    with pytest.raises(ConfigError, match=r"training\.learning_rate is 5e-05 there and 0\.1 here\. Resume"):
        again.resumed(RunConfig(training=TrainingConfig(batch_size=4, learning_rate=0.1)), 1)


class Two:
    """An accelerator of two processes, as far as rows are concerned: the other one has these."""

    num_processes = 2

    def __init__(self, rows: list[int], values: list[list[float]]):
        self.rows, self.values = torch.tensor(rows), torch.tensor(values).view(len(rows), 2)

    def pad_across_processes(self, tensor, dim=0, pad_index=0):
        most = max(len(tensor), len(self.rows))
        pad = lambda x: torch.cat([x, torch.full((most - len(x), *x.shape[1:]), pad_index, dtype=x.dtype)])  # noqa: E731
        self.other = pad(self.rows if tensor.ndim == 1 else self.values)
        return pad(tensor)

    def gather(self, tensor):
        return torch.cat([tensor, self.other])


@pytest.mark.parametrize("own", [[1, 3], [3], []])
@pytest.mark.parametrize("other", [[0, 3], []])
def test_rows_of_all_processes_are_averaged(own, other):
    table = nn.Embedding(5, 2, sparse=True)
    values = torch.arange(len(other) * 2).view(-1, 2) + 1.0
    expected = torch.zeros(5, 2).index_add(0, torch.tensor(other, dtype=torch.long), values)
    if own:
        table(torch.tensor(own)).sum().backward()
        expected = expected + table.weight.grad.to_dense()
    optimizer = UserAdamW([{"params": [table.weight], "rowwise": True}], lr=0.1)
    optimizer.set_aside()
    optimizer.exchange(lambda gradient: averaged(gradient, Two(other, values.tolist())))
    before = table.weight.detach().clone()
    torch.testing.assert_close(optimizer._aside[table.weight].to_dense(), expected / 2)
    optimizer.step()
    assert (table.weight != before).any(1).nonzero().flatten().tolist() == sorted({*own, *other})


@pytest.mark.parametrize(("steps", "told"), [(-1, False), (3, True), (30, False)])
def test_steps_that_look_at_few_comparisons_are_told(caplog, steps, told):
    config = RunConfig(training=TrainingConfig(max_steps=steps, batch_size=4))
    with caplog.at_level("INFO"):
        _tell_unused(config, 100, 2)
    assert ("looks at 24 of 100 on the training side" in caplog.text) is told
