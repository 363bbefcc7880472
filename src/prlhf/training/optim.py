"""One optimiser for two kinds of parameters: AdamW for dense ones, a row-wise rule for the user table.

For a row `w` of the table with gradient `g` in this batch (s entries, c = number of batches it has been in):

    u = mean weight of the row's comparisons in the batch  (1 unless the log says otherwise)
    c = c + 1
    v = beta2 * v + (1 - beta2) * mean((g/u)^2)            one number per row
    w = w - lr * u * (g/u) / (sqrt(v / (1 - beta2^c)) + eps)

so a comparison of weight 1/6 moves its user a sixth as far as one of weight 1, although v takes out the size of g. That
is Adam without momentum, with one second moment per row as in the row-wise Adagrad and Adam of recommender systems.
Rows outside the batch keep weights and state, so a step costs as much as its batch, whatever the table's size; momentum
would move them. The state is two numbers a row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from prlhf.errors import CheckpointError, TrainingError

if TYPE_CHECKING:
    from prlhf.users import UserModel

__all__ = ["UserAdamW", "make_optimizer"]


class UserAdamW(torch.optim.Optimizer):
    """AdamW, and for groups with `rowwise=True` (sparse gradients) the rule above.

    `max_grad_norm` clips the common gradient norm of all dense parameters before each step; `grad_norm` then holds what
    it was. Row-wise updates need no clipping: `v` of a new row is its own gradient's.

    `set_aside`, called after the last `backward` before a step, takes the sparse gradients out of `grad`: they wait in
    the optimiser for the next `step`, out of sight of whatever walks over all gradients (`transformers.Trainer`
    measures their norm even when told not to clip, and sparse ones have none). Without it `step` reads `grad`.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        max_grad_norm: float = 0.0,
    ) -> None:
        """Make it from parameter groups as any torch optimiser; group keys override the arguments.

        Args:
            groups: dicts with `params` and optionally `rowwise`, `lr`, `betas`, `eps`, `weight_decay`.
            lr: learning rate.
            betas: decay of the first and second moment; row-wise groups use the second only.
            eps: added to the root of the second moment.
            weight_decay: AdamW's, for dense groups only.
            max_grad_norm: 0 = no clipping.
        """
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "rowwise": False}
        super().__init__([dict(group) for group in groups], defaults)
        self.max_grad_norm = max_grad_norm
        self.grad_norm: Tensor | None = None
        dense = [group for group in self.param_groups if not group["rowwise"]]
        self._dense = torch.optim.AdamW(dense) if dense else None
        self._share()
        self._aside: dict[Tensor, Tensor] = {}
        self._weights: dict[int, float] = {}
        self._mean_weight = 1.0

    def weigh(self, pairs: Sequence[tuple[int, float]]) -> None:
        """Say which rows of the user table the next step's comparisons belong to, and their weights.

        Row 0, which every comparison teaches, and rows not named here count with the mean weight of all.
        """
        by_row: dict[int, list[float]] = {}
        for row, weight in pairs:
            by_row.setdefault(row, []).append(weight)
        self._weights = {row: fmean(weights) for row, weights in by_row.items() if row}
        self._mean_weight = fmean(weight for _, weight in pairs) if pairs else 1.0

    def set_aside(self) -> None:
        """Take the sparse gradients of row-wise parameters out of `grad`; the next `step` uses them."""
        for p in self._tables():
            if p.grad is not None and p.grad.is_sparse:
                self._aside[p] = self._aside[p] + p.grad if p in self._aside else p.grad
                p.grad = None

    def exchange(self, average: Callable[[Tensor], Tensor]) -> None:
        """Make of each gradient that was set aside the average over all processes.

        Args:
            average: called once for every row-wise parameter, in the same order in each process; where a process has
                no gradient, with an empty one.
        """
        for p in self._tables():
            own = self._aside.get(p)
            self._aside[p] = average(_no_rows(p) if own is None else own)

    def _tables(self) -> list[Tensor]:
        return [p for group in self.param_groups if group["rowwise"] for p in group["params"]]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients, also those set aside."""
        super().zero_grad(set_to_none)
        self._aside.clear()

    def _share(self) -> None:
        """Let the inner AdamW work on this optimiser's own groups and state: schedulers and checkpoints see it all."""
        if self._dense is not None:
            self._dense.param_groups = [group for group in self.param_groups if not group["rowwise"]]
            self._dense.state = self.state

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Clip and update the dense parameters, then the rows that have a gradient.

        Raises:
            TrainingError: a dense gradient in a row-wise group.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if self._dense is not None:
            if self.max_grad_norm > 0:
                dense = [p for group in self._dense.param_groups for p in group["params"]]
                self.grad_norm = nn.utils.clip_grad_norm_(dense, self.max_grad_norm)
            self._dense.step()
        self.set_aside()
        for group in self.param_groups:
            for p in group["params"] if group["rowwise"] else []:
                gradient = self._aside.pop(p, p.grad)  # a dense one is refused there
                if gradient is not None:
                    self._step_rows(p, gradient, group)
        return loss

    def _step_rows(self, p: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        if not gradient.is_sparse:
            raise TrainingError("a row-wise group needs sparse gradients; use nn.Embedding(..., sparse=True)")
        gradient = gradient.coalesce()  # a user may be in the batch several times
        rows = gradient.indices()[0]
        weights = [self._weights.get(row, self._mean_weight) for row in rows.tolist()]
        weight = torch.tensor(weights, dtype=p.dtype, device=p.device)[:, None]
        g = gradient.values() / torch.where(weight > 0, weight, 1)
        state = self.state[p]
        if not state:  # of the parameter's own type, to which Optimizer.load_state_dict casts
            state["square"] = torch.zeros(len(p), dtype=p.dtype, device=p.device)
            state["count"] = torch.zeros(len(p), dtype=p.dtype, device=p.device)
        beta2 = group["betas"][1]
        count = state["count"][rows] + 1
        square = beta2 * state["square"][rows] + (1 - beta2) * g.square().mean(1)
        state["count"][rows], state["square"][rows] = count, square
        scale = (square / (1 - beta2**count)).sqrt() + group["eps"]
        p[rows] -= group["lr"] * weight * g / scale[:, None]

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where `state_dict()` was taken.

        Raises:
            CheckpointError: a user table of another size.
        """
        super().load_state_dict(state_dict)
        self._share()
        for group in self.param_groups:
            for p in group["params"] if group["rowwise"] else []:
                rows = len(self.state[p]["count"]) if self.state.get(p) else len(p)
                if rows != len(p):
                    raise CheckpointError(f"the optimiser state is of {rows} users, the user table has {len(p)} rows")


def _no_rows(table: Tensor) -> Tensor:
    """A sparse gradient `[n, s]` of a table in which no row has one."""
    rows = torch.zeros(1, 0, dtype=torch.long, device=table.device)
    return torch.sparse_coo_tensor(rows, table.new_zeros(0, table.shape[1]), table.shape, check_invariants=True)


def make_optimizer(
    user_model: UserModel,
    dense_named_params: Iterable[tuple[str, nn.Parameter]],
    learning_rate: float,
    user_learning_rate: float,
    weight_decay: float = 0.0,
    max_grad_norm: float = 0.0,
    shared_learning_rate: float | None = None,
    new: Iterable[nn.Parameter] = (),
) -> UserAdamW:
    """The optimiser of a personalised language model.

    Groups: the language model's matrices (with weight decay), its vectors (biases and norms, without), what users share
    (common part, centres, directions; with it what else is new) and the user table, each at a learning rate of its own
    and without weight decay: the prior `user_l2` is what pulls users to the generic one.

    Args:
        user_model: its parameters form the last two groups.
        dense_named_params: the language model's parameters; frozen ones and the user model's are left out.
        learning_rate: of the language model.
        user_learning_rate: of the user table.
        weight_decay: of the language model's matrices.
        max_grad_norm: norm to which the gradient of all dense parameters is clipped; 0 = not at all.
        shared_learning_rate: of what users share; by default ten times `learning_rate`.
        new: of `dense_named_params`, what does not come from a trained model and so has as far to go as the former.

    Raises:
        TrainingError: nothing to train.
    """
    shared_rate = 10 * learning_rate if shared_learning_rate is None else shared_learning_rate
    table = [] if user_model.table is None else [user_model.table.weight]
    shared = [*(p for p in user_model.parameters() if not any(p is t for t in table)), *new]
    others = {id(p) for p in (*table, *shared)}
    own = [p for _, p in dense_named_params if p.requires_grad and id(p) not in others]
    groups: list[dict[str, Any]] = [
        {"name": "matrices", "params": [p for p in own if p.ndim > 1], "weight_decay": weight_decay},
        {"name": "vectors", "params": [p for p in own if p.ndim <= 1]},
        {"name": "user_shared", "params": [p for p in shared if p.requires_grad], "lr": shared_rate},
        {"name": "users", "params": [p for p in table if p.requires_grad], "lr": user_learning_rate, "rowwise": True},
    ]
    groups = [group for group in groups if group["params"]]
    if not groups:
        raise TrainingError("nothing to train: every parameter is frozen, and the user model has none")
    return UserAdamW(groups, lr=learning_rate, max_grad_norm=max_grad_norm)
