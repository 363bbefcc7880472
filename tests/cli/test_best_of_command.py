"""`prlhf best-of` as a person runs it."""

import json

import pytest
import torch
import typer
from typer.testing import CliRunner

from prlhf.cli.best_of import best_of
from prlhf.config import Individual, ModelConfig
from prlhf.config.rewards import Factor, PerUser, TfIdf
from prlhf.errors import ConfigError, DataError
from prlhf.generation import best_of as pick_best
from prlhf.generation.pick_jobs import reward_name
from prlhf.generation.picks import Pick
from prlhf.lm import PersonalizedLM
from prlhf.lm.requests import GenerationOptions
from prlhf.rewards import Votes, fit_reward, load_reward
from prlhf.rewards.features import make_features
from prlhf.types import Comparison

WAYS = [
    (["--user", "ann"], {}),
    (["--user", "ann", "--by", "lcb", "--as-user"], {"by": "lcb", "as_user": True}),
    (["--user", "bob", "--no-greedy"], {"greedy": False}),
    (["--user", "bob", "--method", "beams", "--keep", "2", "--chunk", "2"], {"beams": 2, "chunk": 2}),
]


@pytest.fixture
def run_folder(base_folder, tmp_path):
    lm = PersonalizedLM.create(ModelConfig(base=base_folder()), Individual(tokens=3), ["ann", "bob"], seed=1)
    with torch.no_grad():
        lm.user_model.table.weight[1:] = torch.randn(2, 96, generator=torch.Generator().manual_seed(5))
    return str(lm.save_pretrained(tmp_path / "run" / "model").parent)


def vote(user, better, worse, i):
    return Comparison("Which?", better * (i + 1), worse * (i + 1), user=user, id=f"{user}-{i}")


@pytest.fixture
def reward_folder(tmp_path):
    """Ann likes long answers, Bob short ones; lengths are among the surface features."""
    votes = [vote("ann", "word word word ", "word ", i) for i in range(6)]
    votes += [vote("bob", "word ", "word word word ", i) for i in range(6)]
    features = make_features(TfIdf(), votes)
    reward = fit_reward(PerUser(), Votes.of(votes, features))
    reward.features = features
    return str(reward.save(tmp_path / "reward"))


