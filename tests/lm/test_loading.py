"""Which base models are taken, which are refused and why, and an SFT adapter that belongs to the base."""

import warnings
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from prlhf.config import Individual, Lora, ModelConfig, RunConfig
from prlhf.errors import CheckpointError, UnsupportedModelError
from prlhf.lm import PersonalizedLM, reference_logprobs
from prlhf.lm.causal import check_causal
from prlhf.lm.loading import fingerprint, load_base, load_tokenizer, resolve, same_base
from prlhf.lm.lora import add_lora, lora_config
from prlhf.lm.placement import first_line
from prlhf.types import Comparison
from tiny_models import make_model

IDS = torch.tensor([[5, 9, 40, 77]])


def write_config(folder: Path, architecture: str, **options) -> str:
    AutoConfig.for_model(architecture, **options).save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize(
    ("architecture", "reason"),
    [
        ("t5", "t5 is an encoder-decoder model"),
        ("llava", "llava is a multimodal model"),
        ("gemma3", "gemma3 is a multimodal model"),
        ("gemma3n_text", "gemma3n_text looks every token up again in each layer"),
    ],
)
def test_what_cannot_work_is_refused_with_the_reason(tmp_path, architecture, reason):
    with pytest.raises(UnsupportedModelError, match=reason):
        load_base(ModelConfig(base=write_config(tmp_path, architecture)))


def test_what_is_no_language_model_is_refused(tmp_path):
    with pytest.raises(UnsupportedModelError, match="no causal language model"):
        load_base(ModelConfig(base=write_config(tmp_path, "vit")))


@pytest.mark.parametrize(
    ("architecture", "options", "reason"),
    [
        ("bert", {}, "bert is not causal: later tokens change"),
        ("roberta", {}, "roberta is not causal"),
        ("rwkv", {"attention_hidden_size": 32, "context_length": 64}, "rwkv does not heed the attention mask"),
    ],
)
def test_what_cannot_write_from_left_to_right_in_batches_is_refused(tmp_path, architecture, options, reason):
    make_model(architecture, **options).save_pretrained(tmp_path)
    with pytest.raises(UnsupportedModelError, match=reason):
        load_base(ModelConfig(base=str(tmp_path)))


@pytest.mark.parametrize(
    ("architecture", "options"),
    [
        ("llama", {}),
        ("qwen3", {}),
        ("gpt2", {}),
        ("gemma3_text", {"sliding_window": 4}),
        ("mistral", {"num_key_value_heads": 2, "sliding_window": 4}),
        ("mixtral", {"num_key_value_heads": 2, "num_local_experts": 4}),
        ("opt", {"ffn_dim": 64, "word_embed_proj_dim": 32}),
        ("bloom", {"n_layer": 2, "n_head": 4}),
        ("falcon", {"alibi": True}),
        ("falcon", {}),
        ("gpt_neox", {}),
        ("mamba", {"state_size": 8}),
    ],
)
def test_every_kind_of_causal_model_passes(architecture, options, caplog):
    check_causal(make_model(architecture, **options))
    assert "not checked" not in caplog.text


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_the_check_allows_for_the_rounding_of_the_dtype(dtype):
    check_causal(make_model("llama", dtype))
    with pytest.raises(UnsupportedModelError, match="is not causal"):
        check_causal(make_model("bert", dtype, initializer_range=0.2))


def test_the_check_leaves_no_trace(caplog):
    model = make_model("gpt2").train()
    calls = []
    model.register_forward_hook(lambda module, args, output: calls.append(module.training))
    state = torch.get_rng_state()
    check_causal(model)
    assert calls == [False] and model.training and torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None for p in model.parameters()) and not caplog.text


def test_a_model_that_cannot_run_here_is_not_checked_and_that_is_said(caplog):
    model = make_model("llama")
    hook = model.register_forward_pre_hook(lambda module, args: exec("raise RuntimeError('for a GPU only')"))
    check_causal(model)
    assert "llama: not checked for attention to later tokens and to padding: for a GPU only" in caplog.text
    hook.remove()
    with torch.no_grad():
        model.lm_head.weight.fill_(torch.nan)
    check_causal(model)
    assert "logits are not finite" in caplog.text


