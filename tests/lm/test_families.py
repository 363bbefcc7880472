"""What docs/models.md says about each family of models, and the families that are refused, as the user meets it."""

import shutil

import pytest
import torch
from test_personalized import personalised
from transformers import AutoConfig
from transformers.pytorch_utils import Conv1D
from typer.testing import CliRunner

import families
from families import ALL, FAMILIES, REFUSED
from prlhf.cli.main import app
from prlhf.config import Lora, ModelConfig
from prlhf.errors import UnsupportedModelError
from prlhf.lm import pair_logprobs, reference_logprobs
from prlhf.lm.loading import load_base
from prlhf.types import Comparison
from tiny_models import make_model

LOG = [
    Comparison("why is the sky blue?", "light scatters", "because"),
    Comparison("name a colour", "red", "a very long answer that nobody asked for"),
    Comparison("a?", "x", "yy"),
]


def encoded(lm, log=LOG):
    return [lm.template.comparison(c) for c in log]


def test_a_lora_with_dropout_on_a_mixture_is_refused(base_folder):
    with pytest.raises(UnsupportedModelError, match=r"model\.tuning: .*lora_dropout"):
        personalised(base_folder("mixtral"), tuning=Lora(dropout=0.1))


def test_the_table_is_fresh(tmp_path, monkeypatch, capsys):
    assert families.main(["--check"]) == 0
    stale = tmp_path / "models.md"
    stale.write_text(families.PAGE.read_text(encoding="utf8").replace("BLOOM", "BLOSSOM"), encoding="utf8")
    monkeypatch.setattr(families, "PAGE", stale)
    assert families.main(["--check"]) == 1
    assert "python tests/families.py" in capsys.readouterr().err
    families.main([])
    assert families.main(["--check"]) == 0


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.type)
@torch.no_grad()
def test_where_the_lora_is_and_that_the_reference_is_without_it(base_folder, family):
    lm = personalised(base_folder(family.type))
    found = {name.partition(".lora_A")[0] for name, _ in lm.model.named_parameters() if "lora_A" in name}
    linear = {n for n, m in lm.model.named_modules() if isinstance(m, torch.nn.Linear | Conv1D) and "lora" not in n}
    linear = {n.removesuffix(".base_layer") for n in linear if not n.endswith(("lm_head", "embed_out"))}
    if family.lora == ALL:
        assert found == linear and len(found) >= 8
    else:
        ends = {name.removesuffix(".base_layer").rsplit(".", 1)[-1] for name in found}
        assert linear < found and ends == {"q_proj", "k_proj", "v_proj", "o_proj", "gate", "experts"}
    base = make_model(family.type)
    for c, (chosen, _) in zip(encoded(lm), reference_logprobs(lm, encoded(lm)), strict=True):
        whole = torch.tensor([[*c.reference_prompt, *c.chosen]])
        logps = base(whole).logits.log_softmax(-1)[0, len(c.reference_prompt) - 1 : -1]
        assert chosen == pytest.approx(logps[range(len(c.chosen)), list(c.chosen)].sum().item(), abs=1e-3)


@torch.no_grad()
def test_a_mixture_does_not_depend_on_who_shares_the_batch(base_folder):
    lm = personalised(base_folder("mixtral", output_router_logits=True))
    alone = [pair_logprobs(lm, [c], [[1, 0]]).chosen for c in encoded(lm)]
    crowd = encoded(lm, LOG + [Comparison("e" * 40, "e" * 40, "e" * 40)] * 8)  # all of one expert, as far as can be
    together = pair_logprobs(lm, crowd, [[1, 0]] * len(crowd)).chosen[: len(LOG)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-5, atol=1e-4)
    plain = personalised(base_folder("mixtral"))
    torch.testing.assert_close(pair_logprobs(plain, crowd, [[1, 0]] * len(crowd)).chosen[: len(LOG)], together)


@pytest.mark.parametrize(
    ("architecture", "options"),
    [
        ("opt", {"ffn_dim": 64, "word_embed_proj_dim": 32}),
        ("bloom", {"hidden_dropout": 0.1}),
        ("mixtral", {"router_jitter_noise": 0.3}),
    ],
)
@torch.no_grad()
def test_no_kind_of_dropout_is_left(base_folder, architecture, options):
    ids = torch.arange(5, 25)[None]
    noisy = make_model(architecture, **options).train()
    assert not torch.equal(noisy(ids).logits, noisy(ids).logits)
    still = load_base(ModelConfig(base=base_folder(architecture, **options))).train()
    assert torch.equal(still(ids).logits, still(ids).logits)


def test_dropout_that_cannot_be_switched_off_is_refused(base_folder):
    noisy = base_folder("falcon", attention_dropout=0.2, hidden_dropout=0.2)
    with pytest.raises(UnsupportedModelError, match="falcon answers differently in training mode"):
        load_base(ModelConfig(base=noisy))


@pytest.mark.parametrize("refused", REFUSED, ids=lambda refused: refused.type)
def test_what_is_refused_is_told_in_one_line(base_folder, tmp_path, refused):
    """From the configuration alone where that says it: the folder needs no weights."""
    log, model = tmp_path / "votes.jsonl", tmp_path / "model"
    rows = [f'{{"prompt": "{i}?", "chosen": "a", "rejected": "b", "user_id": "ann"}}\n' for i in range(20)]
    log.write_text("".join(rows))
    shutil.copytree(base_folder("llama"), model)
    if refused.type in ("bert", "rwkv"):
        small = {"attention_hidden_size": 32, "context_length": 64} if refused.type == "rwkv" else {}
        make_model(refused.type, **small).save_pretrained(model)
    else:
        AutoConfig.for_model(refused.type).save_pretrained(model)
    command = ["train", "--data", str(log), "--model", str(model), "--output", str(tmp_path / "run")]
    done = CliRunner().invoke(app, [*command, "--set", "training.device=cpu"])
    assert done.exit_code == 2
    [told] = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert refused.reason in told and done.stderr.endswith(f"{told}\n") and "Traceback" not in done.stderr
