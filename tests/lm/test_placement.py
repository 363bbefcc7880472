"""Device maps and quantised bases. Quantisation is run on the CPU, by bitsandbytes of the extra `dev`."""

import importlib.util

import numpy as np
import pytest
import torch
from test_reference import disturb, encode, fresh

from prlhf.config import Full, Lora, ModelConfig, RunConfig, load_config
from prlhf.errors import ConfigError, UnsupportedModelError
from prlhf.lm import PersonalizedLM, choose_layout, reference_logprobs
from prlhf.lm.loading import fingerprint, load_base
from prlhf.training.devices import check_gpus, check_processes
from prlhf.training.trainer import PairModel

MISSING = "bitsandbytes is not installed here; it comes with the extra dev"


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("device_map=atuo", "model.device_map: .*did you mean auto"),
        ("device_map=cuda:1", "model.device_map: .*a single one is chosen by training.device and CUDA_VISIBLE_DEVICES"),
        ("device_map={model = 0, lm_head = 0}", "model.device_map: .*expected more than one device"),
        ("quantization=2bit", "model.quantization: found .2bit., expected 'none', '8bit' or '4bit'"),
    ],
)
def test_what_cannot_be_asked(override, told):
    with pytest.raises(ConfigError, match=told):
        load_config(RunConfig, overrides=[f"model.{override}"])


def test_several_processes_do_not_share_a_spread_model():
    spread = RunConfig(model=ModelConfig(device_map="auto"))
    check_processes(spread, 1)
    check_processes(RunConfig(), 2)
    with pytest.raises(ConfigError, match="2 processes want one GPU each; start one process"):
        check_processes(spread, 2)


def test_quantised_weights_are_neither_trained_nor_merged_into():
    with pytest.raises(ConfigError, match=r"model\.quantization: .*quantised weights cannot be trained"):
        load_config(RunConfig, overrides=["model.tuning.type=full", "model.quantization=4bit"])
    with pytest.raises(ConfigError, match=r"model\.quantization: .*merge it into the base first"):
        load_config(RunConfig, overrides=["model.adapter=a", "model.quantization=8bit"])


def test_without_bitsandbytes_the_command_is_named(base_folder, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "bitsandbytes" else find(name))
    with pytest.raises(ConfigError, match=r"model\.quantization: 4bit needs .*; pip install bitsandbytes"):
        fresh(base_folder(), quantization="4bit")


def test_a_machine_that_cannot_is_told_in_one_line(base_folder, monkeypatch):
    from transformers import AutoModelForCausalLM

    def unable(*args, **kwargs):
        raise RuntimeError("None of the available devices is supported\nmore")

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", unable)
    with pytest.raises(ConfigError) as error:
        load_base(ModelConfig(base=base_folder(), device_map="auto"))
    told = "the base cannot be loaded so on this machine: None of the available devices is supported"
    assert str(error.value) == f"model.device_map=auto: {told}"
    with pytest.raises(RuntimeError):  # nothing was asked of the machine, so that this is no matter of options
        load_base(ModelConfig(base=base_folder()))


@torch.no_grad()
def test_attention_is_chosen_and_what_is_missing_is_named(base_folder):
    found = {}
    for attention, layout in (("sdpa", "packed"), ("eager", "plain")):
        lm = fresh(base_folder(), attention=attention)
        encoded = encode(lm)
        assert choose_layout(lm, encoded) == layout
        found[attention] = reference_logprobs(lm, encoded, layout=layout)
    assert found["sdpa"] == pytest.approx(found["eager"], abs=1e-4)
    if importlib.util.find_spec("flash_attn") is None:
        with pytest.raises(
            ConfigError, match=r"model\.attention=flash_attention_2: the base cannot be loaded so on this"
        ):
            load_base(ModelConfig(base=base_folder(), attention="flash_attention_2"))


def test_paths_need_a_model_that_attends_with_sdpa(base_folder):
    assert load_base(ModelConfig(base=base_folder(), attention="paths"))
    with pytest.raises(ConfigError, match=r"model\.attention=paths: .*scaled_dot_product_attention"):
        load_base(ModelConfig(base=base_folder("gptj"), attention="paths"))


