"""The prior of new users: how trained rows lie around the generic one."""

import pytest
import torch

from prlhf.config import Individual
from prlhf.errors import CheckpointError, ConfigError
from prlhf.lm.adapting.prior import FILE, Prior, directions_of
from prlhf.users import make_user_model


def test_the_prior_is_how_trained_rows_lie_around_the_generic_one():
    table = torch.tensor([[1.0, 1.0, 1.0], [3.0, 1.0, 1.0], [-1.0, 1.0, 1.0], [1.0, 2.0, 1.0], [1.0, 1.0, 1.0]])
    found = directions_of(table, 32)
    assert len(found) == 2
    torch.testing.assert_close(found.T @ found, torch.diag(torch.tensor([8.0, 1.0, 0.0]) / 4))
    assert directions_of(table, 1).abs().tolist()[0] == pytest.approx([2**0.5, 0, 0])
    only = directions_of(table, 32, [3, 4])
    torch.testing.assert_close(only.T @ only, torch.diag(torch.tensor([0.0, 1.0, 0.0]) / 2))
    assert len(directions_of(table[:1], 4)) == 0 and len(directions_of(torch.zeros(3, 2), 4)) == 0


def test_saved_and_loaded(tmp_path):
    prior = Prior(torch.randn(2, 5), 1.7, 24)
    prior.save(tmp_path)
    again = Prior.load(tmp_path)
    assert torch.equal(again.directions, prior.directions) and (again.strength, again.users) == (1.7, 24)
    assert Prior.load(tmp_path / "nowhere") is None
    (tmp_path / FILE).write_bytes(b"no tensors")
    with pytest.raises(CheckpointError, match="made again"):
        Prior.load(tmp_path)


def test_users_who_are_all_alike_have_none():
    alike = make_user_model(Individual(tokens=2), 4, torch.randn(10, 3))
    with pytest.raises(ConfigError, match="rows of all 3 users"):
        Prior.of(alike)