@pytest.fixture
def run(monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr("prlhf.cli.best_of.no_loading_bars", lambda: None)
    app = typer.Typer()
    app.command()(best_of)
    return lambda *words: CliRunner().invoke(app, [*words, "--max-new-tokens", "6"])


def test_one_prompt(run, run_folder, reward_folder):
    lm, reward = PersonalizedLM.from_pretrained(run_folder), load_reward(reward_folder)
    options = GenerationOptions(max_new_tokens=6, temperature=1.0, seed=3)
    for words, more in WAYS:
        done = run(run_folder, "hi", "--reward", reward_folder, "-n", "4", "--seed", "3", *words)
        assert done.exit_code == 0, done.output
        (pick,) = pick_best(lm, reward, ["hi"], words[1], n=4, options=options, **more)
        assert done.stdout == pick.text + "\n"
        assert f"tokens: {pick.spent.generated} generated, {pick.spent.ratio:.1f} times one plain answer" in done.stderr
    shown = run(run_folder, "hi", "--reward", reward_folder, "-n", "4", "--user", "zoe", "--candidates")
    assert "note: 1 user is unknown to the reward model, which picks for the generic user ('zoe')" in shown.stderr
    assert "reward" in shown.stdout and shown.stdout.count("1x") == 4


def test_files_votes_and_going_on(run, base_folder, reward_folder, tmp_path):
    prompts, users, votes, out = (tmp_path / name for name in ("p.txt", "u.txt", "v.jsonl", "o.jsonl"))
    prompts.write_text("hi\nwhy?\n")
    users.write_text("zoe\nbob\n")
    lines = [vote("zoe", "word word word ", "word ", i) for i in range(4)]
    votes.write_text(
        "".join(
            json.dumps({"prompt": c.prompt, "chosen": c.chosen, "rejected": c.rejected, "user_id": c.user}) + "\n"
            for c in lines
        )
    )
    words = [base_folder(), "--reward", reward_folder, "-n", "3", "--prompts", str(prompts), "--users", str(users)]
    words += ["--each-user", "--votes", str(votes), "--candidates"]
    done = run(*words, "--output", str(out))
    assert done.exit_code == 0, done.output
    assert "Folded in first: 4 votes of 1 user" in done.stderr and "unknown" not in done.stderr
    assert "4 answers written" in done.stdout and "times 4 plain answers" in done.stderr
    whole = out.read_text()
    found = [json.loads(line) for line in whole.splitlines()]
    assert [(r["user"], r["prompt"], r["known"], len(r["candidates"])) for r in found] == [
        ("zoe", "hi", True, 3), ("bob", "hi", True, 3), ("zoe", "why?", True, 3), ("bob", "why?", True, 3)
    ]  # fmt: skip
    assert found[0]["response"] == found[0]["candidates"][0]["text"]
    out.write_text(whole[:-7])
    assert "1 answer written (3 were there)" in run(*words, "--output", str(out)).stdout
    assert out.read_text() == whole
    printed = run(*words)
    assert [json.loads(line)["response"] for line in printed.stdout.splitlines()] == [r["response"] for r in found]
    everybody = run(*words[:7], "--each-user")
    assert [json.loads(line)["user"] for line in everybody.stdout.splitlines()] == ["ann", "bob"] * 2


def test_a_pick_that_is_not_surely_better_is_told(run, run_folder, reward_folder, tmp_path, monkeypatch):
    words = [run_folder, "--reward", reward_folder, "-n", "3", "--user", "ann"]
    said = "note: the reward model does not tell the candidates apart"
    for unsure in (True, False):
        monkeypatch.setattr(Pick, "unsure", unsure)
        assert (f"{said} for this user: the best is" in run(*words, "hi").stderr) == unsure
        (tmp_path / "p.txt").write_text("hi\nwhy?\n")
        out = tmp_path / f"{unsure}.jsonl"
        told = run(*words, "--prompts", str(tmp_path / "p.txt"), "--output", str(out)).stderr
        assert (f"{said} in 2 of 2 cases" in told) == unsure


def test_votes_of_others_and_columns_of_other_names(run, base_folder, reward_folder, tmp_path):
    votes, prompts = tmp_path / "v.jsonl", tmp_path / "p.csv"
    votes.write_text('{"question": "Which?", "better": "word word", "worse": "word", "worker": "zoe"}\n')
    prompts.write_text("question\nhi\n")
    names = {"prompt": "question", "chosen": "better", "rejected": "worse", "user_id": "worker"}
    columns = [word for ours, theirs in names.items() for word in ("--set", f"data.columns.{ours}={theirs}")]
    words = [base_folder(), "--reward", reward_folder, "-n", "2", "--prompts", str(prompts), "--user", "fresh1"]
    done = run(*words, "--votes", str(votes), *columns)
    assert done.exit_code == 0, done.output
    assert f"{votes} has no vote of fresh1 (it has 1 vote of 1 other user)" in " ".join(done.stderr.split())
    prompts.write_text("question\n")
    done = run(*words, *columns[:2])
    assert isinstance(done.exception, DataError) and "found no prompt" in str(done.exception)


def test_the_name_of_a_reward_model_knows_its_users(reward_folder):
    reward = load_reward(reward_folder)
    before = reward_name(reward, reward_folder)
    assert before == reward_name(load_reward(reward_folder), reward_folder)
    with reward.meeting([vote("zoe", "word word ", "word ", 0)]):
        assert reward_name(reward, reward_folder) != before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--reward", "r"], "give a PROMPT"),
        (["hi", "--reward", "r", "--output", "o"], "belong to --prompts"),
        (["hi", "--reward", "r", "--method", "magic"], "expected best-of or beams"),
        (["hi", "--reward", "r", "--method", "beams", "--keep", "0"], "at least 1 beam"),
        (["hi", "--reward", "r", "--method", "beams", "--keep", "3"], "divides n = 16"),
        (["hi", "--reward", "r", "--by", "median"], "expected 'mean' or 'lcb'"),
        (["--prompts", "p", "--reward", "r", "--users", "u", "--user", "x"], "not both"),
    ],
)
def test_options_that_do_not_fit(run, words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run("somewhere", *words)
    assert isinstance(done.exception, ConfigError) and message in str(done.exception)


def test_embeddings_in_a_file_cannot_score_new_answers(run, base_folder, tmp_path):
    from prlhf.config.rewards import Stored
    from tiny_reward import votes, write_votes

    comparisons = votes(users=4, each=10)
    _, embeddings = write_votes(comparisons, tmp_path)
    features = make_features(Stored(path=str(embeddings)), comparisons)
    reward = fit_reward(Factor(rank=0), Votes.of(comparisons, features))
    reward.features = features
    folder = str(reward.save(tmp_path / "reward"))
    done = run(base_folder(), "hi", "--reward", folder)
    assert isinstance(done.exception, ConfigError)
    assert "has none of answers that are written only now" in str(done.exception)
    assert "--features tfidf, hidden:MODEL or sentence:MODEL" in str(done.exception)
