"""`prlhf adapt` as a person runs it: votes of new users, their states in a file or in the run."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from prlhf.cli.main import app
from prlhf.config import DataConfig, Dpo, Individual, ModelConfig
from prlhf.data import load_comparisons
from prlhf.errors import ConfigError
from prlhf.lm import PersonalizedLM
from prlhf.lm.adapting.keep import commit_to
from prlhf.lm.adapting.states import UserStates
from prlhf.training import adapt as adapting

USERS = ["ann", "bob", "cem", "dee"]


@pytest.fixture
def folder(base_folder, tmp_path):
    lm = PersonalizedLM.create(ModelConfig(base=base_folder()), Individual(tokens=2), USERS, seed=1)
    lm.objective = Dpo(beta=0.5)
    with torch.no_grad():
        lm.user_model.table.weight[1:] = torch.randn(4, 64, generator=torch.Generator().manual_seed(5))
    return lm.save_pretrained(tmp_path / "run" / "model", "\nA line of its own.\n").parent


@pytest.fixture
def votes(tmp_path):
    rows = [
        {"prompt": f"{i}?", "chosen": "red" + "!" * i, "rejected": "a blue sky", "user_id": user, "timestamp": day}
        for user, count in (("zoe", 3), ("bob", 2))
        for i, day in zip(range(count), ("2026-01-01", "2026-01-11", "2026-01-21"), strict=False)
    ]
    path = tmp_path / "votes.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf8")
    return str(path)


@pytest.fixture
def run(monkeypatch):
    monkeypatch.setattr("prlhf.cli.adapt.no_loading_bars", lambda: None)
    monkeypatch.setattr("prlhf.cli.generate.no_loading_bars", lambda: None)
    return lambda *words: CliRunner().invoke(app, [*map(str, words)], env={"COLUMNS": "160"})


def test_new_users_are_fitted_kept_and_answered(run, folder, votes):
    before = PersonalizedLM.from_pretrained(folder)
    done = run("adapt", folder, "--votes", votes, "--commit")
    assert done.exit_code == 0, done.output
    for words in ("zoe", "2 users in", "strength 1 (not learned)", "in the run already: bob", "1 new, 1 that were"):
        assert words in done.output
    after = PersonalizedLM.from_pretrained(folder)
    assert after.users.ids() == [*USERS, "zoe"] and after.users.versions.tolist() == [1, 1, 2, 1, 1, 1]
    old, new = (lm.user_model.table.weight.detach() for lm in (before, after))
    kept = [0, 1, 3, 4]
    assert old[kept].numpy().tobytes() == new[kept].numpy().tobytes() and not torch.equal(old[2], new[2])
    assert after.users.counts[[2, 5]].tolist() == [2, 3] and after.prior is not None
    card = (folder / "model" / "README.md").read_text("utf8")
    assert "each of its 5 users" in card and "A line of its own." in card
    assert {path.name for path in folder.iterdir()} == {"model"}
    answer = run("generate", folder, "hi", "--user", "zoe", "-n", "4")
    assert answer.exit_code == 0 and "not in the user table" not in answer.output


def test_states_in_a_file_serve_and_commit(run, folder, votes, tmp_path):
    files = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    states = tmp_path / "new" / "states.parquet"
    done = run("adapt", folder, "--votes", votes, "--output", states, "--half-life-days", "10")
    assert done.exit_code == 0, done.output
    assert all(path.read_bytes() == held for path, held in files.items())
    found = UserStates.load(states)
    assert found.names == ("bob", "zoe") and found.votes.tolist() == [2, 3] and found.rows.shape == (2, 64)
    answer = run("generate", folder, "hi", "--user", "zoe", "--user-state", states, "-n", "4")
    assert answer.exit_code == 0 and "not in the user table" not in answer.output
    assert "not in the user table" in run("generate", folder, "hi", "--user", "zoe", "-n", "4").output
    assert "kept in" in run("adapt", folder, "--user-state", states, "--commit").output
    committed = PersonalizedLM.from_pretrained(folder)
    assert torch.equal(committed.user_model.table.weight[[2, 5]], found.rows)


def test_rows_that_say_nothing_are_left_out_and_counted(run, folder, votes, tmp_path):
    rows = Path(votes).read_text("utf8").splitlines()
    odd = [{"prompt": "?", "chosen": "a", "rejected": other, "user_id": "zoe"} for other in ("a", "", 3)]
    (tmp_path / "odd.jsonl").write_text("\n".join([*map(json.dumps, odd), *rows]), "utf8")
    files = [tmp_path / name for name in ("odd.parquet", "clean.parquet")]
    done = run("adapt", folder, "--votes", tmp_path / "odd.jsonl", "--on-bad-row", "skip", "-o", files[0])
    assert done.exit_code == 0, done.output
    said = " ".join(done.stderr.split())
    assert "not trained on: 1 with equal responses, 1 with an empty response. 1 bad rows were skipped:" in said
    done = run("adapt", folder, "--votes", votes, "-o", files[1])
    assert "note:" not in done.stderr
    odd_state, clean = (UserStates.load(file) for file in files)
    assert odd_state.names == clean.names and torch.equal(odd_state.rows, clean.rows)
    (tmp_path / "odd.jsonl").write_text(json.dumps(odd[0]), "utf8")
    done = run("adapt", folder, "--votes", tmp_path / "odd.jsonl")
    assert done.exit_code == 2 and "odd.jsonl: found no vote to learn from" in done.stderr


def test_who_is_known_by_more_votes_is_not_replaced_by_fewer(run, folder, votes, tmp_path):
    assert run("adapt", folder, "--votes", votes, "--commit").exit_code == 0
    before = (folder / "model" / "user_model" / "model.safetensors").read_bytes()
    lines = Path(votes).read_text("utf8").splitlines()
    fewer, ties = tmp_path / "fewer.jsonl", tmp_path / "ties.jsonl"
    fewer.write_text(lines[0], "utf8")
    ties.write_text(json.dumps(json.loads(lines[0]) | {"tie": True}), "utf8")
    done = run("adapt", folder, "--votes", fewer, "--commit")
    told = " ".join(done.output.split())
    assert done.exit_code == 2 and "zoe (known by 3 votes, now given 1)" in told and "--old-votes" in told
    done = run("adapt", folder, "--votes", ties, "--commit")
    assert "not kept, since no vote of theirs counts: zoe" in done.output, done.output
    assert (folder / "model" / "user_model" / "model.safetensors").read_bytes() == before
    assert run("adapt", folder, "--votes", fewer, "--commit", "--replace").exit_code == 0
    assert PersonalizedLM.from_pretrained(folder).users.counts.tolist()[-1] == 1


def test_old_votes_count_once_and_age_takes_weight_away(folder, votes, monkeypatch):
    log = load_comparisons(DataConfig(source=votes)).items
    old = [*log[3:], replace(log[3], prompt="earlier", id="earlier"), replace(log[0], user="ann")]
    monkeypatch.setattr(adapting, "_training", lambda run: (None, old, ""))
    new = log[3:4]  # of bob, who has them all in the training too
    alone, both = (adapting.adapt(folder, new, old_votes=wanted) for wanted in (False, True))
    assert (alone.old, both.old) == (None, 2) and both.fit.states.votes.tolist() == [3]
    told = [*old[1:3], *new]
    assert torch.equal(both.fit.states.rows, adapting.adapt(folder, told).fit.states.rows)
    aged = adapting.adapt(folder, log, half_life_days=10.0).fit.states.rows
    weighted = [replace(v, weight=w) for v, w in zip(log, (0.25, 0.5, 1.0, 0.25, 0.5), strict=True)]
    torch.testing.assert_close(aged, adapting.adapt(folder, weighted).fit.states.rows)
    assert not torch.allclose(aged, adapting.adapt(folder, log).fit.states.rows, atol=1e-3)


def test_options_that_do_not_go_together(run, folder, votes, tmp_path):
    for words, told in (
        ([], "--votes, or states"),
        (["--votes", votes, "--user-state", "f"], "--votes, or states"),
        (["--user-state", "f"], "goes with --commit alone"),
        (["--user-state", tmp_path / "none.parquet", "--commit"], "holds no user states"),
        (["--votes", votes, "--old-votes"], "--old-votes: the data that it was trained on cannot be read"),
        (["--votes", tmp_path / "nobody.jsonl"], "no file at"),
    ):
        done = run("adapt", folder, *words)
        assert done.exit_code and told in " ".join(done.output.split()), (words, done.output)
    assert "nobody is kept" in run("adapt", folder, "--votes", votes).output


def test_what_a_kill_leaves_is_put_right(folder, votes, monkeypatch):
    lm = PersonalizedLM.from_pretrained(folder)
    states = UserStates(("zoe",), torch.zeros(1, 64), torch.tensor([3]).numpy(), "another")
    with pytest.raises(ConfigError, match="another model"):
        commit_to(folder, states)
    from prlhf.lm.adapting.states import model_key

    states = UserStates(states.names, states.rows, states.votes, model_key(lm.user_model))
    put = os.replace

    def killed(source, target):
        if str(target).endswith("run/model"):
            raise KeyboardInterrupt
        put(source, target)

    monkeypatch.setattr("os.replace", killed)
    monkeypatch.setattr(shutil, "rmtree", lambda *a, **k: None)
    with pytest.raises(KeyboardInterrupt):
        commit_to(folder, states)
    monkeypatch.undo()
    assert not (folder / "model").exists()
    assert PersonalizedLM.from_pretrained(folder).users.ids() == [*USERS, "zoe"]


def test_a_full_disk_leaves_the_model_as_it_was(folder, monkeypatch):
    from prlhf.lm.adapting.states import model_key

    lm = PersonalizedLM.from_pretrained(folder)
    states = UserStates(("zoe",), torch.zeros(1, 64), torch.tensor([3]).numpy(), model_key(lm.user_model))

    def full(*args, **more):
        raise OSError(28, "No space left on device")

    for write in ("prlhf.users.store.save_file", "prlhf.users.index.UserIndex.save"):
        with monkeypatch.context() as patch:
            patch.setattr(write, full)
            with pytest.raises(OSError, match="No space left"):
                commit_to(folder, states)
        assert PersonalizedLM.from_pretrained(folder).users.ids() == USERS
    assert sorted(p.name for p in folder.iterdir()) == ["model"]
