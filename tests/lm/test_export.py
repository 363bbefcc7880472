"""Exports: what another library makes of them is what the personalised model does."""

import json
import logging

import pyarrow.parquet as pq
import pytest
import torch
from peft import AutoPeftModelForCausalLM, PeftModel
from safetensors.torch import load_file
from trained_model import USERS, trained
from transformers import AutoModelForCausalLM, AutoTokenizer

from prlhf.config import Cluster, Full, Individual, Lora
from prlhf.errors import CheckpointError, UnknownUserError, UnsupportedModelError
from prlhf.lm import PersonalizedLM
from prlhf.lm.export import export_embeddings, export_merged, export_prompt_tuning, export_prompts
from prlhf.lm.merging import merged

ARCHITECTURES = ["llama", "gpt2", "gemma3_text", "qwen3"]
NEW = 12


@torch.no_grad()
def logits(lm: PersonalizedLM) -> torch.Tensor:
    return lm(torch.tensor([lm.encode_prompt("a question", row) for row in range(4)])).logits


def answers(lm: PersonalizedLM, prompt: str, users) -> list[tuple[int, ...]]:
    return [g.tokens for g in lm.generate([prompt] * len(users), users, details=True, max_new_tokens=NEW)]


def until_end(lm: PersonalizedLM, tokens: torch.Tensor) -> tuple[int, ...]:
    found = tokens.tolist()
    return tuple(found[: found.index(lm.tokenizer.eos_token_id)] if lm.tokenizer.eos_token_id in found else found)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_merged_answers_alike_for_every_user(base_folder, tmp_path, architecture):
    lm = trained(base_folder(architecture))
    before = logits(lm)
    folder = export_merged(lm, tmp_path / "merged")
    assert torch.equal(logits(lm), before)  # the exported model stays as it was
    again = PersonalizedLM.from_pretrained(folder)
    assert again.config.tuning == Full() and again.users.ids() == USERS
    torch.testing.assert_close(logits(again), before, rtol=1e-4, atol=1e-5)
    assert (logits(again)[0] - logits(again)[1]).abs().max() > 0.01
    assert not (folder / "adapter_config.json").exists() and "folded" in (folder / "README.md").read_text()


@torch.no_grad()
def test_merged_is_a_plain_model(base_folder, tmp_path):
    lm = trained(base_folder())
    folder = export_merged(lm, tmp_path / "merged")
    plain = AutoModelForCausalLM.from_pretrained(folder)
    ids = torch.tensor([lm.encode_prompt("a question", -1)])
    torch.testing.assert_close(plain(ids).logits, lm(ids).logits, rtol=1e-4, atol=1e-5)
    assert AutoTokenizer.from_pretrained(folder)("a question")["input_ids"] == ids[0].tolist()
    config = json.loads((folder / "config.json").read_text())
    assert not [name for name in config if "peft" in name or "lora" in name]


def test_merged_of_full_fine_tuning_is_the_weights_as_they_are(base_folder, tmp_path):
    lm = trained(base_folder(), tuning=Full())
    again = PersonalizedLM.from_pretrained(export_merged(lm, tmp_path / "merged"))
    assert torch.equal(logits(again), logits(lm))


def test_merging_in_place(base_folder):
    lm = trained(base_folder(), Cluster(tokens=2, clusters=3))
    before = logits(lm)
    assert merged(lm, in_place=True) is lm and merged(lm) is lm
    assert lm.config.tuning == Full()
    torch.testing.assert_close(logits(lm), before, rtol=1e-4, atol=1e-5)


def test_a_merged_model_knows_what_training_started_from(base_folder):
    lm = trained(base_folder())
    options = {"reference": True, "max_new_tokens": NEW}
    assert merged(lm).generate(["why?"], **options) == lm.generate(["why?"], **options)


def test_merging_bfloat16_is_rounding_and_no_more(base_folder):
    lm = trained(base_folder(dtype=torch.bfloat16))
    torch.testing.assert_close(logits(merged(lm)), logits(lm), rtol=0.05, atol=0.05)


