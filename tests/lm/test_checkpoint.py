"""Checkpoints: bit-identical, readable by plain PEFT, whole or not there at all."""

import json
import logging
import os
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from trained_model import USERS, trained
from transformers import AutoModelForCausalLM

import prlhf.lm.checkpoint as checkpoint
from families import TYPES
from prlhf.config import Cluster, Full, Individual, Lora, LowRank, ModelConfig, RunConfig, Uniform
from prlhf.errors import CheckpointError
from prlhf.lm import PersonalizedLM, is_checkpoint
from tiny_models import make_model, make_tokenizer

USER_MODELS = [Uniform(tokens=2), Individual(tokens=2), Cluster(tokens=2, clusters=3), LowRank(tokens=2, rank=3)]


@torch.no_grad()
def outputs(lm: PersonalizedLM) -> tuple[torch.Tensor, torch.Tensor]:
    rows = [0, *lm.lookup(USERS)]
    ids = torch.tensor([lm.encode_prompt("a question", row) for row in rows])
    mask = torch.ones_like(ids)
    generated = lm.model.generate(ids, attention_mask=mask, max_new_tokens=8, do_sample=False, pad_token_id=lm.pad_id)
    return lm(ids).logits, generated


@pytest.mark.parametrize("tuning", [Lora(), Full()], ids=["lora", "full"])
@pytest.mark.parametrize("user_model", USER_MODELS, ids=lambda c: c.type)
def test_reloading_is_bit_identical(base_folder, tmp_path, user_model, tuning):
    lm = trained(base_folder(), user_model, tuning)
    lm.with_user_text = tuning.type == "lora"
    folder = lm.save_pretrained(tmp_path / "model")
    again = PersonalizedLM.from_pretrained(folder)
    for a, b in zip(outputs(lm), outputs(again), strict=True):
        assert torch.equal(a, b)
    assert again.config == lm.config and again.user_model.config == user_model
    assert again.base_fingerprint == lm.base_fingerprint
    assert again.with_user_text is lm.with_user_text
    assert again.users.ids([1, 2, 3]) == USERS and not again.training
    twice = PersonalizedLM.from_pretrained(again.save_pretrained(tmp_path / "copy"))
    assert torch.equal(outputs(twice)[0], outputs(lm)[0])


@pytest.mark.parametrize("architecture", TYPES[1:])
def test_reloading_other_architectures(base_folder, tmp_path, architecture):
    lm = trained(base_folder(architecture))
    again = PersonalizedLM.from_pretrained(lm.save_pretrained(tmp_path / "model"))
    assert torch.equal(outputs(again)[0], outputs(lm)[0])


def test_a_reloaded_model_can_be_trained(base_folder, tmp_path):
    again = PersonalizedLM.from_pretrained(trained(base_folder()).save_pretrained(tmp_path / "model"))
    assert any(p.requires_grad for n, p in again.model.named_parameters() if "lora" in n)
    assert not any(p.requires_grad for n, p in again.model.named_parameters() if "lora" not in n)


@torch.no_grad()
def test_the_folder_loads_in_plain_peft_as_the_model_without_user_tokens(base_folder, tmp_path):
    lm = trained(base_folder())
    folder = lm.save_pretrained(tmp_path / "model")
    plain = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base_folder()), str(folder)).eval()
    ids = torch.tensor([lm.encode_prompt("a question", -1)])
    assert torch.equal(plain(ids).logits, lm(ids).logits)
    with plain.disable_adapter():
        assert not torch.equal(plain(ids).logits, lm(ids).logits)
    held = {p.name for p in folder.iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "prlhf.json", "README.md", "user_model"} <= held
    assert json.loads((folder / "adapter_config.json").read_text())["modules_to_save"] is None
    assert not [p for p in folder.rglob("*") if p.suffix in (".bin", ".pt", ".pth", ".pkl")]


@torch.no_grad()
def test_a_fully_tuned_folder_loads_in_plain_transformers(base_folder, tmp_path):
    lm = trained(base_folder(), tuning=Full())
    plain = AutoModelForCausalLM.from_pretrained(lm.save_pretrained(tmp_path / "model")).eval()
    ids = torch.tensor([lm.encode_prompt("a question", -1)])
    assert torch.equal(plain(ids).logits, lm(ids).logits)


def test_the_card(base_folder, tmp_path):
    lora = trained(base_folder()).save_pretrained(tmp_path / "lora", "\nMeasured: 0.1.\n")
    text = (lora / "README.md").read_text()
    assert (
        "base_model_relation: adapter" in text and "each of its 3 users" in text and text.endswith("Measured: 0.1.\n")
    )
    full = trained(base_folder(), tuning=Full()).save_pretrained(tmp_path / "full")
    text = (full / "README.md").read_text()
    assert "base_model_relation: finetune" in text and "lora" not in text and "plain transformers" in text


def test_another_base_is_refused(tmp_path):
    base = tmp_path / "base"
    make_model().save_pretrained(base)
    make_tokenizer().save_pretrained(base)
    folder = trained(str(base)).save_pretrained(tmp_path / "model")
    changed = make_model()
    with torch.no_grad():
        changed.get_input_embeddings().weight.mul_(1.01)
    changed.save_pretrained(base)
    with pytest.raises(CheckpointError, match="was trained on another model"):
        PersonalizedLM.from_pretrained(folder)


