"""The same global batch with another number of processes."""

from __future__ import annotations

from prlhf.config.training import TrainingConfig
from prlhf.errors import ConfigError

__all__ = ["recut"]


def recut(held: TrainingConfig, given: TrainingConfig, started: int, now: int) -> TrainingConfig:
    """The options of a run that goes on with `now` processes instead of `started`: the global batch, which is
    `batch_size x gradient_accumulation_steps x processes`, stays, so each step is the one that it would have been.

    Args:
        held: the options that the run was started with.
        given: those given now. Where they have a batch of their own, it is taken if it fits; else one is chosen whose
            forward passes are no larger than before.

    Raises:
        ConfigError: the global batch cannot be cut so.
    """
    whole = _each(held) * started
    own = (given.batch_size, given.gradient_accumulation_steps) != (held.batch_size, held.gradient_accumulation_steps)
    if _each(given) * now == whole:
        return given
    fits = [size for size in range(held.batch_size, 0, -1) if whole % (size * now) == 0]
    if not fits:
        able = ", ".join(str(n) for n in range(1, whole + 1) if whole % n == 0)
        raise ConfigError(
            f"the run was started with a global batch of {whole} comparisons ({_words(held, started)}), and {now} "
            f"processes cannot share it equally; go on with one of {able} processes"
        )
    size, steps = fits[0], whole // (fits[0] * now)
    if own:
        raise ConfigError(
            f"training.batch_size, training.gradient_accumulation_steps: {_words(given, now)} are "
            f"{_each(given) * now}, and the run was started with a global batch of {whole} comparisons "
            f"({_words(held, started)}). Resume with a batch_size and gradient_accumulation_steps whose product is "
            f"{whole // now}, as {size} and {steps}; or leave them out, and they are chosen so"
        )
    return given.model_copy(update={"batch_size": size, "gradient_accumulation_steps": steps})


def _each(options: TrainingConfig) -> int:
    return options.batch_size * options.gradient_accumulation_steps


def _words(options: TrainingConfig, processes: int) -> str:
    many = "process" if processes == 1 else "processes"
    return f"{options.batch_size} x {options.gradient_accumulation_steps} x {processes} {many}"
