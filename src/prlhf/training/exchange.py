"""The gradients of the user table, from one process to all: the rows of the global batch, whatever the table's size."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from torch import Tensor

__all__ = ["averaged"]


def averaged(gradient: Tensor, accelerator: Accelerator) -> Tensor:
    """The average over all processes of a sparse gradient `[n, s]`, of which each process has its own rows, or none.

    Processes send rows and their numbers, padded to those of the process that has most: dense tensors, which every
    backend can exchange.
    """
    own = gradient.coalesce()
    rows = accelerator.gather(accelerator.pad_across_processes(own.indices()[0], dim=0, pad_index=-1))
    values = accelerator.gather(accelerator.pad_across_processes(own.values(), dim=0))
    real = rows >= 0
    mean = values[real] / accelerator.num_processes
    return torch.sparse_coo_tensor(rows[real][None], mean, gradient.shape, check_invariants=True)
