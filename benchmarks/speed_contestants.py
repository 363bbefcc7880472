"""The contestants of train_speed.py: one of them makes its steps in this process; figures as JSON on the last line."""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import psutil
import torch
from speed_models import WORKLOADS, comparisons
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback

from prlhf import PersonalizedLM
from prlhf.config import Lora, ModelConfig, RunConfig
from prlhf.objectives import make_objective
from prlhf.training.branches import Branches
from prlhf.training.compiled import Compiled
from prlhf.training.dataset import collate
from prlhf.training.parts import most_tokens
from prlhf.training.train import prepare
from prlhf.training.trainer import PreferenceTrainer
from prlhf.types import Comparison

TRL, TRL_BEST = "TRL", "TRL at its best"
THEIRS = (TRL, TRL_BEST)
UNIFORM = "P-DPO uniform, no user tokens"
PLACES = ("start", "after_system", "before_response")
USERS = ("individual", "cluster", "low_rank", "uniform")
TARGETS = ["q_proj", "k_proj", "v_proj"]
RATE = 1e-4
CUDA = torch.cuda.is_available()


def names(users: str) -> list[str]:
    """All contestants; user models with commas between, or `all`."""
    kinds = USERS if users == "all" else users.split(",")
    return [TRL, TRL_BEST, UNIFORM, *(f"P-DPO {kind}, {place}" for kind in kinds for place in PLACES)]


class Clock(TrainerCallback):
    """Seconds from the begin of the first step to the end of the last one."""

    begin = end = 0.0

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not self.begin:
            self.begin = now()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.end = now()


def now() -> float:
    """Seconds, with everything done that the GPU was asked for; of the CPU's work alone where that is wanted."""
    if CUDA:
        torch.cuda.synchronize()
    return time.process_time() if os.environ.get("CLOCK") == "cpu" else time.perf_counter()


@contextmanager
def peak(result: dict[str, Any]) -> Iterator[None]:
    """Megabytes that the work inside takes beyond what is held at its begin, the weights among that."""
    if CUDA:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        yield
        result["peak_mb"] = (torch.cuda.max_memory_allocated() - before) / 2**20
        return
    before = psutil.Process().memory_info().rss
    yield
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss
    result["peak_mb"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit - before) / 2**20


@torch.no_grad()
def warm(model: Any) -> None:
    """Every weight read (they are mapped, and would count as memory of the work) and every layer run once."""
    for p in model.parameters():
        p.sum()
    model(input_ids=torch.arange(16, device=model.device)[None])


def arguments(work: dict[str, Any]) -> dict[str, Any]:
    """What both trainers are told."""
    return {
        "per_device_train_batch_size": work["batch"], "num_train_epochs": 1, "learning_rate": RATE, "warmup_steps": 0,
        "lr_scheduler_type": "constant", "report_to": [], "save_strategy": "no", "disable_tqdm": True,
        "logging_strategy": "no", "use_cpu": not CUDA, "bf16": work["bf16"], "seed": work["seed"],
        "max_steps": work["steps"] or -1,
    }  # fmt: skip


def plain_model(work: dict[str, Any]) -> Any:
    """The base model, for TRL."""
    attention = {} if work["attention"] == "auto" else {"attn_implementation": work["attention"]}
    return AutoModelForCausalLM.from_pretrained(work["model"], dtype="auto", **attention)


