"""Picking for a file of prompts: resumable as answering is."""

import json
import shutil
from pathlib import Path

import pytest
from table_reward import TableReward

from prlhf.config import Individual, ModelConfig
from prlhf.errors import CheckpointError, DataError
from prlhf.generation import Picking, Question, best_of, language_model, pick_file
from prlhf.lm import PersonalizedLM
from prlhf.lm.requests import GenerationOptions

OPTIONS = GenerationOptions(max_new_tokens=5, temperature=1.0, seed=2)
QUESTIONS = [
    *(Question(i, "hi", "ann") for i in range(1, 17)),
    Question(17, "hi", "bob", max_new_tokens=3),
    Question(18, "why?", "zoe"),
]
PICKING = Picking(n=3)


def rows(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf8").splitlines()]


@pytest.fixture
def reward():
    return TableReward(lambda text, user: sum(map(ord, text)) * (-1 if user == "bob" else 1))


def test_lines_and_going_on(lm, reward, tmp_path):
    def job(path, picking=PICKING, name="one", **more):
        return pick_file(lm, reward, QUESTIONS, path, picking, OPTIONS, reward_name=name, **more)

    whole, part = tmp_path / "whole.jsonl", tmp_path / "part.jsonl"
    reward.shares = lambda text: [1e6 * len(text)]
    done, spent, unsure = job(whole, candidates=True)
    assert unsure == 17  # of those whom the model knows
    assert (done.kept, done.written, done.unknown) == (0, 18, ("zoe",))
    found = rows(whole)
    picks = best_of(lm, reward, ["hi", "hi", "why?"], ["ann", "bob", "zoe"], n=3, max_new_tokens=[5, 3, 5],
                    options=OPTIONS)  # fmt: skip
    assert [found[i]["response"] for i in (0, 16, 17)] == [p.text for p in picks]
    assert found[16]["candidates"][0]["text"] == picks[1].text and not found[17]["known"]
    assert found[0]["tokens"]["generated"] == spent.generated - sum(r["tokens"]["generated"] for r in found[16:])

    wanted = whole.read_bytes()
    part.write_bytes(wanted[: wanted.index(b"\n") + 30])
    done, spent, _ = job(part, candidates=True)
    assert part.read_bytes() == wanted and (done.kept, done.written) == (1, 17)
    for other in ({"candidates": False}, {"name": "two"}, {"picking": Picking(n=4)}):
        with pytest.raises(DataError, match="another model or other options"):
            job(part, **{"candidates": True, **other})


def test_plain_models_know_nobody(base_folder, lm, tmp_path):
    plain = language_model(base_folder())
    assert len(plain.users) == 0 and plain.user_model.tokens == 0
    alike = PersonalizedLM.create(ModelConfig(base=base_folder()), Individual(tokens=0))
    assert plain.generate(["hi"], max_new_tokens=5) == alike.generate(["hi"], max_new_tokens=5)
    lm.save_pretrained(tmp_path / "run" / "model")
    assert len(language_model(str(tmp_path / "run")).users) == 2
    with pytest.raises(CheckpointError, match="no finished prlhf model"):
        language_model(str(tmp_path))


def test_models_of_the_hub_are_plain_or_of_this_library(base_folder, lm, tmp_path, monkeypatch):
    """A local cache as the hub's client lays it out; nothing else can be reached."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    for name, source in (("plain", Path(base_folder())), ("run", lm.save_pretrained(tmp_path / "model"))):
        place = tmp_path / f"models--someone--{name}"
        shutil.copytree(source, place / "snapshots" / "c0ffee")
        (place / "refs").mkdir()
        (place / "refs" / "main").write_text("c0ffee")
    plain = language_model("someone/plain")
    assert len(plain.users) == 0
    here = language_model(base_folder())
    assert plain.generate(["hi"], max_new_tokens=5) == here.generate(["hi"], max_new_tokens=5)
    assert len(language_model("someone/run").users) == 2
    for lost in ("someone/else", "else", "runs/some/else"):
        with pytest.raises(CheckpointError, match=f"no model at {lost}: there is no folder of that name"):
            language_model(lost)
