"""`prlhf train` as a command; the training itself is replaced."""

import io
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from prlhf.cli.main import app
from prlhf.config import Individual, LowRank, ModelConfig, RunConfig, Uniform, load_config
from prlhf.evaluation import Scores, summarise
from prlhf.lm import PersonalizedLM
from prlhf.types import Comparison, Message

RUN = CliRunner()


def some_metrics(groups=(None, None)):
    rng = np.random.default_rng(0)
    h = rng.normal(size=(3, 40))
    users = zip(("ann", "bob"), groups, strict=True)
    votes = [Comparison("?", "a", "b", user=user, group=group) for user, group in users for _ in range(20)]
    scores = Scores.of(votes, seen=np.ones(40, bool), h_specific=h[0], h_generic=h[1], h_permuted=h[2])
    return summarise(scores, beta=0.1, bootstrap=20)


@pytest.fixture
def calls(monkeypatch):
    """What `prlhf train` asks for; nothing is trained."""
    import prlhf.training.train as module

    made = []

    def train(config, output, *, resume):
        made.append((config, output, resume))
        users = type("Users", (), {"__len__": lambda self: 2, "ids": lambda self, rows: ["ann o'hara"]})()
        return SimpleNamespace(
            lm=SimpleNamespace(users=users),
            metrics=some_metrics(),
            folder=output,
            sample=None,
            user_texts={"ann o'hara": "in a hurry"},
        )

    monkeypatch.setattr(module, "train", train)
    return made


def test_flags_win_over_the_recipe_and_set_over_both(calls, tmp_path):
    recipe = tmp_path / "r.toml"
    recipe.write_text('seed = 1\nalpha = 0.3\n[data]\nsource = "a.jsonl"\n[user_model]\ntokens = 3\n')
    flags = ["--recipe", str(recipe), "-o", str(tmp_path / "run"), "--seed", "2", "--data", "b.jsonl", "--model", "m"]
    flags += ["--dtype", "bfloat16"]
    done = RUN.invoke(
        app,
        ["train", *flags, "--adapter", "a", "--on-bad-row", "skip", "--set", "seed=3", "-s", "objective.beta=0.5"],
    )
    assert done.exit_code == 0, done.output
    config, output, resume = calls[0]
    assert (config.seed, config.alpha, config.data.source, config.objective.beta) == (3, 0.3, "b.jsonl", 0.5)
    assert (config.model.base, config.model.adapter, config.user_model) == ("m", "a", Individual(tokens=3))
    assert config.model.dtype == "bfloat16"
    assert output == tmp_path / "run" and not resume and config.data.on_bad_row == "skip"


def test_ends_with_figures_and_what_to_do_next(calls, tmp_path):
    out = RUN.invoke(app, ["train", "-o", str(tmp_path / "run")]).stdout
    assert "own row, seen users" in out and "somebody else's row" in out
    assert f"prlhf evaluate {tmp_path / 'run'}" in out
    assert "--user 'ann o'\"'\"'hara' --user-text 'in a hurry'" in out


def test_resume_alone_takes_the_stored_configuration(calls, tmp_path):
    stored = RunConfig(seed=7, user_model=LowRank(rank=3))
    (tmp_path / "config.json").write_text(json.dumps(stored.model_dump(mode="json")))
    done = RUN.invoke(app, ["train", "-o", str(tmp_path), "--resume"])
    assert done.exit_code == 0, done.output
    assert calls == [(stored, tmp_path, True)]


def test_resume_without_a_run(calls, tmp_path):
    done = RUN.invoke(app, ["train", "-o", str(tmp_path / "none"), "--resume"])
    assert done.exit_code == 2 and "nothing to resume" in done.stderr and not calls


def test_unknown_set_key_suggests_the_nearest(calls, tmp_path):
    done = RUN.invoke(app, ["train", "-o", str(tmp_path / "x"), "--set", "objective.bata=1"])
    assert done.exit_code == 2 and "did you mean objective.beta?" in done.stderr and not calls


def test_an_option_without_a_flag_is_found_in_the_help_that_its_error_names():
    wrong = RUN.invoke(app, ["train", "-o", "x", "--lr", "3"])
    assert wrong.exit_code == 2 and "train --help" in wrong.stderr
    text = " ".join(RUN.invoke(app, ["train", "--help"], env={"COLUMNS": "100", "NO_COLOR": "1"}).stdout.split())
    assert "--set training.learning_rate=1e-4" in text
    load_config(RunConfig, overrides=["training.learning_rate=1e-4"])


def test_a_flag_that_does_not_fit_is_named_rather_than_the_recipe(calls, tmp_path):
    recipe = tmp_path / "votes.toml"
    recipe.write_text("seed = 1\n")
    given = ["train", "-o", str(tmp_path / "run"), "--recipe", str(recipe)]
    done = RUN.invoke(app, [*given, "--alpha", "2"])
    assert done.exit_code == 2 and done.stderr.startswith("error: --alpha: option alpha: ")
    done = RUN.invoke(app, [*given, "--dtype", "bfloat"])
    assert done.exit_code == 2 and "--dtype: option model.dtype: " in done.stderr and "bfloat16" in done.stderr
    done = RUN.invoke(app, [*given, "--on-bad-row", "skp"])
    assert done.exit_code == 2 and done.stderr.startswith("error: --on-bad-row: option data.on_bad_row: ")
    assert not calls