def trl_trainer(
    work: dict[str, Any], base: Any, log: list[Comparison], folder: str, clock: Clock, result: dict[str, Any]
) -> Any:
    """TRL's DPOTrainer, as it comes or at its best, and the seconds of its reference pass."""
    import datasets
    import trl
    from peft import LoraConfig

    class Timed(trl.DPOTrainer):  # type: ignore[misc]
        def compute_ref_log_probs(self, *args: Any, **kwargs: Any) -> Any:
            begin = now()
            found = super().compute_ref_log_probs(*args, **kwargs)
            result["reference_seconds"] += now() - begin
            return found

    best = work["name"] == TRL_BEST
    options: dict[str, Any] = {"gradient_checkpointing": False, "max_length": None}
    options |= {"torch_compile": True, "torch_compile_backend": work["compile"]} if work["compile"] != "off" else {}
    if best:
        options |= {"precompute_ref_log_probs": True, "precompute_ref_batch_size": work["batch"]}
        options |= {"train_sampling_strategy": "group_by_length", "length_column_name": "length"}
        options |= {"remove_unused_columns": False}  # or the lengths are removed
    tokenizer = AutoTokenizer.from_pretrained(work["model"])
    rows = [row(c) for c in log]
    lora = LoraConfig(r=8, lora_alpha=16, target_modules=TARGETS, task_type="CAUSAL_LM")
    return Timed(
        model=base, args=trl.DPOConfig(folder, **arguments(work), **options), peft_config=lora,
        train_dataset=datasets.Dataset.from_list(rows), processing_class=tokenizer, callbacks=[clock],
    )  # fmt: skip


def row(c: Comparison) -> dict[str, Any]:
    """A comparison in TRL's conversational columns."""
    prompt = [{"role": m.role, "content": m.content} for m in c.prompt]
    answers = {name: [{"role": "assistant", "content": getattr(c, name)}] for name in ("chosen", "rejected")}
    return {"prompt": prompt, **answers, "length": len(f"{c.prompt} {c.chosen} {c.rejected}".split())}


def model(work: dict[str, Any], log: list[Comparison]) -> tuple[PersonalizedLM, RunConfig]:
    """Our model with the user model and the place that the contestant's name says."""
    kind, place = work["name"].removeprefix("P-DPO ").split(", ")
    user_model = {"type": kind, "tokens": 0 if work["name"] == UNIFORM else 10}
    base = ModelConfig(
        base=work["model"], tuning=Lora(target_modules=TARGETS), user_tokens_at=place if place in PLACES else "start",
        max_prompt_tokens=4096, max_response_tokens=4096, attention=work["attention"],
    )  # fmt: skip
    config = RunConfig.model_validate({"model": base, "user_model": user_model, "training": {"bf16": work["bf16"]}})
    users = list(dict.fromkeys(c.user for c in log))
    lm = PersonalizedLM.create(config.model, config.user_model, users)
    lm.on(torch.device("cuda" if CUDA else "cpu"))
    return lm, config


def our_trainer(
    work: dict[str, Any], lm: PersonalizedLM, config: RunConfig, log: list[Comparison], folder: str, clock: Clock,
    result: dict[str, Any],
) -> PreferenceTrainer:  # fmt: skip
    """Our trainer, and the seconds of the reference pass."""
    from transformers import TrainingArguments

    begin = now()
    data = prepare(lm, log, config, layout="auto", cache=None)
    result["reference_seconds"] = now() - begin
    args = TrainingArguments(folder, max_grad_norm=0.0, remove_unused_columns=False, **arguments(work))
    return PreferenceTrainer(
        lm, args, data, objective=make_objective(config.objective), branches=Branches(0.5), layout=data.layout,
        user_learning_rate=RATE, user_l2=0.0, max_grad_norm=1.0, callbacks=[clock],
        compiled=None if work["compile"] == "off" else Compiled(lm.decoder, work["compile"]),
        most_tokens=most_tokens(config.training, lm.device),
    )  # fmt: skip


def seen(trainer: PreferenceTrainer) -> list[Any]:
    """The comparisons of the steps that were made, in the order of the first epoch."""
    batches = islice(trainer.get_train_dataloader().batch_sampler, trainer.state.global_step)
    return [trainer.train_dataset.encoded[i] for batch in batches for i in batch]


def useful_flops(lm: PersonalizedLM, trainer: PreferenceTrainer) -> float:
    """Arithmetic of the steps, forward and backward to the activations: a product with m weights is 2 m a token."""
    t, k = lm.user_model.tokens, 2 if lm.user_model.tokens else 1
    tokens = answers = 0
    for c in seen(trainer):
        shared = c.cut if c.cut * 2 > len(c.prompt) else 0
        tokens += shared + k * (t + len(c.prompt) - shared + len(c.chosen) + len(c.rejected))
        answers += k * (len(c.chosen) + len(c.rejected))
    body = sum(p.numel() for p in lm.decoder.parameters() if p.ndim == 2) - lm.head.weight.numel()
    return 2 * 2.0 * (body * tokens + lm.head.weight.numel() * answers)


