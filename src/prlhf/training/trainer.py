"""The trainer: `transformers.Trainer` with the loss of P-*PO (P-RLHF, arXiv 2402.05133, section 4)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from accelerate.data_loader import prepare_data_loader
from accelerate.utils import gather_object
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import PrinterCallback, Trainer, TrainerControl, TrainingArguments

from prlhf.errors import TrainingError
from prlhf.lm import Encoded, PersonalizedLM, pair_logprobs
from prlhf.lm.layout import Layout, extent
from prlhf.objectives import Objective, PairLogps, ThumbObjective
from prlhf.training.branches import Branches
from prlhf.training.compiled import Compiled
from prlhf.training.dataset import LengthBuckets, PreferenceDataset, collate
from prlhf.training.exchange import averaged
from prlhf.training.losses import losses_of
from prlhf.training.optim import make_optimizer
from prlhf.training.parts import parts_of
from prlhf.training.sharding import sharded
from prlhf.training.shares import Counted, Shares

__all__ = ["PairModel", "PreferenceTrainer"]


class PairModel(nn.Module):
    """What the trainer wraps: batch in, log-probabilities (or rewards) of its responses and the users' prior out.

    Its `state_dict` holds the trained parameters only, so a training checkpoint does not repeat the base model.

    With several processes `DistributedDataParallel` averages the gradients of all parameters but the user table's: of
    sparse ones NCCL knows nothing, and Gloo breaks where a process has none (see `exchange`). What `shard` has spread
    over the processes is frozen, and not its concern.
    """

    def __init__(self, lm: PersonalizedLM, layout: Layout):
        super().__init__()
        self.lm = lm
        self.layout = layout
        table = [] if lm.user_model.table is None else ["lm.user_model.table.weight"]
        self._ddp_params_and_buffers_to_ignore = [*table, *sharded(self)]
        for name in ("hf_device_map", "quantization_method"):  # the Trainer asks for them before it moves a model
            if hasattr(lm.causal_lm, name):
                setattr(self, name, getattr(lm.causal_lm, name))
        self.register_state_dict_post_hook(_keep_trained)
        self.register_load_state_dict_post_hook(_expect_trained)

    def forward(self, encoded: Any, branches: list[list[int]], rows: Tensor) -> tuple[PairLogps, Tensor]:
        """Log-probabilities `[b, k]` of k branches, and each user's penalty `[b]`."""
        return pair_logprobs(self.lm, encoded, branches, self.layout), self.lm.user_model.penalty(rows)