def test_a_run_or_an_adapter_is_no_base(tmp_path, base_folder):
    def told(folder) -> str:
        with pytest.raises(CheckpointError) as error:
            load_base(ModelConfig(base=str(folder)))
        return str(error.value)

    base = base_folder("llama")
    run = tmp_path / "run"
    lm = PersonalizedLM.create(ModelConfig(base=base), Individual(tokens=2), ["ann"])
    lm.save_pretrained(run / "model")
    (run / "config.json").write_text(RunConfig(model=lm.config).model_dump_json())
    lora = f"give the one it was trained on: --model {base} (and --adapter {run / 'model'} to start from its LoRA"
    assert f"'{run}' is a run of `prlhf train`, no base model; {lora}" in told(run)
    assert f"'{run / 'model'}' is the model of a run of `prlhf train`, no base model; {lora}" in told(run / "model")
    load_base(ModelConfig(base=base, adapter=str(run / "model")))

    adapter = sft_adapter(tmp_path / "sft", base)
    assert f"is an adapter (PEFT), no base model; give both: --model {base} --adapter {adapter}" in told(adapter)
    (run / "config.json").write_text(RunConfig(model=ModelConfig(base=base, adapter=adapter)).model_dump_json())
    assert told(run).endswith(f"trained on: --model {base} --adapter {adapter}")


def test_missing_folders(tmp_path, base_folder, caplog):
    with pytest.raises(CheckpointError, match=r"model\.base: no folder"):
        load_base(ModelConfig(base=str(tmp_path / "nowhere")))
    with pytest.raises(CheckpointError, match=r"model\.base: cannot load"):
        load_base(ModelConfig(base=str(tmp_path)))
    told = r"model\.base: cannot load 'somebody/a-model': there is no folder of that name, and the hub says: \w"
    with pytest.raises(CheckpointError, match=told), caplog.at_level("INFO", logger="prlhf"):
        load_base(ModelConfig(base="somebody/a-model"))
    assert "no folder somebody/a-model here; looking for it on the Hugging Face hub" in caplog.text
    (tmp_path / "adapter").mkdir()
    for name, told in (("adapter", "cannot load"), ("adaptor", r"no folder .*/adaptor; did you mean .*/adapter\?")):
        with pytest.raises(CheckpointError, match=rf"model\.adapter: {told}"):
            load_base(ModelConfig(base=base_folder(), adapter=str(tmp_path / name)))
    with pytest.raises(CheckpointError, match=r"model\.base: no tokenizer"):
        load_tokenizer(ModelConfig(base=write_config(tmp_path, "llama")))


def test_names_of_models(tmp_path, monkeypatch):
    assert Path(resolve("planted")).is_dir()
    assert resolve("somebody/a-model") == "somebody/a-model"
    assert resolve("gpt2") == "gpt2"
    (tmp_path / "runs" / "my_lm").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    for name in ("runs/mylm", "./runs/mylm"):
        with pytest.raises(CheckpointError, match=rf"model\.base: no folder {name}; did you mean runs/my_lm\?$"):
            resolve(name)
    with pytest.raises(CheckpointError, match=r"no folder a/b/c; give a folder, a hub id or one of planted"):
        resolve("a/b/c")


def sft_adapter(folder: Path, base: str, **options) -> str:
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(base), LoraConfig(target_modules="all-linear", **options)
    )
    torch.manual_seed(3)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_B" in name:
                p.normal_(std=0.1)
    model.save_pretrained(folder)
    return str(folder)


@torch.no_grad()
def test_an_sft_adapter_is_part_of_the_base(tmp_path, base_folder):
    base = base_folder("llama")
    adapter = sft_adapter(tmp_path / "sft", base)
    merged = load_base(ModelConfig(base=base, adapter=adapter))
    alone = load_base(ModelConfig(base=base))
    assert fingerprint(merged) != fingerprint(alone)
    assert (merged(IDS).logits - alone(IDS).logits).abs().max() > 0.01

    lm = PersonalizedLM.create(ModelConfig(base=base, adapter=adapter), Individual(tokens=2), ["ann"])
    encoded = [lm.template.comparison(Comparison("why?", "because", "no"))]
    whole = torch.tensor([[*encoded[0].prompt, *encoded[0].chosen]])
    logps = merged(whole).logits.log_softmax(-1)[0]
    start = len(encoded[0].prompt)
    expected = sum(logps[start - 1 + i, token].item() for i, token in enumerate(encoded[0].chosen))
    assert reference_logprobs(lm, encoded)[0, 0] == pytest.approx(expected, abs=1e-4)

    for name, p in lm.model.named_parameters():
        if "lora_B" in name:
            p.normal_(std=0.1)
    again = PersonalizedLM.from_pretrained(lm.save_pretrained(tmp_path / "model"))
    assert again.config.adapter == adapter
    ids = torch.tensor([lm.encode_prompt("why?", 1)])
    assert torch.equal(again(ids).logits, lm.eval()(ids).logits)
    assert reference_logprobs(again, encoded)[0, 0] == pytest.approx(expected, abs=1e-4)


def test_an_adapter_of_another_model_is_refused(tmp_path, base_folder):
    make_model("llama", intermediate_size=48).save_pretrained(tmp_path / "other")
    adapter = sft_adapter(tmp_path / "sft", str(tmp_path / "other"))
    with pytest.raises(CheckpointError, match="does not fit this base model"):
        load_base(ModelConfig(base=base_folder("llama"), adapter=adapter))


def test_lora_on_transposed_matrices(base_folder):
    model = add_lora(load_base(ModelConfig(base=base_folder("gpt2"))), lora_config(Lora(r=2)))
    assert model.peft_config["default"].fan_in_fan_out
    shapes = {name: p.shape for name, p in model.named_parameters() if "lora" in name and ".0.attn.c_attn" in name}
    assert sorted(map(tuple, shapes.values())) == [(2, 32), (96, 2)]
    plain = add_lora(load_base(ModelConfig(base=base_folder("llama"))), lora_config(Lora(r=2)))
    assert not plain.peft_config["default"].fan_in_fan_out


def test_unknown_target_modules(base_folder):
    with pytest.raises(UnsupportedModelError, match=r"model\.tuning: Target modules .*no_such_layer"):
        add_lora(load_base(ModelConfig(base=base_folder())), lora_config(Lora(target_modules=["no_such_layer"])))


@torch.no_grad()
def test_the_base_has_no_dropout_while_training(base_folder):
    assert AutoConfig.from_pretrained(base_folder("gpt2")).resid_pdrop > 0
    model = load_base(ModelConfig(base=base_folder("gpt2"))).train()
    assert torch.equal(model(IDS).logits, model(IDS).logits)


def test_the_dtype(base_folder):
    assert load_base(ModelConfig(base=base_folder())).dtype == torch.float32
    assert load_base(ModelConfig(base=base_folder(), dtype="float64")).dtype == torch.float64


def test_the_fingerprint_sees_weights_and_not_a_lora(base_folder):
    model = load_base(ModelConfig(base=base_folder()))
    before = fingerprint(model)
    assert fingerprint(add_lora(model, lora_config(Lora()))) == before
    with torch.no_grad():
        next(model.parameters())[5, 7] += 1e-3  # one entry of one row
    assert fingerprint(model) != before


def test_the_fingerprint_sees_the_config(base_folder):
    folder = base_folder("llama")
    model = load_base(ModelConfig(base=folder))
    before = fingerprint(model)
    model.config.use_cache, model.config._name_or_path = False, "somewhere else"  # of no consequence
    assert fingerprint(model) == before
    model.config.rope_parameters = {**model.config.rope_parameters, "rope_theta": 500.0}
    other = fingerprint(model)
    assert other != before
    assert other.partition("-")[0] == before.partition("-")[0]
    assert same_base(model, other)
    assert same_base(model, before.partition("-")[0])  # as earlier checkpoints have it
    assert not same_base(model, before)


def test_no_warning_that_the_user_cannot_act_on(base_folder, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lm = PersonalizedLM.create(ModelConfig(base=base_folder()), Individual(tokens=2), ["ann"])
        PersonalizedLM.from_pretrained(lm.save_pretrained(tmp_path / "model"))


def test_an_error_without_words_has_a_name():
    assert first_line(OSError()) == "OSError"
    assert first_line(OSError("a\nb")) == "a"


def test_the_fingerprint_sees_buffers_that_are_saved(base_folder):
    """A router's correction of its scores is one: it is no parameter, and the log-probabilities depend on it."""
    model = make_model()
    before = fingerprint(model)
    model.model.register_buffer("scratch", torch.ones(3), persistent=False)
    assert fingerprint(model) == before
    model.model.register_buffer("correction", torch.zeros(3))
    with_buffer = fingerprint(model)
    model.model.correction.add_(1)
    assert len({before, with_buffer, fingerprint(model)}) == 3
