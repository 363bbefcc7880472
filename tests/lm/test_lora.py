"""PEFT's own options: those that pass train, save and switch off; the others are refused with the reason."""

import numpy as np
import pytest
import torch
from peft import LoraConfig
from test_reference import disturb, encode, fresh

from prlhf.config import Lora, RunConfig, load_config
from prlhf.errors import ConfigError
from prlhf.lm import PersonalizedLM, pair_logprobs, reference_logprobs
from prlhf.lm.lora import PASSED, lora_config

VARIANTS = [
    {"use_dora": True},
    {"use_rslora": True},
    {"use_dora": True, "use_rslora": True, "init_lora_weights": "gaussian", "rank_pattern": {"q_proj": 2}},
    {"init_lora_weights": "orthogonal", "exclude_modules": ["v_proj"]},
]


def trained(lm: PersonalizedLM) -> PersonalizedLM:
    """After three steps of gradient descent on every trained parameter."""
    batch = encode(lm)
    for _ in range(3):
        lm.zero_grad()
        logps = pair_logprobs(lm, batch, [[1, 0]] * len(batch), "packed")
        (logps.rejected - logps.chosen).mean().backward()
        with torch.no_grad():
            for p in lm.parameters():
                if p.requires_grad and p.grad is not None:
                    p.sub_(0.05 * (p.grad.to_dense() if p.grad.is_sparse else p.grad))
    return lm


@pytest.mark.parametrize("peft", VARIANTS, ids=lambda peft: "+".join(peft))
def test_a_variant_trains_saves_and_switches_off(base_folder, tmp_path, peft):
    lm, plain = (fresh(base_folder(), tuning=Lora(peft=given)) for given in (peft, {}))
    before = reference_logprobs(lm, encode(lm))
    assert np.array_equal(before, reference_logprobs(plain, encode(plain)))
    ids = torch.tensor([lm.encode_prompt("why?", row) for row in (0, 1)])
    torch.testing.assert_close(lm(ids).logits, plain(ids).logits)  # at first it changes nothing
    start = {n: p.detach().clone() for n, p in lm.model.named_parameters() if p.requires_grad}
    trained(lm).eval()
    moved = {n for n, p in lm.model.named_parameters() if p.requires_grad and not torch.equal(p, start[n])}
    assert moved == set(start)
    assert any("magnitude" in n for n in moved) == ("use_dora" in peft)
    assert np.array_equal(reference_logprobs(lm, encode(lm)), before)
    folder = lm.save_pretrained(tmp_path / "model")
    again = PersonalizedLM.from_pretrained(folder)
    assert torch.equal(again(ids).logits, lm(ids).logits)
    assert again.config.tuning.peft == peft
    assert np.array_equal(reference_logprobs(again, encode(again)), before)
    assert {f.name for f in folder.iterdir() if "adapter" in f.name} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }


@torch.no_grad()
def test_rank_stabilised_means_another_scale(base_folder):
    lms = [fresh(base_folder(), tuning=Lora(r=4, alpha=8, peft={"use_rslora": on})) for on in (False, True)]
    scales = {m.scaling["default"] for lm in lms for m in lm.model.modules() if hasattr(m, "lora_A")}
    assert scales == {8 / 4, 8 / 4**0.5}


def test_options_that_pass_are_those_of_peft_and_come_from_recipes():
    assert set(PASSED) <= {*LoraConfig.__dataclass_fields__}
    given = ["model.tuning.peft={use_dora = true}", "model.tuning.peft.use_rslora=true"]
    config = load_config(RunConfig, overrides=given)
    assert config.model.tuning.peft == {"use_dora": True, "use_rslora": True}
    made = lora_config(config.model.tuning)
    assert made.use_dora and made.use_rslora and made.r == 8


def test_what_is_given_is_not_changed_by_peft(base_folder):
    """PEFT writes ranks of the experts into the patterns that it was given."""
    config = Lora(peft={"rank_pattern": {"q_proj": 2}})
    lm = fresh(base_folder("mixtral"), tuning=config)
    assert len(lm.model.peft_config["default"].rank_pattern) == 2
    assert config.peft == {"rank_pattern": {"q_proj": 2}}


@pytest.mark.parametrize(
    ("peft", "told"),
    [
        ({"use_dorra": True}, r"peft\.use_dorra is no option of PEFT's LoraConfig that .*; did you mean use_dora"),
        ({"colour": 1}, r"peft\.colour is no option .*; those that are: use_dora, use_rslora"),
        ({"loftq_config": {}}, r"peft\.loftq_config is not passed on; those that are: use_dora"),
        ({"lora_alpha": 4}, r"peft\.lora_alpha: it is model\.tuning\.alpha here"),
        ({"task_type": "CAUSAL_LM"}, r"peft\.task_type: prlhf sets it itself"),
        ({"modules_to_save": ["lm_head"]}, r"peft\.modules_to_save cannot be passed on: it trains copies of"),
        ({"trainable_token_indices": [1]}, r"trainable_token_indices cannot be passed on: .* token embeddings"),
        ({"bias": "all"}, r"peft\.bias cannot be passed on: .* would no longer be the reference"),
        ({"layer_replication": [[0, 2]]}, r"layer_replication cannot be passed on: .* more layers"),
        ({"alora_invocation_tokens": [1]}, r"alora_invocation_tokens cannot be passed on"),
        ({"init_lora_weights": "pissa"}, r"init_lora_weights: found 'pissa', expected true, 'gaussian' or"),
        ({"init_lora_weights": False}, r"init_lora_weights: found False, expected true"),
        ({"use_dora": "yes"}, r"peft\.use_dora: found 'yes', expected true or false"),
        ({"target_parameters": "gate_up_proj", "layers_pattern": "h"}, r"option model\.tuning\.peft: "),
    ],
)  # fmt: skip
def test_what_does_not_pass(peft, told):
    with pytest.raises(ConfigError, match=told):
        lora_config(Lora(peft=peft))


def test_options_are_read_before_the_model_is(tmp_path):
    with pytest.raises(ConfigError, match="did you mean use_dora"):
        fresh(str(tmp_path / "no model here"), tuning=Lora(peft={"use_dorra": True}))


def test_a_variant_after_disturbing_everything(base_folder):
    lm = fresh(base_folder("gpt2"), tuning=Lora(peft={"use_dora": True}))  # transposed matrices
    before = reference_logprobs(lm, encode(lm))
    disturb(lm)
    assert np.array_equal(reference_logprobs(lm, encode(lm)), before)
