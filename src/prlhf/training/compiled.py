"""`torch.compile` of the model's blocks (its repeated layers) for the time of a training step.

The token embeddings come before the first block, so the lookup of user tokens stays outside of what is compiled.
Modules and parameter names stay as they are: only the blocks' `forward` is another one within `Compiled.on`.
Reference, evaluation and generation run without it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from prlhf.errors import TrainingError, UnsupportedModelError

__all__ = ["Compiled", "blocks"]


def blocks(decoder: nn.Module) -> list[nn.Module]:
    """The repeated layers of a decoder: the modules of its lists.

    Raises:
        UnsupportedModelError: it has none.
    """
    found = [block for part in decoder.children() if isinstance(part, nn.ModuleList) for block in part]
    if not found:
        raise UnsupportedModelError(
            f"training.compile: {type(decoder).__name__} has no list of layers to compile; take training.compile=off"
        )
    return found


class Compiled:
    """The compiled twins of a decoder's blocks.

    Args:
        decoder: the model without its output projection.
        backend: of `torch.compile`, by name or as a function.
    """

    def __init__(self, decoder: nn.Module, backend: str | Callable[..., Any]):
        self.backend = backend
        self._twins = [(block, torch.compile(block.forward, backend=backend)) for block in blocks(decoder)]

    @contextmanager
    def on(self) -> Iterator[None]:
        """Within it the blocks run compiled.

        Raises:
            TrainingError: the backend cannot compile them on this machine.
        """
        before = [vars(block).get("forward") for block, _ in self._twins]
        for block, twin in self._twins:
            block.forward = twin  # type: ignore[method-assign]
        try:
            with warnings.catch_warnings():  # of the tracer about itself
                warnings.filterwarnings("ignore", "The .grad attribute of a Tensor", UserWarning)
                yield
        except Exception as e:
            if not type(e).__module__.startswith(("torch._dynamo", "torch._inductor")):
                raise
            first = next(iter(str(e).strip().splitlines()), type(e).__name__)
            raise TrainingError(
                f"training.compile={self.backend} does not work here: {first}; take training.compile=off"
            ) from e
        finally:
            for (block, _), own in zip(self._twins, before, strict=True):
                if own is None:
                    del block.forward
                else:
                    block.forward = own  # type: ignore[method-assign]
