"""The trainer's loss and gradients are TRL's on the same batch, with the uniform user model and no user tokens."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from made_up import comparisons, dataset, gradients, model, thumbs, trainer

from prlhf.config import Cdpo, Dpo, Hinge, Ipo, Kto, Robust, RunConfig, Simpo, Uniform
from prlhf.lm import pair_logprobs, reference_logprobs
from prlhf.training.dataset import collate
from prlhf.training.shares import Counted
from prlhf.types import Thumb


def in_full_precision(base) -> None:
    """Give TRL's loss log-probabilities in the model's own type: its output projection always computes in fp32."""

    def forward(input_ids, attention_mask, labels, **kwargs):
        hidden = base.base_model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state[:, :-1]
        logits = base.get_output_embeddings()(hidden)
        logps, targets = logits.log_softmax(-1), labels[:, 1:]
        token = logps.gather(-1, targets.clamp(min=0)[..., None])[..., 0].masked_fill(targets == -100, 0.0)
        blank = token.detach() * 0  # metrics of TRL, not looked at
        return SimpleNamespace(log_probs=token, entropy=blank, mean_logits=blank, is_top1=blank > 1)

    base.forward = forward


def same_lora(lm):
    """The configuration of the LoRA of `lm`, to be made anew."""
    from peft import LoraConfig

    own = lm.model.peft_config["default"]
    return LoraConfig(
        r=own.r,
        lora_alpha=own.lora_alpha,
        target_modules="all-linear",
        fan_in_fan_out=own.fan_in_fan_out,
        task_type="CAUSAL_LM",
    )


PLAIN = {"report_to": [], "use_cpu": True, "bf16": False, "disable_tqdm": True, "gradient_checkpointing": False}


def dpo_trainer(losses):
    """TRL's DPOTrainer with a weighted sum of its losses."""

    def make(folder, objective, **parts):
        import trl

        args = trl.DPOConfig(
            str(folder), loss_type=list(losses), loss_weights=list(losses.values()), beta=objective.beta,
            label_smoothing=getattr(objective, "epsilon", 0.0), max_length=None, **PLAIN,
        )  # fmt: skip
        return trl.DPOTrainer(args=args, **parts)

    return make


def simpo_trainer(folder, objective, **parts):
    """TRL's CPOTrainer as SimPO, without its supervised part."""
    from trl.experimental import cpo

    args = cpo.CPOConfig(
        str(folder), loss_type="simpo", beta=objective.beta, simpo_gamma=objective.gamma, cpo_alpha=0.0,
        remove_unused_columns=False, max_length=512, **PLAIN,
    )  # fmt: skip
    return cpo.CPOTrainer(args=args, **parts)


def kto_trainer(folder, objective, **parts):
    """TRL's KTOTrainer, for a batch of 6."""
    import trl

    args = trl.KTOConfig(
        str(folder), beta=objective.beta, desirable_weight=objective.desirable_weight, max_length=None,
        undesirable_weight=objective.undesirable_weight, per_device_train_batch_size=6,
        train_sampling_strategy="sequential", **PLAIN,
    )  # fmt: skip
    return trl.KTOTrainer(args=args, **parts)


def row_of(c):
    """A comparison or thumb in TRL's columns."""
    if isinstance(c, Thumb):
        return {"prompt": c.prompt, "completion": c.response, "label": c.up}
    return {"prompt": c.prompt, "chosen": c.chosen, "rejected": c.rejected}


def trl_loss_and_gradients(lm, log, folder, make, objective, base, dtype):
    """TRL's loss on the batch `log`, from the same base, LoRA and reference, and the gradients of the LoRA."""
    datasets = pytest.importorskip("datasets")
    pytest.importorskip("trl")
    from transformers import AutoModelForCausalLM

    rows = [row_of(c) for c in log]
    theirs = make(
        folder, objective, model=AutoModelForCausalLM.from_pretrained(base, dtype=dtype), peft_config=same_lora(lm),
        train_dataset=datasets.Dataset.from_list(rows), processing_class=lm.tokenizer,
    )  # fmt: skip
    theirs.model.to(dtype)
    ours = {n: p for n, p in lm.model.named_parameters() if "lora" in n}
    trained = {n: p for n, p in theirs.model.named_parameters() if p.requires_grad}
    assert ours.keys() == trained.keys()
    with torch.no_grad():
        for name, p in trained.items():
            p.copy_(ours[name])
    if dtype == torch.float64 and make is not simpo_trainer:
        in_full_precision(theirs.model.get_base_model())
    batch = theirs.data_collator([dict(row) for row in theirs.train_dataset])
    loss = theirs.compute_loss(theirs.model, batch)
    loss.backward()
    return loss.item(), {n: p.grad for n, p in trained.items()}


