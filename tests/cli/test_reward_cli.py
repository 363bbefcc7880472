"""`prlhf reward …` as a command, with a tiny reward model in the place of a real one."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from prlhf.cli.main import app
from prlhf.cli.reward.options import feature_values
from prlhf.errors import ConfigError
from prlhf.evaluation.report import Report
from prlhf.evaluation.reward import RewardEvaluation
from prlhf.evaluation.reward.comparison import RewardComparison
from prlhf.rewards import Reward, load_reward
from tiny_reward import TinyPerUser, text, tiny, votes, write_votes  # noqa: F401

RUN = CliRunner()
WIDE = {"COLUMNS": "160"}


def call(*arguments):
    return RUN.invoke(app, ["reward", *map(str, arguments)], env=WIDE)


@pytest.fixture
def files(tmp_path, tiny):  # noqa: F811
    return write_votes(votes(), tmp_path)


@pytest.fixture
def run(files, tmp_path):
    data, embeddings = files
    done = call(
        *("train", "--data", data, "--model", "per_user", "--embeddings", embeddings, "--output", tmp_path / "run"),
        *("--set", "features.surface=false", "--set", "data.split.users=0.25", "--set", "data.split.test=0.3"),
    )
    assert done.exit_code == 0, done.output
    assert "seen users" in done.stdout and "prlhf reward evaluate" in done.stdout
    return tmp_path / "run"


def test_train_evaluate_and_what_is_written(run, tmp_path, monkeypatch):
    monkeypatch.setattr(RewardEvaluation, "report", lambda self: Report("not drawn", "", ()))
    files = [tmp_path / name for name in ("f.json", "u.parquet", "r.html")]
    done = call("evaluate", run, "--votes", 5, "--json", files[0], "--per-user", files[1], "--report", files[2])
    assert done.exit_code == 0, done.output
    assert "unseen users, as somebody else" in done.stdout and "votes flipped" in done.stdout
    found = json.loads(files[0].read_text())
    assert found["votes"] == 5 and found["told_users"] == 3
    assert list(found)[:4] == ["accuracy", "accuracy_per_user", "log_loss", "calibration_error"]
    assert pq.read_table(files[1]).num_rows == 12 and "not drawn" in files[2].read_text()


def test_evaluate_on_other_data(run, files):
    done = call("evaluate", run, "--data", files[0], "--set", "split.seed=3", "--bootstrap", 0)
    assert done.exit_code == 0, done.output
    assert "test and unseen" in done.stdout  # the same votes are the run's own
    done = call("evaluate", run / "model", "--data", files[0], "--bootstrap", 0)
    assert done.exit_code == 0 and "all of" in done.stdout
    done = call("evaluate", run / "model")
    assert done.exit_code == 2 and "no data of its own" in done.stderr
    done = call("evaluate", run, "--per-user", "users.csv")
    assert done.exit_code == 2 and "--per-user users.csv: found the ending '.csv'" in done.stderr


def test_train_says_what_was_read(tiny, tmp_path):  # noqa: F811
    rows = [replace(c, user=None, tie=i < 3) for i, c in enumerate(votes(users=4, each=10))]
    data, embeddings = write_votes(rows, tmp_path)
    given = ("--data", data, "--model", "per_user", "--embeddings", embeddings, "--set", "features.surface=false")
    done = call("train", *given, "--output", tmp_path / "run", "--set", "data.split.test=0", "--set", "ties=false")
    assert done.exit_code == 0, done.output
    assert "40 comparisons from 40 rows" in done.stdout and "not trained on: 3 ties" in done.stdout
    assert "no row names a user: nothing here can be personal; is it data.columns.user_id=…?" in done.stdout


def test_votes_to_fold_in_come_from_a_file(run, files, tmp_path):
    told = [replace(c, user="somebody new") for c in votes() if c.user == "user01"][:6]
    told += [replace(c, user=None) for c in told[:1]]
    (tmp_path / "few").mkdir()
    first, _ = write_votes(told, tmp_path / "few")
    rows = told[:6] + [replace(c, user="somebody new") for c in votes() if c.user == "user03"]
    (tmp_path / "later").mkdir()
    data, _ = write_votes(rows + votes()[:30], tmp_path / "later")
    done = call("evaluate", run, "--data", data, "--votes", first, "--bootstrap", 0, "--json", tmp_path / "f.json")
    assert done.exit_code == 0, done.output
    said = " ".join(done.stdout.split())  # lines break where paths are long
    assert "6 votes of 1 user from" in said and "left out of them: 1." in said
    found = json.loads((tmp_path / "f.json").read_text())
    assert (found["votes"], found["told_users"]) == (6, 1)
    pairs = {c.pair_key for c in told}
    assert found["data"]["left_out"]["folded_in"] == sum(c.pair_key in pairs for c in rows) >= 6
    assert found["unseen"]["accuracy"]["value"] > 0.7
    for wrong in ("some", "-1", "2.5"):
        done = call("evaluate", run, "--votes", wrong)
        assert done.exit_code == 2 and f"--votes: found '{wrong}'" in done.stderr, done.output


def responses(path, users=("user00", "nobody yet", None)):
    texts = sorted({t for c in votes()[:4] for t in c.responses})[:3]
    path.write_text(
        "".join(json.dumps({"prompt": "Which?", "response": t, "user_id": u}) + "\n" for u in users for t in texts)
    )
    return path


def test_score_ranks_within_prompt_and_user(run, tmp_path):
    asked = responses(tmp_path / "asked.jsonl")
    done = call("score", run, "--data", asked, "--output", tmp_path / "out.jsonl")
    assert done.exit_code == 0, done.output
    assert "1 user is unknown" in done.stdout and "'nobody yet'" in done.stdout
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    for three in (rows[:3], rows[3:6], rows[6:]):
        assert sorted(r["rank"] for r in three) == [1, 2, 3]
        assert sorted(three, key=lambda r: -r["reward"]) == sorted(three, key=lambda r: r["rank"])
    assert [r["reward"] for r in rows[3:6]] == [r["reward"] for r in rows[6:]] != [r["reward"] for r in rows[:3]]


def test_new_texts_need_embeddings_of_their_own(run, files, tmp_path):
    asked = tmp_path / "new.jsonl"
    asked.write_text('{"prompt": "Which?", "response": "never seen"}\n')
    done = call("score", run, "--data", asked)
    assert done.exit_code == 2 and "never seen" in done.stderr
    rows = [{"text": text, "embedding": [0.5] * 4} for text in ("never seen", "Which?")]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "new.parquet")
    done = call("score", run, "--data", asked, "--embeddings", tmp_path / "new.parquet")
    assert done.exit_code == 0, done.output


def test_rewards_are_in_sight_beside_long_texts(run, files, tmp_path):
    long = max((t for c in votes() for t in c.responses), key=len)
    asked = tmp_path / "long.jsonl"
    asked.write_text(json.dumps({"prompt": "Which? " * 40, "response": long, "user_id": "user00"}) + "\n")
    done = RUN.invoke(app, ["reward", "score", str(run), "--data", str(asked)], env={"COLUMNS": "80"})
    assert done.exit_code == 0, done.output
    line = next(line for line in done.stdout.splitlines() if line.startswith("user00"))
    assert len(line) <= 80 and line.rstrip().endswith("1")


def test_score_for_one_user_as_parquet(run, tmp_path):
    asked = responses(tmp_path / "asked.jsonl")
    done = call("score", run, "--data", asked, "--user", "user00", "--output", tmp_path / "out.parquet")
    assert done.exit_code == 0, done.output
    table = pq.read_table(tmp_path / "out.parquet")
    assert set(table["user_id"].to_pylist()) == {"user00"} and "unknown" not in done.stdout
    assert table["rank"].to_pylist()[:3] == table["rank"].to_pylist()[3:6]


@pytest.mark.parametrize(("spread", "said"), [(1e6, "in 2 of 2 cases: the best"), (1e-6, ""), (0.0, "")])
def test_score_says_where_the_best_is_not_surely_better(run, tmp_path, monkeypatch, spread, said):
    own = TinyPerUser.margin

    def margin(self, pairs, users=None):
        assert len(pairs) == 2 and {c.user for c in pairs} == {"user00", "user01"}  # the best and the middle one
        found = own(self, pairs, users)
        assert (found.mean > 0).all()
        return Reward(found.mean, np.full(2, spread))

    score = TinyPerUser.score
    monkeypatch.setattr(TinyPerUser, "score", lambda *a: score(*a)._replace(variance=np.full(len(a[2]), spread)))
    monkeypatch.setattr(TinyPerUser, "margin", margin)
    done = call("score", run, "--data", responses(tmp_path / "asked.jsonl", ("user00", "user01", "nobody yet", None)))
    assert done.exit_code == 0, done.output
    assert ("does not tell the responses apart" in done.stderr) == bool(said) and said in done.stderr


def test_score_reads_csv(run, tmp_path):
    path = tmp_path / "asked.csv"
    path.write_text(f"prompt,response,user_id\nWhich?,{votes()[0].chosen},user00\nWhich?,{votes()[0].rejected},\n")
    done = call("score", run, "--data", path)
    assert done.exit_code == 0, done.output
    assert "(generic)" in done.stdout and "user00" in done.stdout


def test_score_reads_columns_as_the_run_does(run, tmp_path):
    path, text = tmp_path / "asked.jsonl", votes()[0].chosen
    path.write_text(json.dumps({"question": "Which?", "answer": text, "worker": "user00"}) + "\n")
    done = call("score", run, "--data", path)
    assert done.exit_code == 2
    assert "with --set data.columns.prompt=question --set data.columns.completion=answer" in done.stderr
    given = ("--set", "data.columns.completion=answer", "--set", "data.columns.user_id=worker")
    config = json.loads((run / "config.json").read_text())
    config["data"]["columns"] = {"prompt": "question"}
    (run / "config.json").write_text(json.dumps(config))
    done = call("score", run, "--data", path, *given, "--output", tmp_path / "out.jsonl")
    assert done.exit_code == 0, done.output
    (row,) = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert row["user_id"] == "user00" and "Which?" in done.stdout and "unknown" not in done.stdout


def test_score_tells_held_out_users_from_unknown_ones(run, tmp_path):
    config = json.loads((run / "config.json").read_text())
    known = set(load_reward(run).users.index.ids(range(1, 10)))
    held_out = sorted({c.user for c in votes()} - known)
    assert len(held_out) == 3 and config["data"]["split"]["users"] == 0.25
    done = call("score", run, "--data", responses(tmp_path / "asked.jsonl", (held_out[0], "nobody yet", "user00")))
    said = " ".join(done.stdout.split())
    assert "1 user is unknown to the model and answered as the generic user: 'nobody yet'" in said
    assert "1 user is held out by data.split.users=0.25 and so answered as the generic user; train without it" in said
    assert f"fold their votes in: '{held_out[0]}'" in said


def test_score_does_not_write_over_what_it_reads(run, tmp_path):
    asked = responses(tmp_path / "asked.jsonl")
    before = asked.read_text()
    done = call("score", run, "--data", asked, "--output", asked)
    assert done.exit_code == 2 and "that is what --data reads" in done.stderr and asked.read_text() == before


def test_score_says_what_to_do_with_other_files(run, files, tmp_path):
    done = call("score", run, "--data", files[0])
    assert done.exit_code == 2 and "prlhf reward evaluate" in done.stderr
    path = tmp_path / "bad.jsonl"
    path.write_text('{"prompt": "?", "text": "a"}\n')
    done = call("score", run, "--data", path)
    assert done.exit_code == 2 and "row 1: no 'response', found 'prompt', 'text'" in done.stderr
    path.write_text('{"prompt": "?", "response": 3}\n')
    done = call("score", run, "--data", path)
    assert done.exit_code == 2 and "row 1, field 'response'" in done.stderr
    path.write_text("")
    assert "found no row" in call("score", run, "--data", path).stderr


def test_train_errors_name_the_flag(files, tmp_path):
    data, embeddings = files
    done = call("train", "--data", data, "--model", "factr", "--output", tmp_path / "x")
    assert done.exit_code == 2 and "--model" in done.stderr and "factor" in done.stderr
    done = call("train", "--data", data, "--features", "tfidf", "--embeddings", embeddings, "-o", tmp_path / "x")
    assert done.exit_code == 2 and "give one of them" in done.stderr
    done = call("train", "--data", data, "--output", tmp_path)
    assert done.exit_code == 2 and "nothing is overwritten" in done.stderr


def test_features_by_name(tmp_path):
    assert feature_values(None, None) == {}
    assert feature_values("hidden:org/lm", None) == {"features.type": "hidden", "features.model": "org/lm"}
    assert feature_values("sentence-transformers/x", None)["features.type"] == "sentence"
    (tmp_path / "config.json").write_text("{}")
    assert feature_values(str(tmp_path), None)["features.type"] == "hidden"
    (tmp_path / "modules.json").write_text("[]")
    assert feature_values(str(tmp_path), None)["features.type"] == "sentence"
    with pytest.raises(ConfigError, match="hidden:MODEL or sentence:MODEL"):
        feature_values("gpt2", None)


def test_texts_of_the_fixture_say_their_features():
    assert text([0.5, -1, 0, 2]) == "An answer +0.50 -1.00 +0.00 +2.00"


def test_compare_prints_tables_keeps_what_is_done_and_goes_on(files, tmp_path, monkeypatch):
    monkeypatch.setattr(RewardComparison, "report", lambda self: Report("not drawn", "", ()))
    data, embeddings = files
    given = ("--data", data, "--embeddings", embeddings, "--seeds", 1, "--budget", 1, "-o", tmp_path / "c")
    given += ("--set", "bootstrap=20", "--set", "votes=[0,5]", "--set", "features.surface=false")
    done = call("compare", *given, "--models", "per_user")
    assert done.exit_code == 0, done.output
    kept = (tmp_path / "c/runs/seed-0/per_user/cell.json").stat().st_mtime_ns
    done = call("compare", *given, "--models", "per_user,item_mf")
    assert done.exit_code == 0, done.output
    assert "item_mf - per_user" in done.stdout and "5 votes" in done.stdout and "checks" in done.stdout
    assert "In accuracy (95 % intervals), against per_user: item_mf " in " ".join(done.stdout.split())
    assert (tmp_path / "c/runs/seed-0/per_user/cell.json").stat().st_mtime_ns == kept
    found = json.loads((tmp_path / "c" / "results.json").read_text())
    assert set(found["methods"]) == {"per_user", "item_mf"} and (tmp_path / "c" / "report.html").is_file()
    done = call("compare", *given, "--models", "per_user", "--min-votes", 3)
    assert done.exit_code == 2 and "other min_votes" in done.stderr


def test_compare_errors_name_the_flag(files, tmp_path):
    done = call("compare", "--data", files[0], "--models", "btt", "-o", tmp_path / "c")
    assert done.exit_code == 2 and "found 'btt'" in done.stderr and "did you mean bt?" in done.stderr
    done = call("compare", "--data", files[0], "--split", "word", "-o", tmp_path / "c")
    assert done.exit_code == 2 and "--split" in done.stderr
    done = call("compare", "--data", files[0], "--models", "per_user", "--min-votes", 1000, "-o", tmp_path / "c")
    assert done.exit_code == 2 and "lower min_votes" in done.stderr and not (tmp_path / "c").exists()


# --- a language model that scores ---


@pytest.fixture
def soft(base_folder, tmp_path, monkeypatch):
    data, _ = write_votes(votes(users=8, each=8, items=16), tmp_path)
    monkeypatch.setattr("prlhf.training.finish._plot", lambda run, users: None)
    given = ("--data", data, "--base", base_folder(), "--output", tmp_path / "soft")
    options = ("data.split.users=0.25", "data.split.test=0.2", "training.max_steps=2", "training.device=cpu")
    options += ("user_model.tokens=2", "fold_in_passes=1", "training.eval_steps=0")
    done = call("train", "--model", "soft_prompt", *given, *(x for o in options for x in ("--set", o)))
    assert done.exit_code == 0, done.output
    assert "2 user tokens and a scalar head, 6 users" in done.stdout and "unseen users" in done.stdout
    return tmp_path / "soft"


def test_soft_prompt_trains_measures_meets_and_scores(soft, tmp_path):
    done = call("evaluate", soft, "--votes", 3, "--bootstrap", 20, "--json", tmp_path / "f.json")
    assert done.exit_code == 0, done.output
    assert "soft_prompt on test and unseen" in done.stdout and "votes flipped" in done.stdout
    assert json.loads((tmp_path / "f.json").read_text())["told_users"] == 2
    done = call("score", soft, "--data", responses(tmp_path / "asked.jsonl"))
    assert done.exit_code == 0, done.output
    assert "'nobody yet'" in done.stdout
    done = call("train", "--output", soft, "--resume")
    assert done.exit_code == 2 and "is complete" in done.stderr


@pytest.mark.parametrize(
    "given, told",
    [
        (("--model", "soft_prompt"), "needs --base MODEL"),
        (("--model", "soft_prompt", "--base", "planted", "--features", "tfidf"), "--features: soft_prompt reads"),
        (("--model", "soft_prompt", "--base", "planted", "--embeddings", "e.parquet"), "--embeddings: soft_prompt"),
        (("--model", "bt", "--base", "planted"), "--features hidden:planted"),
        (("--resume",), "nothing to resume"),
        (("--model", "bt", "--resume"), "nothing to resume"),
    ],
)
def test_flags_of_language_models_and_of_features_do_not_meet(given, told, tmp_path):
    done = call("train", *given, "--output", tmp_path / "x")
    assert done.exit_code == 2 and told in done.stderr, done.output
    assert not (tmp_path / "x").exists()