def test_what_cannot_be_merged(base_folder, tmp_path, monkeypatch):
    lm = trained(base_folder())
    monkeypatch.setattr(lm.causal_lm, "is_quantized", True, raising=False)
    with pytest.raises(UnsupportedModelError, match="the base model is quantised"):
        export_merged(lm, tmp_path / "merged")
    assert not list(tmp_path.iterdir())
    broken = trained(base_folder())
    with torch.no_grad():
        next(p for n, p in broken.named_parameters() if "lora_A" in n).fill_(torch.inf)
    with pytest.raises(UnsupportedModelError, match="cannot be folded into the weights"):
        merged(broken)


@pytest.mark.filterwarnings("ignore:.*tie_word_embeddings")
def test_a_lora_on_a_tied_output_layer_is_refused(base_folder):
    lm = trained(base_folder(), tuning=Lora(target_modules=["lm_head", "q_proj"]))
    with pytest.raises(UnsupportedModelError, match="a layer that the LoRA changes is used twice"):
        merged(lm)


@pytest.mark.parametrize("export", [export_merged, export_prompt_tuning, export_embeddings])
def test_an_existing_folder_is_refused(base_folder, tmp_path, export):
    lm = trained(base_folder())
    with pytest.raises(CheckpointError, match="exists, and nothing is overwritten"):
        export(lm, tmp_path)


def test_nothing_is_left_of_an_export_that_failed(base_folder, tmp_path, monkeypatch):
    lm = trained(base_folder())
    monkeypatch.setattr("prlhf.lm.export.save_file", lambda *a, **k: 1 / 0)
    for export in (export_prompt_tuning, export_embeddings):
        with pytest.raises(ZeroDivisionError):
            export(lm, tmp_path / "out", ["ann"])
    assert not list(tmp_path.iterdir())


@torch.no_grad()
@pytest.mark.filterwarnings("ignore:Position ids are not supported")  # PEFT's own: it leaves them to the model
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_prompt_tuning_adapter_answers_as_the_user(base_folder, tmp_path, caplog, architecture):
    lm = trained(base_folder(architecture, bos=False))
    folder = export_prompt_tuning(lm, tmp_path / "out", ["ann", "zoë"])
    assert "BOS" not in caplog.text
    assert sorted(p.name for p in (folder / "users").iterdir()) == ["1", "3"]
    assert pq.read_table(folder / "users.parquet").select(["id", "row"]).to_pylist() == [
        {"id": "ann", "row": 1},
        {"id": "zoë", "row": 3},
    ]
    ids = torch.tensor([lm.encode_prompt("why?", -1)])
    found = []
    for row in (1, 3):
        plain = PeftModel.from_pretrained(
            AutoModelForCausalLM.from_pretrained(folder / "model"), folder / f"users/{row}"
        )
        assert plain.peft_config["default"].num_virtual_tokens == 3
        new = plain.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW, do_sample=False, pad_token_id=0
        )[0, ids.shape[1] :]
        found.append(until_end(lm, new))
    assert found == answers(lm, "why?", ["ann", "zoë"])
    assert found[0] != found[1] and all(found)