def matmul_rate(lm: PersonalizedLM, tokens: int, bf16: bool) -> float:
    """Floating-point operations a second of plain products with the shapes of the model's own layers."""
    device = lm.device
    kind = torch.bfloat16 if bf16 else lm.dtype
    shapes = {tuple(p.shape) for n, p in lm.decoder.named_parameters() if p.ndim == 2 and "lora" not in n}
    flops = seconds = 0.0
    for out, into in sorted(shapes - {tuple(lm.head.weight.shape)}):
        a = torch.randn(tokens, into, device=device, dtype=kind)
        b = torch.randn(into, out, device=device, dtype=kind)
        a @ b
        begin = now()
        for _ in range(10):
            a @ b
        seconds += now() - begin
        flops += 10 * 2.0 * tokens * into * out
    return flops / seconds


def loss_gap(work: dict[str, Any], lm: PersonalizedLM, trainer: PreferenceTrainer, log: list[Comparison]) -> float:
    """How far our loss of a batch is from TRL's, as a share of it, with the same LoRA away from its start."""
    with tempfile.TemporaryDirectory() as folder:
        theirs = trl_trainer(work | {"name": TRL}, plain_model(work), log[:4], folder, Clock(), {})
    trained = {n: p for n, p in theirs.model.named_parameters() if p.requires_grad}
    ours = dict(lm.model.named_parameters())
    kept = {n: ours[n].detach().clone() for n in trained}
    torch.manual_seed(1)
    with torch.no_grad():
        for name, p in trained.items():
            p.add_(torch.randn_like(p) * 0.05)
            ours[name].copy_(p)
        batch = theirs.data_collator([dict(r) for r in theirs.train_dataset])
        expected = theirs.compute_loss(theirs.model, theirs._prepare_inputs(batch)).item()
        mine = collate([trainer.train_dataset[i] for i in range(4)])
        found = trainer.compute_loss(trainer.model, trainer._prepare_inputs(mine)).item()
        for name, p in kept.items():
            ours[name].copy_(p)
    return abs(found - expected) / abs(expected)


def run(work: dict[str, Any]) -> dict[str, Any]:
    """One epoch, or its first steps."""
    torch.manual_seed(work["seed"])
    log = comparisons(work["comparisons"], WORKLOADS[work["workload"]], work["size"], work["seed"])
    clock, result = Clock(), {"reference_seconds": 0.0, "loss_gap": 0.0, "of_matmul": 0.0, "flops": 0.0}
    lm = base = None
    if work["name"] in THEIRS:
        base = plain_model(work)
    else:
        lm, config = model(work, log)
    warm(lm.causal_lm if lm is not None else base)
    with tempfile.TemporaryDirectory() as folder:
        with peak(result):
            trainer = (
                our_trainer(work, lm, config, log, folder, clock, result)
                if lm is not None
                else trl_trainer(work, base, log, folder, clock, result)
            )
            first = next(iter(trainer.get_train_dataloader()))
            trainer.model.train()
            for part in [first] if lm is None else trainer.parts(first):
                trainer.compute_loss(trainer.model, trainer._prepare_inputs(part)).backward()
            trainer.model.zero_grad()
            trainer.train()
        result["step_seconds"] = clock.end - clock.begin
        result["comparisons"] = min(trainer.state.global_step * work["batch"], len(log))
        result["reference_seconds"] *= result["comparisons"] / len(log)  # which looks at all of them
        result["seconds"] = result["step_seconds"] + result["reference_seconds"]
        if lm is not None:
            flops = useful_flops(lm, trainer)
            rate = matmul_rate(lm, 100 * work["batch"], work["bf16"])
            result["flops"] = flops / result["step_seconds"]
            result["of_matmul"] = result["flops"] / rate
        if work["name"] == UNIFORM and not work["bf16"]:
            result["loss_gap"] = loss_gap(work, lm, trainer, log)
    return result


if __name__ == "__main__":
    print(json.dumps(run(json.loads(sys.argv[1]))))
