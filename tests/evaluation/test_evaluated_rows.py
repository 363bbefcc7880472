"""Which comparisons a run is measured on: its own are known by content, and what is no run is refused in a sentence."""

import json
from dataclasses import replace

import pytest

from prlhf.config import DataConfig, RunConfig, SplitConfig
from prlhf.data import Log, load_comparisons, split
from prlhf.errors import CheckpointError, DataError
from prlhf.evaluation.rows import read_config, select, told_as, training_of
from prlhf.types import Comparison

SPLIT = SplitConfig(test=0.3, validation=0.2)
VOTES = [{"prompt": f"{i}?", "chosen": "a", "rejected": "b", "user_id": f"u{i % 3}"} for i in range(40)]


def write(path, votes, before=""):
    path.write_text(before + "".join(f"{json.dumps(vote)}\n" for vote in votes))
    return path


@pytest.fixture
def run(tmp_path):
    """A run folder on `votes.jsonl`, as far as this needs one."""
    config = RunConfig(data=DataConfig(source=str(write(tmp_path / "votes.jsonl", VOTES)), split=SPLIT))
    log = load_comparisons(config.data)
    (tmp_path / "config.json").write_text(config.model_dump_json())
    (tmp_path / "data.json").write_text(json.dumps({"fingerprint": log.fingerprint}))
    split(log, SPLIT).save(tmp_path / "split.json", log)
    return tmp_path


def contents(rows):
    return [(c.prompt, c.user) for c in rows]


@pytest.mark.parametrize("gone", [False, True])
def test_the_same_votes_under_other_ids_are_the_run_s_own(run, gone):
    own = select(run, read_config(run), None, None)
    assert own.own and 8 < len(own.comparisons) < 16
    blank = write(run / "blank.jsonl", VOTES, before="\n\n")
    named = write(run / "named.jsonl", [{**vote, "id": f"v{i}"} for i, vote in enumerate(VOTES)])
    if gone:
        (run / "votes.jsonl").unlink()
    for other in (blank, DataConfig(source=str(named), columns={"id": "id"})):
        found = select(run, read_config(run), other, None)
        assert [c.id for c in found.comparisons] != [c.id for c in own.comparisons]
        assert found.own and contents(found.comparisons) == contents(own.comparisons)
        assert contents(found.training) == contents(own.training) and not found.why


def test_sides_that_cannot_be_made_again_are_read_with_the_run_s_data_or_refused(run):
    own = load_comparisons(read_config(run).data)
    other = SplitConfig(test=0.5, seed=7)  # as if somebody had chosen the rows
    split(own, other).save(run / "split.json", own)
    blank = load_comparisons(str(write(run / "blank.jsonl", VOTES, before="\n")))
    found = select(run, read_config(run), blank, "train")
    assert contents(found.comparisons) == contents(own.comparisons[i] for i in split(own, other).train)
    (run / "votes.jsonl").unlink()
    with pytest.raises(DataError, match=r"split\.json: (rows|\d+ rows) of side"):
        select(run, read_config(run), blank, None)
    assert training_of(run, read_config(run), blank)[0] is None


def test_fewer_votes_are_other_data(run):
    found = select(run, read_config(run), write(run / "few.jsonl", VOTES[:39]), None)
    assert not found.own and found.side == "all" and len(found.comparisons) == 39
    assert isinstance(found.log, Log)


def test_what_is_no_run_is_refused_in_one_sentence(tmp_path):
    def told():
        with pytest.raises(CheckpointError) as error:
            read_config(tmp_path)
        (line,) = str(error.value).splitlines()
        assert line.startswith(f"{tmp_path} is not a run folder of `prlhf train` (")
        return line

    assert "no config.json" in told()
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"], "vocab_size": 272}))
    assert "(config.json: unknown option architectures" in told() and told().endswith(", and 1 more)")
    (tmp_path / "config.json").write_text("{")
    assert "is not a JSON recipe" in told()
    (tmp_path / "config.json").write_text('{"alpha": 7}')
    assert "option alpha" in told() and "more" not in told()


def test_every_run_is_told_what_it_was_trained_with():
    bare = [Comparison("?", "a", "b", user=user) for user in ("ann", "bob", None)]
    told = [replace(c, user_text=f"I am {c.user}.") if c.user else c for c in bare]
    assert told_as(bare, bare, "x") == (bare, "") and told_as(told, told, "x") == (told, "")
    without, note = told_as(told, bare, "runs/x")
    assert without == bare and note == "runs/x was trained without user text; asked without."
    earlier = [replace(c, prompt="!", user_text="something else") for c in told[:1]]
    again, note = told_as(bare, [*earlier, *told], "runs/x")
    assert again == told and note.startswith("runs/x was trained with user text; asked with each user's last one")
    assert told_as(told, None, "x") == (told, "")  # nobody knows


def test_a_model_without_a_run_is_called_one(tmp_path, monkeypatch):
    monkeypatch.setattr("prlhf.lm.is_checkpoint", lambda folder: True)
    with pytest.raises(CheckpointError, match="but a model alone, for `prlhf generate`"):
        read_config(tmp_path)