def test_a_device_map_changes_no_answer(base_folder, tmp_path):
    lm, plain = fresh(base_folder(), device_map="auto").eval(), fresh(base_folder()).eval()
    ids = torch.tensor([lm.encode_prompt("why?", 1)])
    assert torch.equal(lm(ids).logits, plain(ids).logits)
    assert lm.base_fingerprint == plain.base_fingerprint
    again = PersonalizedLM.from_pretrained(lm.save_pretrained(tmp_path / "model"))
    assert again.config.device_map == "auto" and torch.equal(again(ids).logits, lm(ids).logits)


def test_what_lies_on_disk_is_refused(base_folder):
    split = {"model.embed_tokens": "cpu", "model.layers": "disk", "model.norm": "cpu", "model.rotary_emb": "cpu"}
    with pytest.raises(ConfigError, match=r"model\.device_map=.*a part of the base would stay"):
        load_base(ModelConfig(base=base_folder("qwen3"), device_map={**split, "lm_head": "cpu"}))


def test_a_spread_model_is_moved_by_nobody(base_folder):
    """As transformers marks a model that it put on several devices; `meta` stands for a device that it is not on."""
    lm = fresh(base_folder())
    lm.causal_lm.hf_device_map = {"model": 0, "lm_head": 1}
    weight = lm.embedding.weight
    assert lm.on("cpu").embedding.weight is weight
    with pytest.raises(ConfigError, match=r"loaded onto cpu \(model\.device_map, .* and meta is asked for"):
        lm.on("meta")
    assert lm.device.type == "cpu"
    assert PairModel(lm, "plain").hf_device_map == {"model": 0, "lm_head": 1}
    check_gpus(lm, 1, 2)
    del lm.causal_lm.hf_device_map
    with pytest.raises(ConfigError, match="there are 2 GPUs and one process: choose one GPU"):
        check_gpus(lm, 1, 2)
    check_gpus(lm, 2, 2)
    assert lm.on("meta").device.type == "meta"


@torch.no_grad()
def logits(lm, ids):
    return lm(ids).logits.numpy()


@pytest.mark.parametrize("bits", ["4bit", "8bit"])
def test_a_quantised_base(base_folder, tmp_path, bits):
    pytest.importorskip("bitsandbytes", reason=MISSING)
    folder = base_folder("llama", hidden_size=64, intermediate_size=128)
    lm, plain = fresh(folder, quantization=bits), fresh(folder)
    assert lm.base_fingerprint == fingerprint(load_base(lm.config)) == fingerprint(lm.causal_lm)
    assert lm.base_fingerprint != plain.base_fingerprint
    before = reference_logprobs(lm, encode(lm))
    exact = reference_logprobs(plain, encode(plain))
    assert 1e-4 < np.abs(before - exact).max() < 0.05 * np.abs(exact).max()
    assert choose_layout(lm, encode(lm)) == "packed"
    disturb(lm)
    assert np.array_equal(reference_logprobs(lm, encode(lm)), before)
    again = PersonalizedLM.from_pretrained(lm.eval().save_pretrained(tmp_path / "model"))
    ids = torch.tensor([lm.encode_prompt("why?", 1)])
    # bitsandbytes packs used 4-bit weights for CPUs with 16-bit products, and unpacks them inexactly to save them
    np.testing.assert_allclose(*(logits(m, ids) for m in (again, lm)), atol=0.05 if bits == "4bit" else 0)
    assert np.abs(logits(fresh(folder, quantization=bits).eval(), ids) - logits(lm, ids)).max() > 0.2
    assert lm.generate(["why?", "a longer one"], "ann", max_new_tokens=3)


def test_a_base_saved_in_few_bits_is_not_trained_in_full(base_folder, tmp_path):
    pytest.importorskip("bitsandbytes", reason=MISSING)
    load_base(ModelConfig(base=base_folder(), quantization="4bit")).save_pretrained(tmp_path)
    assert load_base(ModelConfig(base=str(tmp_path), tuning=Lora())).is_quantized
    with pytest.raises(UnsupportedModelError, match="has quantised weights, which cannot be trained"):
        load_base(ModelConfig(base=str(tmp_path), tuning=Full()))
