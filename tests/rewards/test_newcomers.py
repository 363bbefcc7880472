"""People whom a model has met are kept, whole or not at all."""

import numpy as np
import pytest
from planted_votes import planted

from prlhf.config.rewards import PerUser
from prlhf.errors import CheckpointError, ConfigError
from prlhf.rewards import fit_reward, load_reward
from prlhf.rewards.newcomers import keep
from prlhf.rewards.states import UserTable


@pytest.fixture
def saved(tmp_path):
    votes, _, _ = planted(users=6, votes_each=10, width=3, seed=1)
    old = votes.take(votes.user < 4).of_users(votes.names[:4]).compact()
    model = fit_reward(PerUser(ridge=3.0), old)
    model.save(tmp_path / "run" / "model")
    return load_reward(tmp_path / "run" / "model"), votes, tmp_path / "run"


def test_in_place_and_in_a_new_folder(saved, tmp_path):
    model, votes, run = saved
    new = votes.take(votes.user >= 3).of_users(votes.names[3:])
    states = model.states_of(new)
    before = (run / "model" / "model.safetensors").read_bytes(), model.users.states["weights"].copy()
    kept = keep(run, model, new.names, states)
    assert kept.versions == (2, 1, 1) and kept.votes == (10, 10, 10) and kept.before == (10, 0, 0)
    lines = kept.text().splitlines()
    assert lines[0] == f"kept: 2 new users, 1 known already, in {run} (user-0003, user-0004, user-0005)"
    assert lines[1] == "  user-0003 was there: now version 2, resting on these votes alone (10; before: 10)"
    again = load_reward(run)
    assert len(again.users.states) == 7 and (run / "model" / "model.safetensors").read_bytes() == before[0]
    np.testing.assert_array_equal(again.users.states["weights"][:4], before[1][:4])
    np.testing.assert_array_equal(again.users.states["weights"][5:], states["weights"][1:])
    keep(run, again, ["somebody"], states.take(slice(0, 1)), tmp_path / "new")
    assert load_reward(tmp_path / "new").users.index.ids(range(8))[7] == "somebody"
    assert len(load_reward(run).users.states) == 7


def test_who_was_kept_meanwhile_stays(saved):
    model, votes, run = saved
    other, states = load_reward(run), model.states_of(votes).take(slice(0, 1))
    keep(run, model, ["ann"], states)
    keep(run, other, ["bob"], states)
    assert (load_reward(run).users.rows(["ann", "bob"]) > 0).all()


def test_what_fails_changes_nothing(saved, tmp_path, monkeypatch):
    model, votes, run = saved
    table = (run / "model" / "users.parquet").read_bytes()
    states = model.states_of(votes)

    def full(self, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(UserTable, "save", full)
        with pytest.raises(CheckpointError, match="No space left"):
            keep(run, model, votes.names, states)
    assert (run / "model" / "users.parquet").read_bytes() == table
    assert sorted(p.name for p in (run / "model").iterdir()) == ["config.json", "model.safetensors", "users.parquet"]
    with pytest.raises(CheckpointError, match="exists"):
        keep(run, model, votes.names, states, run)
    with pytest.raises(CheckpointError, match="no table of users"):
        keep(tmp_path, model, votes.names, states)
    with pytest.raises(ConfigError, match="not changed in place"):
        keep(run, object(), votes.names, states)  # type: ignore[arg-type]