def _keep_trained(module: nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    trained = {prefix + name for name, p in module.named_parameters() if p.requires_grad}
    for key in [key for key in state if key not in trained]:
        del state[key]


def _expect_trained(module: nn.Module, result: Any) -> None:
    """Loading such a state dict misses nothing but frozen weights, and tied ones under their second name."""
    trained = {name for name, p in module.named_parameters() if p.requires_grad}
    result.missing_keys[:] = [key for key in result.missing_keys if key in trained]


class PreferenceTrainer(Trainer):
    """Trains a personalised LM on comparisons or thumbs.

    The loss of a global batch of N of them is `1/N sum_c w_c (alpha l(user) + (1-alpha) l(generic)) + prior_c`,
    whatever the micro-batch, the accumulation and the number of processes; `branches` says which of them are looked at.
    """

    control: TrainerControl

    def __init__(
        self,
        lm: PersonalizedLM,
        args: TrainingArguments,
        dataset: PreferenceDataset,
        *,
        objective: Objective | ThumbObjective,
        branches: Branches,
        layout: Layout,
        user_learning_rate: float,
        shared_learning_rate: float | None = None,
        user_l2: float,
        max_grad_norm: float,
        evaluation: Callable[[], Mapping[str, float]] | None = None,
        compiled: Compiled | None = None,
        most_tokens: int | None = None,
        **kwargs: Any,
    ):
        self.compiled = compiled
        self.most_tokens = most_tokens
        self.losses = losses_of(objective)
        self.branches = branches
        self.user_l2 = user_l2
        self.evaluation = evaluation
        self.user_optimizer = make_optimizer(
            lm.user_model,
            lm.named_parameters(),
            args.learning_rate,
            user_learning_rate,
            args.weight_decay,
            max_grad_norm,
            shared_learning_rate,
            lm.new_parameters(),
        )
        super().__init__(
            model=PairModel(lm, layout),
            args=args,
            train_dataset=dataset,
            eval_dataset=dataset,  # stands for "there is something to evaluate": see `evaluate`
            data_collator=collate,
            optimizers=(self.user_optimizer, None),
            **kwargs,
        )
        self.remove_callback(PrinterCallback)  # raw dictionaries; `metrics.jsonl` has them all
        self.loss_is_scaled_for_ga = True  # compute_loss divides by the size of the global batch

    def get_train_dataloader(self) -> DataLoader:
        """Length buckets in an order that depends on seed, epoch and global batch alone: a resumed run sees the same,
        and so does one with other micro-batches or processes."""
        data, args = self.train_dataset, self.args
        each = (args.train_batch_size, args.gradient_accumulation_steps, args.world_size)
        sampler = LengthBuckets(data.lengths, math.prod(each), args.seed, self.losses.least)
        shares = Shares(sampler, *each, args.process_index)
        loader = DataLoader(Counted(data), batch_sampler=shares, collate_fn=collate)
        # one process as far as accelerate is concerned: it would fill up the last batch with comparisons of the first
        return prepare_data_loader(loader, args.device, num_processes=1, process_index=0, put_on_device=True)

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], Tensor | int | None]:
        """The micro-batches of one step, with what their losses need to know of each other, and how many comparisons
        they hold over all processes; the optimiser learns what each of them weighs."""
        batches = list(itertools.islice(epoch_iterator, num_batches))
        pairs = [
            (row, weight)
            for batch in batches
            for row, weight in zip(*(batch[x][batch["counts"]].tolist() for x in ("rows", "weight")), strict=True)
        ]
        pairs = gather_object(pairs)
        self.user_optimizer.weigh(pairs)
        self.losses.before_step(batches, self._logps, lambda x: self.accelerator.reduce(x, reduction="sum"))
        return batches, torch.tensor(len(pairs), device=device)

    def _logps(self, encoded: Sequence[Encoded], batch: dict[str, Any]) -> PairLogps:
        """The policy's log-probabilities beside those of the step itself, without its dropout."""
        with self.compute_loss_context_manager(), self._without_dropout():
            return self.model_wrapped(encoded, self._rows(batch), batch["rows"])[0]

    def _rows(self, batch: dict[str, Any]) -> list[list[int]]:
        return self.branches.rows(batch["rows"].tolist(), batch["ids"], self.state.global_step)

    @contextmanager
    def _without_dropout(self) -> Iterator[None]:
        training = self.model_wrapped.training
        self.model_wrapped.eval()
        try:
            yield
        finally:
            self.model_wrapped.train(training)

    def parts(self, inputs: dict[str, Any]) -> list[dict[str, Any]]:
        """A micro-batch as it goes through the model: each part has a forward and backward pass of its own."""
        lm, k = self.model.lm, self.branches.looked_at
        extents = [extent(e, k, lm.user_model.tokens, self.model.layout) for e in inputs["encoded"]]
        return parts_of(inputs, extents, self.most_tokens)

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """Forward and backward of a micro-batch, in parts where it is large; the user table's gradients then
        leave the sight of the Trainer."""
        *first, last = self.parts(inputs)
        loss = torch.zeros((), device=self.args.device)
        with self.compiled.on() if self.compiled is not None else nullcontext():
            with self.accelerator.no_sync(model):  # the gradients of all parts are averaged with those of the last
                for part in first:
                    loss = loss + super().training_step(model, part, num_items_in_batch)
            loss = loss + super().training_step(model, last, num_items_in_batch)
        if self.accelerator.sync_gradients:
            self.user_optimizer.set_aside()
            if self.accelerator.num_processes > 1:
                self.user_optimizer.exchange(lambda own: averaged(own, self.accelerator))
        return loss

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The alpha mix over a micro-batch, divided by the size of the global batch."""
        rows = inputs["rows"]
        logps, penalty = model(inputs["encoded"], self._rows(inputs), rows)
        losses = self.losses(logps, inputs)
        loss = self.branches.mixed(losses)
        loss = loss * inputs["weight"].to(loss.dtype)
        if self.user_l2 and self.branches.alpha:
            loss = loss + self.user_l2 * inputs["prior"].to(loss.dtype) * penalty
        if not torch.isfinite(loss).all():
            bad = [i for i, ok in zip(inputs["ids"], torch.isfinite(loss).tolist(), strict=True) if not ok]
            named = ", ".join(bad[:8]) + (f" and {len(bad) - 8} more" if len(bad) > 8 else "")
            raise TrainingError(
                f"the loss is not finite at step {self.state.global_step + 1}, for the comparisons {named}; "
                "lower training.learning_rate or training.user_learning_rate, or look at these rows"
            )
        count = len(rows) if num_items_in_batch is None else num_items_in_batch
        total = loss.sum() / count * self.accelerator.num_processes  # data-parallel gradients are averaged
        return (total, {"losses": losses}) if return_outputs else total

    def evaluate(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> dict[str, float]:
        """The metrics of `evaluation`, logged and given to the callbacks as the Trainer's own would be."""
        values = self.evaluation() if self.evaluation is not None else {}
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in values.items()}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics
