"""A run whose user tokens are written by hand: each user's tokens are the words of the own hidden profile."""

import json
import shutil
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
import torch

from prlhf.config import Custom, DataConfig, Individual, ModelConfig, RunConfig, SplitConfig, TrainingConfig, Uniform
from prlhf.data import Log, load_comparisons
from prlhf.data.planted import World
from prlhf.errors import CheckpointError, ConfigError, DataError
from prlhf.evaluation import evaluate
from prlhf.evaluation.rows import read_config
from prlhf.lm import PersonalizedLM

WORLD = {"users": 8, "votes": 3, "test_pairs": 4}
ALL = ("pooled", "length", "user_text", "in_context", "oracle")


def ids_of(lm, text):
    return lm.tokenizer(f"{text}\n\n", add_special_tokens=False)["input_ids"]


@torch.no_grad()
def write_profiles(lm, world):
    """User tokens at the start that say what the profile in the prompt would say."""
    line = ids_of(lm, "")[-1:]
    for user in world.users:
        ids = ids_of(lm, user.text)
        ids = ids + line * (lm.user_model.tokens - len(ids))
        own = lm.embedding(torch.tensor(ids)).float() - lm.user_model.common
        lm.user_model.table.weight[lm.lookup([user.id])[0]] = own.flatten()