def test_unfinished_and_foreign_folders(base_folder, tmp_path):
    lm = trained(base_folder())
    folder = lm.save_pretrained(tmp_path / "run" / "model")
    assert PersonalizedLM.from_pretrained(tmp_path / "run").config == lm.config  # a run's folder will do
    (folder / "prlhf.json").unlink()
    assert not is_checkpoint(folder)
    with pytest.raises(CheckpointError, match=r"no finished prlhf model \(prlhf.json is missing\)"):
        PersonalizedLM.from_pretrained(folder)
    with pytest.raises(CheckpointError, match="there is no folder of that name, and the hub gives none: "):
        PersonalizedLM.from_pretrained("somebody/a-model")
    with pytest.raises(CheckpointError, match=rf"there is no folder of that name; did you mean {tmp_path / 'run'}\?"):
        PersonalizedLM.from_pretrained(tmp_path / "runn")
    with pytest.raises(CheckpointError, match="is no prlhf checkpoint"):
        lm.save_pretrained(folder)  # not ours any more, as far as one can see
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="is no prlhf checkpoint"):
        lm.save_pretrained(tmp_path / "file")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "does not describe a prlhf model"),
        ("[]", "does not describe a prlhf model"),
        ('{"format": 99}', "format 99"),
        ('{"format": 1, "base_fingerprint": "x", "model": {"basis": "y"}}', "does not describe a prlhf model"),
        ('{"format": 1}', "does not describe a prlhf model"),
    ],
)
def test_markers_that_say_nothing(tmp_path, text, message):
    (tmp_path / "prlhf.json").write_text(text)
    with pytest.raises(CheckpointError, match=message):
        PersonalizedLM.from_pretrained(tmp_path)


def test_a_foreign_folder_is_not_overwritten(base_folder, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "thesis.txt").write_text("three years")
    with pytest.raises(CheckpointError, match="choose another folder"):
        trained(base_folder()).save_pretrained(tmp_path / "model")
    assert [p.name for p in tmp_path.rglob("*")] == ["model", "thesis.txt"]


def test_a_save_over_an_older_one_leaves_nothing_of_it(base_folder, tmp_path):
    lm = trained(base_folder())
    folder = lm.save_pretrained(tmp_path / "model")
    (folder / "left-over").touch()
    lm.save_pretrained(folder)
    assert not (folder / "left-over").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("step", ["save_users", "_card", "replace_folder"])
def test_a_save_that_fails_leaves_the_old_one(base_folder, tmp_path, monkeypatch, step):
    lm = trained(base_folder())
    folder = lm.save_pretrained(tmp_path / "model")
    before = outputs(lm)[0]

    def fail(*args, **kwargs):
        raise OSError("no space left on device")

    monkeypatch.setattr(checkpoint, step, fail)
    with torch.no_grad():
        lm.user_model.common.add_(1.0)
    for target in (folder, tmp_path / "new"):
        with pytest.raises(OSError, match="no space left"):
            lm.save_pretrained(target)
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    assert torch.equal(outputs(PersonalizedLM.from_pretrained(folder))[0], before)


def test_the_marker_is_written_last(base_folder, tmp_path, monkeypatch):
    seen: list[set[str]] = []
    write_text = Path.write_text

    def spy(self, *args, **kwargs):
        if self.name == "prlhf.json":
            seen.append({p.name for p in self.parent.iterdir()})
        return write_text(self, *args, **kwargs)

    monkeypatch.setattr(Path, "write_text", spy)
    folder = trained(base_folder()).save_pretrained(tmp_path / "model")
    assert seen == [{p.name for p in folder.iterdir()} - {"prlhf.json"}]


def test_unknown_users_after_reloading(base_folder, tmp_path, caplog):
    again = PersonalizedLM.from_pretrained(trained(base_folder()).save_pretrained(tmp_path / "model"))
    with caplog.at_level(logging.WARNING):
        assert again.lookup(["zoë", "cem"]) == [3, 0]
    assert "'cem'" in caplog.text


def test_an_unfinished_run_says_how_to_go_on(tmp_path):
    run = tmp_path / "my run"
    (run / "model").mkdir(parents=True)
    (run / "config.json").write_text(RunConfig().model_dump_json())
    for folder in (run, run / "model"):
        with pytest.raises(CheckpointError) as caught:
            PersonalizedLM.from_pretrained(folder)
        assert str(caught.value).endswith(f"go on with: prlhf train --output '{run}' --resume")


def test_a_plain_model_is_told_from_a_personal_one(base_folder):
    with pytest.raises(CheckpointError, match="holds a plain model, without users"):
        PersonalizedLM.from_pretrained(base_folder())


@pytest.mark.parametrize("first", [True, False])
def test_a_kill_between_the_two_renames_loses_no_model(base_folder, tmp_path, monkeypatch, caplog, first):
    lm = PersonalizedLM.create(ModelConfig(base=base_folder()), Individual(tokens=2), ["ann"])
    folder = tmp_path / "model"
    if not first:
        lm.save_pretrained(folder)
        lm.add_users(["bob"])
    monkeypatch.setattr("prlhf.lm.checkpoint.shutil.rmtree", lambda *a, **k: None)  # nothing tidies up after a kill
    rename = os.replace

    def killed(a, b):
        if Path(b) == folder:
            raise KeyboardInterrupt
        rename(a, b)

    monkeypatch.setattr("prlhf.lm.checkpoint.os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        lm.save_pretrained(folder)
    assert not folder.exists() and (tmp_path / ".model.old").exists() is not first
    monkeypatch.undo()
    assert len(PersonalizedLM.from_pretrained(folder).users) == len(lm.users)
    assert "taken from .model.writing" in caplog.text
    lm.save_pretrained(folder)  # and the next one is as any other
    assert len(PersonalizedLM.from_pretrained(folder).users) == len(lm.users)