@torch.no_grad()
def test_adapters_name_the_model_they_belong_to(base_folder, tmp_path):
    lm = trained(base_folder(bos=False))
    folder = export_prompt_tuning(lm, tmp_path / "one")  # the generic user
    plain = AutoPeftModelForCausalLM.from_pretrained(str(folder / "users" / "0"))
    ids = torch.tensor([lm.encode_prompt("why?", -1)])
    ours = lm(torch.tensor([lm.encode_prompt("why?", 0)])).logits[:, -ids.shape[1] :]
    theirs = plain(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[:, -ids.shape[1] :]
    torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-5)
    model = export_merged(lm, tmp_path / "merged")
    two = export_prompt_tuning(PersonalizedLM.from_pretrained(model), tmp_path / "two", ["bob"], model=model)
    assert not (two / "model").exists()
    config = json.loads((two / "users" / "2" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(model)


@torch.no_grad()
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_bos_comes_with_the_adapter_and_stays_before_the_user(base_folder, tmp_path, caplog, architecture):
    lm = trained(base_folder(architecture, bos=True))
    with caplog.at_level(logging.INFO):
        folder = export_prompt_tuning(lm, tmp_path / "out", ["ann"])
    assert "prompts without it" in caplog.text
    plain = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(folder / "model"), folder / "users" / "1")
    assert plain.peft_config["default"].num_virtual_tokens == 1 + lm.user_model.tokens
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    ids = tokenizer("why?", add_special_tokens=False, return_tensors="pt")["input_ids"]
    theirs = plain(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, -ids.shape[1] :]
    ours = lm(torch.tensor([lm.encode_prompt("why?", 1)])).logits[0, -ids.shape[1] :]
    torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("place", ["after_system", "before_response"])
def test_other_places_have_no_prompt_tuning_adapter(base_folder, tmp_path, place):
    lm = trained(base_folder(), user_tokens_at=place)
    with pytest.raises(UnsupportedModelError, match=f"user_tokens_at={place}: PEFT puts virtual tokens before"):
        export_prompt_tuning(lm, tmp_path / "out")


def test_without_user_tokens_there_is_nothing_of_a_user(base_folder, tmp_path):
    lm = trained(base_folder(), Individual(tokens=0))
    for export in (export_prompt_tuning, export_embeddings):
        with pytest.raises(UnsupportedModelError, match="no user tokens"):
            export(lm, tmp_path / "out")


@pytest.mark.parametrize("export", [export_prompt_tuning, export_embeddings])
def test_strangers_are_refused(base_folder, tmp_path, export):
    with pytest.raises(UnknownUserError, match="'yan'"):
        export(trained(base_folder()), tmp_path / "out", ["yan"])
    assert not list(tmp_path.iterdir())


@torch.no_grad()
def test_user_embeddings_are_what_the_model_meets(base_folder, tmp_path):
    lm = trained(base_folder("gemma3_text"))  # it scales its embeddings
    folder = export_embeddings(lm, tmp_path / "out", ["bob"])
    tensors = load_file(folder / "users.safetensors")
    assert sorted(tensors) == ["row-0", "row-2"]
    rows = {r["id"]: r["row"] for r in pq.read_table(folder / "users.parquet").to_pylist()}
    assert rows == {None: 0, "bob": 2}
    for row in (0, 2):
        assert torch.equal(tensors[f"row-{row}"], lm.embedding(torch.tensor([lm.user_token_ids(row)]))[0])


@torch.no_grad()
@pytest.mark.parametrize("place", ["start", "before_response"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_embedded_prompts_get_the_same_answers_from_the_merged_model(base_folder, tmp_path, architecture, place):
    lm = trained(base_folder(architecture, bos=True), user_tokens_at=place)
    users = ["ann", None, "bob"]
    folder = export_prompts(lm, tmp_path / "prompts", ["why?"] * 3, users, max_new_tokens=NEW)
    plain = AutoModelForCausalLM.from_pretrained(export_merged(lm, tmp_path / "merged"))
    lines = [json.loads(line) for line in (folder / "prompts.jsonl").read_text().splitlines()]
    tensors = load_file(folder / "prompts.safetensors")
    found = []
    for line in lines:
        embeds = tensors[line["name"]]
        assert len(embeds) == line["tokens"]
        new = plain.generate(
            inputs_embeds=embeds[None],
            attention_mask=torch.ones(1, len(embeds)),
            max_new_tokens=NEW,
            do_sample=False,
            pad_token_id=0,
        )
        found.append(until_end(lm, new[0]))
    assert found == answers(lm, "why?", users) and len(set(found)) > 1


def test_what_the_lines_say(base_folder, tmp_path):
    lm = trained(base_folder(chat=True))
    folder = export_prompts(
        lm,
        tmp_path / "out",
        ["why?", [{"role": "user", "content": "who?"}]],
        ["ann", "yan"],
        user_texts=["Is brief.", None],
    )
    first, second = (json.loads(line) for line in (folder / "prompts.jsonl").read_text().splitlines())
    tokens = len(lm.encode_prompt("why?", 1, "Is brief."))
    assert first == {
        "name": "prompt-1", "prompt": "why?", "user": "ann", "user_text": "Is brief.", "known": True, "tokens": tokens,
    }  # fmt: skip
    assert second["prompt"] == [{"role": "user", "content": "who?"}] and not second["known"]
