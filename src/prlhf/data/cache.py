"""Where what can be computed again is kept: converted rows, token ids, reference log-probabilities."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from prlhf.errors import DataError

__all__ = ["aside", "default_cache", "paced"]

logger = logging.getLogger(__name__)
_WORTH_TELLING = 2.0  # seconds


def default_cache() -> Path:
    """`$PRLHF_CACHE`, else `$XDG_CACHE_HOME/prlhf`, else `~/.cache/prlhf`."""
    own = os.environ.get("PRLHF_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "prlhf"


@contextmanager
def aside(path: Path) -> Iterator[Path]:
    """A place to write `path` to, renamed when that is done: half a file is never read, and of two processes that write
    the same at once the later one wins.

    Raises:
        DataError: there is no room, or it may not be written there.
    """
    place = path.with_name(f".{path.name}.{os.getpid()}.writing")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield place
        os.replace(place, path)
    except OSError as e:
        why = e.strerror or next(iter(str(e).splitlines()), type(e).__name__)
        raise DataError(
            f"{path.parent}: what is kept for later cannot be written there ({why}); make room, or name another folder "
            "with PRLHF_CACHE"
        ) from e
    finally:
        with suppress(OSError):
            place.unlink()


@contextmanager
def paced(what: str) -> Iterator[list[int]]:
    """Log how fast a stage was, where it took long enough to be asked; the counts added to the list are its work."""
    done: list[int] = []
    start = time.perf_counter()
    yield done
    seconds = time.perf_counter() - start
    count = sum(n for n in done)
    if seconds >= _WORTH_TELLING and count:
        logger.info("%s: %s in %.0f s, %s a second", what, f"{count:,}", seconds, f"{count / seconds:,.0f}")
