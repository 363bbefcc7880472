"""`prlhf suggest`, `prlhf onboard` and `prlhf reward fold-in`, with answers from a pipe."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from prlhf.cli.main import app
from prlhf.cli.onboard import KEYS
from prlhf.data import load_comparisons
from prlhf.data.votes_file import as_row
from prlhf.rewards import load_reward
from tiny_reward import votes, write_votes

RUN = CliRunner()
OPTIONS = ("personal=1.5", "rank=2", "item_effects=off", "nonlinear=off", "flips=0")


def call(*arguments, typed=""):
    return RUN.invoke(app, [str(a) for a in arguments], env={"COLUMNS": "100"}, input=typed)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on votes of two camps, and its pool."""
    folder = tmp_path_factory.mktemp("trained")
    data, embeddings = write_votes(votes(), folder)
    done = call(
        *("reward", "train", "--data", data, "--embeddings", embeddings, "--output", folder / "run"),
        *("--set", "features.surface=false", "--set", "data.split.test=0"),
        *(word for option in OPTIONS for word in ("--set", f"model.{option}")),
    )
    assert done.exit_code == 0, done.output
    return folder / "run", data


@pytest.fixture
def run(trained, tmp_path):
    """A copy that may be changed."""
    shutil.copytree(trained[0], tmp_path / "run")
    return tmp_path / "run", trained[1]


def test_suggest_says_what_and_why(run, tmp_path):
    folder, data = run
    given = ("suggest", folder, "--pool", data)
    done = call(*given, "--user", "ann", "-n", 3, "--json", tmp_path / "q.json")
    assert done.exit_code == 0, done.output
    assert "pairs from" in done.stdout and "ann is unknown: asked as the generic user" in done.stdout
    assert "nats (an answer has at most 0.69)" in done.stdout and "why: the model expects" in done.stdout
    rows = json.loads((tmp_path / "q.json").read_text())
    assert len(rows) == 3 and rows[0]["nats"] > rows[2]["nats"] > 0 and 0 < rows[0]["share"] < 1
    assert {"prompt", "a", "b", "pair_key", "probability_a"} <= set(rows[0])
    own = [replace(c, user="ann") for c in votes() if c.user == "user01"][:8] + votes()[:3]
    (tmp_path / "few").mkdir()
    told, _ = write_votes(own, tmp_path / "few")
    again = call(*given, "--user", "ann", "-n", 50, "--votes", told, "--json", tmp_path / "r.json")
    assert again.exit_code == 0 and "ann is met by 8 votes" in again.stdout
    after = json.loads((tmp_path / "r.json").read_text())
    assert after[0]["nats"] < rows[0]["nats"]
    assert not {row["pair_key"] for row in after} & {c.pair_key for c in own[:8]}
    known = call(*given, "--user", "user02", "--votes", told)
    assert (
        "has no vote of user02" in known.stdout and "user02 is known to the model (version 1, 30 votes)" in known.stdout
    )
    assert "not asked again: " in known.stdout and "that user02 voted on in" in known.stdout
    wrong = call(*given, "--user", "ann", "--rule", "infomation")
    assert wrong.exit_code == 2 and "did you mean information?" in wrong.stderr


@pytest.mark.parametrize("command", ["suggest", "onboard"])
def test_a_rule_that_nothing_is_near_is_told_before_the_pool_is_read(run, tmp_path, command, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = call(command, run[0], "--user", "ann", "--pool", tmp_path / "none.jsonl", "--rule", "bald")
    assert done.exit_code == 2, done.output
    assert "rule: found 'bald', expected one of information" in done.stderr and "did you mean" not in done.stderr


def test_an_interview_from_a_pipe_goes_on_where_it_stopped(run, tmp_path):
    folder, data = run
    file = tmp_path / "votes.jsonl"
    given = ("onboard", folder, "--user", "ann", "--pool", data, "--votes", file, "--least", 0)
    done = call(*given, typed="u\nl\nright\nwhat\nundo\ns\nTIE\nq\nl\n")
    assert done.exit_code == 0, done.output
    assert "there is no answer of this interview to take back" in done.stdout and "found 'what'" in done.stdout
    assert "left" in done.stdout and "expected to tell" in done.stdout
    assert "After 2 votes of ann the model expects" in done.stdout and f"votes: {file} (2 of ann)" in done.stdout
    first = load_comparisons(str(file)).comparisons
    assert [c.tie for c in first] == [False, True] and all(c.user == "ann" and c.first_shown for c in first)
    more = call(*given, "--most", 6, typed="l\n" * 20)
    assert "going on after 2 votes of ann" in more.stdout and "6 votes, as many as --most says" in more.stdout
    rows = load_comparisons(str(file)).comparisons
    assert rows[:2] == first and len(rows) == len({c.pair_key for c in rows}) == 6
    assert load_reward(folder).users.rows(["ann"])[0] == 0


def test_an_interview_ends_by_itself_and_is_kept(run, tmp_path):
    folder, data = run
    given = ("onboard", folder, "--pool", data, "--votes", tmp_path / "votes.jsonl")
    done = call(*given, "--user", "ann", "--least", 0.3, "--commit", typed="l\n" * 50)
    assert done.exit_code == 0, done.output
    assert "That is enough: no answer is expected to tell more than 0." in done.stdout
    assert "kept: 1 new user, 0 known already" in done.stdout and "Worth more to ann than to most" in done.stdout
    model = load_reward(folder)
    row = int(model.users.rows(["ann"])[0])
    names, states = model.fold_in(load_comparisons(str(tmp_path / "votes.jsonl")).comparisons)
    assert names == ["ann"] and model.users.states.votes[row] == states.votes[0] > 1
    np.testing.assert_allclose(model.users.states["l"][row], states["l"][0], atol=1e-5)
    again = call(*given, "--user", "user03", "--most", 2, "--replace", "--output", tmp_path / "new", typed="l\nl\n")
    assert "user03 is known to the model (version 1, 30 votes)" in again.stdout
    assert "user03 was there: now version 2" in again.stdout
    assert load_reward(tmp_path / "new").users.versions[4] == 2 and load_reward(folder).users.versions[4] == 1
    nobody = call(*given, "--user", "zoe", "--commit", typed="")
    assert "Nothing is known of zoe yet" in nobody.stdout and "zoe has no votes, so nothing was kept" in nobody.stdout


def test_what_is_known_of_somebody_is_not_lost_to_fewer_answers(run, tmp_path):
    folder, data = run
    given = ("onboard", folder, "--pool", data, "--votes", tmp_path / "v.jsonl", "--user", "user03", "--commit")
    early = call(*given, "--most", 2, typed="l\nl\n")
    assert early.exit_code == 2 and "user03 is known to the model by 30 votes, and --most 2" in early.stderr
    assert not (tmp_path / "v.jsonl").exists() or not (tmp_path / "v.jsonl").read_text()
    late = call(*given, "--most", 40, typed="l\nq\n")
    assert late.exit_code == 2 and "user03 (known by 30 votes, now given 1)" in late.stderr
    assert len((tmp_path / "v.jsonl").read_text().splitlines()) == 1
    assert load_reward(folder).users.versions[4] == 1


def test_ctrl_c_loses_nothing(run, tmp_path, monkeypatch):
    import prlhf.cli.onboard as module

    keys = iter(["l", "r"])

    def typed():
        try:
            return next(keys)
        except StopIteration:
            raise KeyboardInterrupt from None

    monkeypatch.setattr(module, "_typed", typed)
    file = tmp_path / "votes.jsonl"
    users = load_reward(run[0]).users.index.ids()
    done = call("onboard", run[0], "--user", "ann", "--pool", run[1], "--votes", file, "--least", 0, "--commit")
    assert done.exit_code == 130 and "the same command goes on; the model is as it was" in done.stderr
    assert len(file.read_text().splitlines()) == 2 and load_reward(run[0]).users.index.ids() == users
    assert "found an empty text" in call("onboard", run[0], "--user", " ", "--pool", run[1]).stderr


def test_keys_of_a_keyboard():
    assert [KEYS[key] for key in ("\x1b[D", "\x1b[C", "\x7f", "\x04")] == ["left", "right", "undo", "quit"]


def test_fold_in_remarks_on_odd_votes(run, tmp_path):
    one = replace(votes()[0], user="somebody new")
    data, _ = write_votes([one, replace(one, chosen=one.rejected, rejected=one.chosen)], tmp_path)
    done = call("reward", "fold-in", run[0], "--votes", data, "--output", tmp_path / "new")
    assert done.exit_code == 0, done.output
    assert "remark: somebody new: 1 of 1 pairs are answered both ways" in done.stdout


def test_fold_in_keeps_newcomers(run, tmp_path):
    folder, _ = run
    rows = [replace(c, user="somebody new") for c in votes() if c.user == "user01"][:6]
    rows += [*[c for c in votes() if c.user == "user03"][:5], replace(votes()[0], user=None)]
    (tmp_path / "few").mkdir()
    data, _ = write_votes(rows, tmp_path / "few")
    done = call("reward", "fold-in", folder, "--votes", data, "--output", tmp_path / "new", "--replace")
    assert done.exit_code == 0, done.output
    assert "folded in: 11 votes of 2 users" in done.stdout and "left out: 1" in done.stdout
    said = " ".join(done.stdout.split())
    assert "kept: 1 new user, 1 known already" in said and "(somebody new, user03)" in said
    assert "user03 was there: now version 2, resting on these votes alone (5; before: 30)" in done.stdout
    assert load_reward(tmp_path / "new").users.rows(["somebody new"])[0] > 0
    assert load_reward(folder).users.rows(["somebody new"])[0] == 0
    done = call("reward", "fold-in", folder, "--votes", data, "--commit")
    assert done.exit_code == 2 and "user03 (known by 30 votes, now given 5)" in done.stderr
    assert "nothing was kept" in done.stderr and load_reward(folder).users.rows(["somebody new"])[0] == 0
    done = call("reward", "fold-in", folder, "--votes", data, "--commit", "--replace")
    assert done.exit_code == 0 and load_reward(folder).users.rows(["somebody new"])[0] > 0
    for wrong in ((), ("--commit", "--output", tmp_path / "other")):
        done = call("reward", "fold-in", folder, "--votes", data, *wrong)
        assert done.exit_code == 2 and "exactly one of them" in done.stderr
    done = call("reward", "fold-in", folder, "--votes", data, "--output", tmp_path / "new")
    assert done.exit_code == 2 and "exists, and nothing is overwritten" in done.stderr


NAMES = {"prompt": "question", "chosen": "better", "rejected": "worse", "user_id": "worker"}
SET = tuple(word for ours, theirs in NAMES.items() for word in ("--set", f"data.columns.{ours}={theirs}"))


@pytest.fixture
def renamed(run, tmp_path):
    """A run whose data have columns of other names, and votes as it reads them: eight of ann."""
    folder = run[0]
    config = json.loads((folder / "config.json").read_text())
    config["data"]["columns"] = NAMES
    (folder / "config.json").write_text(json.dumps(config))
    own = [replace(c, user="ann") for c in votes() if c.user == "user01"][:8]
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(as_row(c, NAMES)) + "\n" for c in own))
    return folder, tmp_path / "own.jsonl"