@pytest.mark.filterwarnings("ignore")  # whatever TRL warns of
@pytest.mark.parametrize(
    ("objective", "make", "rows"),
    [
        (Dpo(beta=0.3), dpo_trainer({"sigmoid": 1.0}), 5),
        (Ipo(beta=0.3, average=True), dpo_trainer({"ipo": 1.0}), 5),
        # of one comparison: over several, TRL takes the mean over all tokens, the paper and we over each response's
        (Dpo(beta=0.3, sft_weight=0.7), dpo_trainer({"sigmoid": 1.0, "sft": 0.7}), 1),
        # its sigmoid leaves label smoothing out; aot, sorted over a batch, is cDPO for a batch of one
        (Cdpo(beta=0.3, epsilon=0.2), dpo_trainer({"aot": 1.0}), 1),
        (Hinge(beta=0.05), dpo_trainer({"hinge": 1.0}), 5),
        (Robust(beta=0.3, epsilon=0.2), dpo_trainer({"robust": 1.0}), 5),
        (Simpo(beta=2.0, gamma=0.6), simpo_trainer, 5),
    ],
    ids=["dpo", "ipo", "dpo-sft", "cdpo", "hinge", "robust", "simpo"],
)
@pytest.mark.parametrize("layout", ["packed", "plain"])
@pytest.mark.parametrize(
    ("architecture", "dtype", "exact"),
    [("gpt2", "float64", True), ("gpt2", "float32", False), ("llama", "float32", False)],
)
def test_loss_and_gradients_equal_those_of_trl(
    base_folder, tmp_path, architecture, dtype, exact, layout, objective, make, rows
):
    kind = getattr(torch, dtype)
    base = base_folder(architecture, dtype=kind)
    lm = model(base, Uniform(tokens=0), dtype=dtype)
    lm.tokenizer.model_max_length = 10_000
    log = [replace(c, user=None) for c in comparisons(rows)]
    theirs, their_gradients = trl_loss_and_gradients(lm, log, tmp_path, make, objective, base, kind)

    made = trainer(lm, dataset(lm, log), tmp_path, objective=objective, layout=layout)
    lm.zero_grad()
    loss = made.compute_loss(made.model.train(), collate([made.train_dataset[i] for i in range(rows)]))
    loss.backward()
    assert abs(loss.item() - theirs) <= (1e-9 if exact else 1e-4) * abs(theirs)
    step_zero = {"ipo": (1 / 0.6) ** 2, "hinge": 1.0}.get(objective.type, np.log(2))
    assert abs(theirs - step_zero) > 1e-3  # away from it
    found = gradients(lm)
    assert found.keys() == {f"model.{n}" for n in their_gradients}
    for name, expected in their_gradients.items():
        error = (found[f"model.{name}"] - expected).norm() / expected.norm()
        assert error <= (1e-9 if exact else 1e-3), name


def mismatched_as_in_trl(lm, data):
    """TRL gives each prompt of a batch the completion of the one before it."""
    after = [lm.template.answered(e, data.encoded[i - 1].chosen) for i, e in enumerate(data.encoded)]
    return replace(data, mismatched=after, mismatched_reference=reference_logprobs(lm, after)[:, 0])


@pytest.mark.filterwarnings("ignore")  # whatever TRL warns of
@pytest.mark.parametrize("layout", ["packed", "plain"])
@pytest.mark.parametrize("likelier", [True, False])  # the mismatched responses, than under the reference: else z0 is 0
def test_kto_equals_that_of_trl(base_folder, tmp_path, layout, likelier):
    base = base_folder("gpt2", dtype=torch.float64)
    lm = model(base, Uniform(tokens=0), dtype="float64")
    objective = Kto(beta=0.3, desirable_weight=0.7, undesirable_weight=1.6)
    log = [replace(t, user=None) for t in thumbs(6)]
    data = mismatched_as_in_trl(lm, dataset(lm, log, config=RunConfig(objective=objective)))
    if likelier:
        pair_logprobs(lm, data.mismatched, [[0]] * 6).chosen.sum().backward()
        for p in (p for p in lm.model.parameters() if p.grad is not None):
            p.data += 0.1 * p.grad / p.grad.norm()
    theirs, their_gradients = trl_loss_and_gradients(lm, log, tmp_path, kto_trainer, objective, base, torch.float64)

    made = trainer(lm, data, tmp_path, objective=objective, layout=layout)
    lm.zero_grad()
    whole = collate([Counted(data)[i] for i in range(6)])
    [batch], count = made.get_batch_samples(iter([whole]), 1, torch.device("cpu"))
    loss = made.compute_loss(made.model.train(), batch, num_items_in_batch=count)
    loss.backward()
    assert (batch["z0"] > 0.1).all() if likelier else not batch["z0"].any()
    assert abs(loss.item() - theirs) <= 1e-9 * abs(theirs)
    found = gradients(lm)
    assert found.keys() == {f"model.{n}" for n in their_gradients}
    for name, expected in their_gradients.items():
        assert (found[f"model.{name}"] - expected).norm() <= 1e-9 * expected.norm(), name
