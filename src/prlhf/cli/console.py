"""What reaches the terminal: our own log lines, and little from the libraries below."""

from __future__ import annotations

import logging
import os
import warnings

__all__ = ["calm", "is_first", "no_loading_bars", "short"]

QUIET = {
    "TRANSFORMERS_VERBOSITY": "error",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "DATASETS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
}
"""Read by the libraries when they are imported, which is later; what the caller has set stays."""
WARNING_LOGGERS = ("bitsandbytes",)
"""Libraries that warn through `logging` as they are imported (peft imports this one), and read no variable for it."""


def calm() -> None:
    """Show `prlhf`'s log lines on standard error and silence the libraries; `PRLHF_DEBUG=1` lets everything through.

    Of several processes only the first one tells what happens.
    """
    logger = logging.getLogger("prlhf")
    debug = bool(os.environ.get("PRLHF_DEBUG"))
    logger.setLevel(logging.DEBUG if debug else logging.INFO)
    if not debug:
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        for name in WARNING_LOGGERS:
            logging.getLogger(name).setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", category=FutureWarning)
        warnings.filterwarnings("ignore", category=UserWarning, module="torch")
    if not logger.handlers:
        from rich.console import Console
        from rich.logging import RichHandler

        handler = RichHandler(console=Console(stderr=True), show_time=False, show_path=False, markup=False)
        handler.addFilter(lambda record: record.levelno >= logging.ERROR or is_first())
        logger.addHandler(handler)


def is_first() -> bool:
    """Whether this is the first of several processes, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def no_loading_bars() -> None:
    """No bar for reading weights from disk; bars of downloads stay. Imports transformers: call it inside a command."""
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()


def short(text: str, limit: int) -> str:
    """The beginning of a text, on one line."""
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else f"{flat[: limit - 1]}…"