def test_a_model_that_met_people_reads_as_its_run(renamed, tmp_path):
    folder, own = renamed
    for source, target in ((folder, "new"), (tmp_path / "new", "newer")):
        done = call("reward", "fold-in", source, "--votes", own, "--output", tmp_path / target)
        assert done.exit_code == 0 and "8 votes of 1 user" in done.stdout, done.output
    alone = ("reward", "fold-in", folder / "model", "--votes", own, "--output", tmp_path / "alone")
    done = call(*alone)
    assert done.exit_code == 2 and "--set data.columns.prompt=question" in done.stderr
    assert call(*alone, *SET).exit_code == 0


def test_names_of_columns_count_for_the_files_that_have_them(renamed, tmp_path):
    folder, own = renamed
    pool = tmp_path / "pool.jsonl"
    pool.write_text("".join(json.dumps({"question": c.prompt, "a": c.chosen, "b": c.rejected}) + "\n" for c in votes()))
    for given in ((folder,), (folder / "model", *SET)):
        done = call("suggest", *given, "--user", "ann", "--pool", pool, "--votes", own)
        assert done.exit_code == 0 and "ann is met by 8 votes" in done.stdout, done.output
        assert "1. Which?" in done.stdout
    done = call("suggest", folder / "model", "--user", "ann", "--pool", pool, "--set", "data.columns.prompt=quest")
    assert done.exit_code == 2 and "no column 'quest' (to be read as prompt)" in done.stderr


def test_an_interview_goes_on_in_a_file_of_other_names(renamed, trained):
    folder, own = renamed
    given = ("onboard", folder, "--user", "ann", "--pool", trained[1], "--votes", own, "--least", 0)
    done = call(*given, typed="l\nq\n")
    assert done.exit_code == 0 and "going on after 8 votes of ann" in done.stdout, done.output
    assert "going on after 9 votes of ann" in call(*given, typed="q\n").stdout
    rows = [json.loads(line) for line in own.read_text().splitlines()]
    assert len(rows) == 9 and set(NAMES.values()) <= set(rows[-1]) and not set(NAMES) & set(rows[-1])