def test_interrupt_says_how_to_go_on(monkeypatch, tmp_path):
    import prlhf.training.train as module
    from prlhf.training.callbacks import COMPLETE
    from prlhf.training.run import Run

    folder = tmp_path / "run"

    def interrupted(leave=lambda run: None):
        def stopped(config, output, **options):
            leave(Run(output))
            raise KeyboardInterrupt

        monkeypatch.setattr(module, "train", stopped)
        done = RUN.invoke(app, ["train", "-o", str(folder)])
        assert done.exit_code == 130
        return done.stderr.strip()

    def saved(run):
        (run.checkpoints / "checkpoint-7").mkdir(parents=True)
        (run.checkpoints / "checkpoint-7" / COMPLETE).touch()

    again, resume = "nothing was kept; run the same command again", f"prlhf train --output {folder} --resume"
    assert interrupted() == f"interrupted; {again}" and not folder.exists()
    assert interrupted(lambda run: run.open(RunConfig(), resume=False)) == f"interrupted; {again}"
    told = interrupted(lambda run: run.metrics.write_text("{}"))
    assert told == f"interrupted; no checkpoint was finished, so no step is kept; begin again with: {resume}"
    assert interrupted(saved) == f"interrupted; go on with: {resume}"


def test_nothing_held_out(calls, monkeypatch, tmp_path):
    import prlhf.training.train as module

    result = SimpleNamespace(
        lm=SimpleNamespace(users=()),
        metrics=None,
        folder=tmp_path,
        sample=None,
        user_texts={"ann o'hara": "in a hurry"},
        held_out=0,
    )
    monkeypatch.setattr(module, "train", lambda *args, **kwargs: result)
    out = RUN.invoke(app, ["train", "-o", str(tmp_path / "run")]).stdout
    assert "no comparison was held out, so nothing was measured" in out and "--user" not in out
    result.held_out = 8
    out = " ".join(RUN.invoke(app, ["train", "-o", str(tmp_path / "run")]).stdout.split())
    assert (
        "8 thumbs were held out, but nothing was measured: of those to be measured no user has both a thumb up" in out
        and "no comparison" not in out
    )


@pytest.fixture
def finished(base_folder, tmp_path, monkeypatch):
    """`prlhf train` ends with this model; returns a function from a held-out prompt to the output."""
    import prlhf.training.train as module

    def ends(sample, users=("ann", "bob", "cem"), texts=None, **options):
        model = ModelConfig(base=base_folder(), **options)
        lm = PersonalizedLM.create(model, Individual(tokens=2) if users else Uniform(), users)
        result = SimpleNamespace(
            lm=lm, metrics=None, folder=tmp_path, sample=sample, user_texts=texts or {}, held_out=0
        )
        monkeypatch.setattr(module, "train", lambda *args, **kwargs: result)
        done = RUN.invoke(app, ["train", "-o", str(tmp_path / "run")])
        assert done.exit_code == 0, (done.output, done.exception)
        return done.stdout, lm

    return ends


def test_the_two_users_get_their_texts_and_the_generic_one_none(finished, monkeypatch):
    seen = []
    generate = PersonalizedLM.generate

    def listening(self, prompts, users=None, **options):
        seen.append((users, options["user_texts"]))
        return generate(self, prompts, users, **options)

    monkeypatch.setattr(PersonalizedLM, "generate", listening)
    finished("Why?", texts={"ann": "I am a nurse."})
    assert seen == [([None, "ann", "bob"], [None, "I am a nurse.", None])]


def test_ends_with_answers_of_the_generic_user_and_two_users(finished):
    out, lm = finished("How do I\nsleep?")
    assert "answers to the held-out prompt “How do I sleep?”" in out
    [text] = lm.generate(["How do I\nsleep?"], max_new_tokens=48)
    for name in ("generic user", "ann", "bob"):  # at step 0 all answer alike
        assert f"  {name}: {' '.join(text.split())}" in out
    assert "  cem: " not in out


def test_an_answer_without_words_is_pointed_at(finished, monkeypatch):
    assert "no words" not in finished("Why?")[0]
    mute = SimpleNamespace(text=" ", finished=True)
    monkeypatch.setattr(PersonalizedLM, "generate", lambda self, prompts, **options: [mute] * len(prompts))
    out = finished("Why?")[0]
    assert "  ann: (no words)" in out and "an answer has no words" in out


def test_answers_that_cannot_be_shown_do_not_break_the_end(finished):
    assert "answers to" not in finished(None)[0]
    assert "prlhf chat" in finished("x" * 5000, max_prompt_tokens=4000)[0]  # fills the context
    assert "  generic user: " in finished((Message("user", "hi"),), users=())[0]


def test_other_processes_say_nothing(calls, monkeypatch, tmp_path):
    monkeypatch.setenv("RANK", "1")
    assert RUN.invoke(app, ["train", "-o", str(tmp_path / "run")]).stdout == ""


def test_metrics_table_leaves_out_what_does_not_exist():
    from prlhf.cli.tables import metrics_table
    from prlhf.evaluation.result import HEADLINES

    metrics = some_metrics()
    assert math.isnan(metrics.overall.accuracy_generic_unseen.value)
    assert metrics_table(metrics).row_count == len(HEADLINES) - 1


def test_metrics_table_with_two_groups_on_a_narrow_terminal():
    from rich.console import Console

    from prlhf.cli.tables import metrics_table
    from prlhf.evaluation.result import HEADLINES

    console = Console(width=80, record=True, file=io.StringIO())
    console.print(metrics_table(some_metrics(groups=("majority", "minority"))))
    out = console.export_text()
    metrics = some_metrics(groups=("majority", "minority"))
    assert all(label in out for name, label in HEADLINES.items() if getattr(metrics.overall, name).exists), out
    assert "majority" in out and "minority" in out and "…" not in out
    assert str(metrics.overall.accuracy_seen) in out
    assert all(f"{figures.accuracy_seen.value:.3f}" in out for figures in metrics.groups.values())