def make_run(folder, config, log, write=lambda lm: None):
    """What `evaluate` needs of a finished run folder, without training."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(config.model_dump_json())
    (folder / "data.json").write_text(json.dumps({"fingerprint": log.fingerprint}))
    log.fixed_split.save(folder / "split.json", log)
    ids = list(dict.fromkeys(c.user for c in log.comparisons))
    lm = PersonalizedLM.create(config.model, config.user_model, ids)
    write(lm)
    lm.save_pretrained(folder / "model")
    return folder


@pytest.fixture(scope="module")
def config():
    return RunConfig(
        data=DataConfig(source="planted", options=WORLD),
        model=ModelConfig(base="planted", user_tokens_at="start", max_prompt_tokens=200),
        user_model=Individual(tokens=32),
        training=TrainingConfig(device="cpu", layout="packed"),
    )


@pytest.fixture(scope="module")
def log():
    return World(**WORLD).log()


@pytest.fixture(scope="module")
def run(tmp_path_factory, config, log):
    folder = tmp_path_factory.mktemp("runs") / "ours"
    make_run(folder, config, log, lambda lm: write_profiles(lm, World(**WORLD)))
    pooled = config.model_copy(update={"user_model": Uniform(tokens=0), "alpha": 0.0})
    make_run(folder / "pooled", pooled, log)
    return folder


@pytest.fixture(scope="module")
def found(run, tmp_path_factory):
    return evaluate(run, bootstrap=200, cache=tmp_path_factory.mktemp("reference"), against=[run])


def test_personal_tokens_beat_somebody_elses(found):
    o = found.metrics.overall
    assert found.metrics.comparisons == 32 and found.metrics.seen_users == 8
    assert found.reading == found.as_dict()["data"]["reading"] == "56 comparisons from 56 rows."
    assert o.accuracy_seen.value > 0.75
    assert o.accuracy_permuted.value < o.accuracy_seen.value - 0.2
    assert o.permutation_drop.low > 0
    assert o.accuracy_worst_tenth.value <= o.accuracy_per_user.value


def test_every_baseline_is_on_the_same_rows(found):
    assert list(found.baselines) == [
        "pooled",
        "length",
        "user_text",
        "in_context_relative",
        "in_context_raw",
        "oracle",
        "truth",
    ]
    for name, other in found.baselines.items():
        if name == "user_text":
            assert other.scores is None and other.missing == "no comparison has a user text"
            continue
        assert list(other.scores.ids) == list(found.scores.ids)
        assert (
            other.metrics.overall.accuracy_seen.low < other.metrics.overall.accuracy_seen.high
            or name == "truth"
            or (name == "pooled")
        )
        ours, theirs = found.metrics.overall.accuracy_seen.value, other.metrics.overall.accuracy_seen.value
        assert other.difference.overall.accuracy.value == pytest.approx(ours - theirs)


def test_the_difference_is_of_the_users_of_the_columns_beside_it(run, log):
    def measured(names):
        strangers = [replace(c, user=names.get(c.user, c.user)) for c in log.comparisons]
        made = evaluate(run, Log(tuple(strangers), "with strangers"), baselines=("length",), bootstrap=0)
        return made, made.baselines["length"]

    users = sorted({c.user for c in log.comparisons})
    found, length = measured({user: f"not {user}" for user in users[:3]})
    gap = found.metrics.overall.accuracy_seen.value - length.metrics.overall.accuracy_seen.value
    assert length.difference.overall.accuracy.value == pytest.approx(gap)
    assert length.as_dict()["difference"]["overall"]["rows"] == "seen"
    assert length.difference.overall.accuracy.comparisons < len(found.scores)
    assert length.difference_all.overall.accuracy.comparisons == len(found.scores)
    assert "the run minus it, seen users" in found.report().html() and "(all)" not in found.report().html()
    found, length = measured({user: f"not {user}" for user in users})
    assert length.difference == length.difference_all and length.difference.overall.rows == "all"
    assert "(all)" in found.report().html()


def test_the_truth_is_one_and_the_untrained_pooled_model_indifferent(found):
    truth, pooled = found.baselines["truth"].metrics.overall, found.baselines["pooled"].metrics.overall
    assert truth.accuracy_seen.value == 1 and truth.ties_seen.value == 0
    assert pooled.accuracy_seen.value == 0.5 and pooled.ties_seen.value == 1
    assert found.baselines["oracle"].metrics.overall.accuracy_seen.value > 0.85


def test_against_itself_there_is_no_difference(found, run):
    overall = found.against[str(run)].difference.overall
    assert overall.accuracy.value == 0 and overall.users_equal == 8
    assert found.notes == ()


def test_another_run_is_measured_on_the_users_that_this_one_has_seen(run, tmp_path):
    """It knows half of them; its figures of seen users are of all, the others being strangers to it."""
    other = shutil.copytree(run, tmp_path / "other")
    lm = PersonalizedLM.from_pretrained(other / "model")
    few = PersonalizedLM.create(lm.config, lm.user_model.config, lm.users.ids()[:4])
    shutil.rmtree(other / "model")
    few.save_pretrained(other / "model")
    found = evaluate(run, baselines=(), bootstrap=0, against=[other])
    [compared] = found.against.values()
    assert compared.metrics.overall.accuracy_seen.comparisons == found.metrics.overall.accuracy_seen.comparisons > 0
    assert compared.difference.overall.accuracy.users == 8


def test_a_custom_objective_is_measured_where_its_module_is_not(found, run, tmp_path):
    folder = shutil.copytree(run, tmp_path / "run")
    own = read_config(folder).model_copy(update={"objective": Custom(function="no_such_module:loss")})
    (folder / "config.json").write_text(own.model_dump_json())
    again = evaluate(folder, baselines=(), bootstrap=0)
    assert again.scores.h.tolist() == found.scores.h.tolist()


def test_another_run_is_asked_with_the_texts_it_was_trained_with(run, monkeypatch):
    import prlhf.evaluation.run as module

    trained = [replace(c, user_text=f"I am {c.user}.") for c in load_comparisons(read_config(run).data).comparisons]
    monkeypatch.setattr(module, "training_of", lambda *args: (trained, ""))
    seen = []
    scored = module.score_run
    monkeypatch.setattr(
        module, "score_run", lambda lm, config, rows, **o: seen.append(rows) or scored(lm, config, rows, **o)
    )
    found = evaluate(run, baselines=(), bootstrap=0, against=[run])
    own, other = seen
    assert {c.user_text for c in own} == {None} and {c.user_text for c in other} == {f"I am {c.user}." for c in own}
    assert any("was trained with user text" in note for note in found.notes)


def test_texts_that_are_not_there_are_told(run, tmp_path):
    folder = shutil.copytree(run, tmp_path / "run")
    marker = folder / "model" / "prlhf.json"
    marker.write_text(json.dumps({**json.loads(marker.read_text()), "with_user_text": True}))
    found = evaluate(folder, baselines=(), bootstrap=0)
    assert any("was trained with user texts, and there are none here" in note for note in found.notes)


def test_against_is_a_list(run):
    with pytest.raises(ConfigError, match="expected a list of run folders"):
        evaluate(run, against=str(run))


def test_json_names_are_stable(found):
    made = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert set(made) == {"format", "run", "data", "notes", "checks", "metrics", "profiles", "baselines", "against"}
    assert [set(check) for check in made["checks"]] == [{"name", "state", "text", "numbers"}] * 10
    assert made["data"]["source"] == "planted" and made["data"]["side"] == "test and unseen"
    names = {"meaning", "missing", "comparisons", "metrics", "difference", "difference_all"}
    assert set(made["baselines"]["oracle"]) == names
    assert made["baselines"]["user_text"]["metrics"] is None
    assert made["baselines"]["length"]["difference"]["overall"]["accuracy"]["low"] is not None
    assert made["metrics"]["overall"]["accuracy_seen"]["users"] == 8
    (other,) = made["against"].values()
    assert other["difference"]["overall"]["accuracy"]["value"] == 0
    assert sum(p["accuracy_seen"]["users"] for p in made["profiles"].values()) == 8


def test_a_row_a_user_with_the_baselines_beside(found, run, tmp_path):
    found.save_users(tmp_path / "users.parquet")
    table = pq.read_table(tmp_path / "users.parquet").to_pydict()
    assert table["user"] == sorted(table["user"]) and len(table["user"]) == 8
    assert table["accuracy_truth"] == [1.0] * 8 and table["accuracy_pooled"] == [0.5] * 8
    assert table[f"accuracy_against {run}"] == table["accuracy"]
    assert "accuracy_user_text" not in table


def test_every_evaluation_has_the_checks(found):
    """Rows that were written by hand are used; their data have no leak."""
    states = {check.name: check.state for check in found.checks}
    assert states == {
        "marks of serialisation": "nothing found",
        "both sides of the split": "nothing found",
        "memory of the responses": "nothing found",
        "one vote an id": "not applicable",
        "ids and the place of the chosen": "not applicable",
        "ids that name the outcome": "nothing found",
        "ids in the responses": "nothing found",
        "users permuted": "nothing found",
        "votes in context flipped": states["votes in context flipped"],
        "use of the user table": "nothing found",
    }
    context, table = (check.numbers for check in found.checks[-2:])
    assert context["comparisons"] > 0 and context["drop"]["value"] is not None
    assert table["users"] == 8 and table["rank"] > 1 and [part["users"] for part in table["by_votes"]] == [8]


def test_a_table_that_is_not_used_and_rows_that_were_trained_on_are_findings(run, log, config, tmp_path):
    """Every row is the generic one; the training side is measured."""
    folder = make_run(tmp_path / "run", config, log)
    found = evaluate(folder, split="train", baselines=("length",), bootstrap=50)
    named = {check.name for check in found.checks if check.finding}
    assert named == {"both sides of the split", "users permuted", "use of the user table"}
    page = found.report().html()
    assert "with a finding: both sides of the split; users permuted; use of the user table" in page
    assert "24 tests share their pair with training" in page


def test_the_report_shows_figures_baselines_and_profiles(found, tmp_path):
    page = found.report().save(tmp_path / "report.html").read_text("utf8")
    for text in (
        "Evaluation of",
        "somebody else",
        "the run minus it",
        "in_context_raw",
        "P-SOUPS",
        "not applicable",
        "56 comparisons from",
        " checks, ",
        "rows of the user table by their users&#x27; votes in training",
    ):
        assert text in page
    assert page.count("<img") == 2 and "While training" not in page


def test_the_report_shows_learning_curves_of_a_run_that_has_them(found, tmp_path):
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text('{"step": 1, "eval_accuracy_seen": 0.5}\n{"step": 2, "eval_accuracy_seen": 0.75}\n')
    page = replace(found, curves=metrics).report().save(tmp_path / "report.html").read_text("utf8")
    assert "While training" in page and page.count("<img") == 3


def test_other_data_are_taken_whole_and_known_rows_reported(run, log, config):
    some = [c for c in log.comparisons if c.user == log.comparisons[0].user]
    stranger = replace(some[-1], user="somebody new", id="new")
    other = Log((*some, stranger), "other")
    found = evaluate(run, other, baselines=("length",), bootstrap=0)
    assert found.side == "all" and len(found.scores) == 8
    assert found.metrics.unseen_users == 1
    assert "trained on the pair of 3 of these 8 comparisons" in found.notes[0]
    assert "pooled" not in found.baselines and found.baselines["length"].scores is not None
    part = evaluate(run, other, split="train", baselines=(), bootstrap=0)
    assert part.side == "train" and 0 < len(part.scores) < 8


def test_without_its_training_data_a_run_can_still_be_measured(run, log, config, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run, copy, ignore=shutil.ignore_patterns("pooled"))
    gone = config.model_copy(update={"data": DataConfig(source="gone.jsonl")})
    (copy / "config.json").write_text(gone.model_dump_json())
    some = Log(log.comparisons[-5:], "other")
    found = evaluate(copy, some, baselines=ALL, bootstrap=0)
    assert "no file at gone.jsonl" in found.baselines["length"].missing
    assert "no file at gone.jsonl" in found.baselines["in_context_raw"].missing
    assert found.baselines["oracle"].missing == "the truth of these users is not known"
    assert "--train-pooled" in found.baselines["pooled"].missing
    assert "not known" in found.notes[0]
    with pytest.raises(DataError, match=r"gone\.jsonl"):
        evaluate(copy)


def test_the_log_in_memory_is_recognised_as_the_runs_own(run, log):
    found = evaluate(run, log, baselines=(), bootstrap=0)
    assert found.side == "test and unseen" and len(found.scores) == 32
    train = evaluate(run, log, split="train", baselines=(), bootstrap=0)
    assert len(train.scores) == 24 and "no held-out measurement" in train.notes[0]


def test_a_side_of_other_data_follows_the_split_of_the_run_unless_told(run, tmp_path):
    from prlhf.evaluation.rows import read_config, select

    own = read_config(run)
    other = {"source": "planted", "options": {**WORLD, "seed": 5}}
    assert len(select(run, own, DataConfig(**other), "test").comparisons) == 32  # its own fixed sides
    rows = [{"prompt": f"{i}?", "chosen": "a", "rejected": "b", "user_id": "u"} for i in range(40)]
    file = tmp_path / "mine.jsonl"
    file.write_text("\n".join(json.dumps(r) for r in rows))
    assert len(select(run, own, str(file), "test").comparisons) == 4
    half = DataConfig(source=str(file), split=SplitConfig(test=0.5))
    assert len(select(run, own, half, "test").comparisons) == 20
    assert len(select(run, own, str(file), None).comparisons) == len(load_comparisons(str(file))) == 40


def test_a_file_is_read_with_the_options_of_the_run_where_they_fit(run, tmp_path):
    from prlhf.evaluation.rows import read_config, select

    options = {"source": "x", "columns": {"user_id": "worker", "group": "team"}, "on_bad_row": "skip"}
    own = read_config(run).model_copy(update={"data": DataConfig(**options)})
    file = tmp_path / "mine.jsonl"
    rows = [{"prompt": f"{i}?", "chosen": "a", "rejected": "b", "worker": f"u{i}"} for i in range(3)]
    file.write_text("\n".join(map(json.dumps, [*rows, {"prompt": 5}])))
    found = select(run, own, str(file), None)
    assert [c.user for c in found.comparisons] == ["u0", "u1", "u2"]
    assert found.config.columns == {"user_id": "worker"} and "1 bad rows were skipped" in found.log.notes.text()


def test_refusals(run, config, tmp_path):
    with pytest.raises(ConfigError, match="tset"):
        evaluate(run, split="tset")
    with pytest.raises(ConfigError, match="lenght"):
        evaluate(run, baselines=("lenght",))
    with pytest.raises(ConfigError, match=r"alpha 0\.5 and an individual user model"):
        evaluate(run, pooled=run, baselines=("pooled",))
    with pytest.raises(DataError, match="nothing on the side 'validation'; its sides: train 24, test 32"):
        evaluate(run, split="validation")
    with pytest.raises(CheckpointError, match="not a run folder"):
        evaluate(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(CheckpointError, match=r"not a run folder .*unknown option model_type"):
        evaluate(run, against=[tmp_path])
    (tmp_path / "config.json").write_text(config.model_dump_json())
    for options in ({"run": tmp_path}, {"run": run, "against": [run, tmp_path]}, {"run": run, "pooled": tmp_path}):
        with pytest.raises(CheckpointError, match=f"go on with: prlhf train --output {tmp_path} --resume"):
            evaluate(**options)
