"""What the commands that train language models say about going on with a run that was stopped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prlhf.config import RunConfig

__all__ = ["RESUME", "how_to_go_on", "kept"]

RESUME = "Go on from the last checkpoint in FOLDER, with the options stored there."


def kept(output: Path) -> Path:
    """Where a run's folder keeps its options.

    Raises:
        CheckpointError: it keeps none.
    """
    from prlhf.errors import CheckpointError

    held = output / "config.json"
    if not held.exists():
        raise CheckpointError(f"nothing to resume in {output} (no config.json); start without --resume")
    return held


def how_to_go_on(output: Path, kind: type[RunConfig]) -> str:
    """What is left to do after an interruption, by what the run's folder keeps."""
    if not (output / "config.json").is_file():  # perhaps before the heavy imports: none here
        return "nothing was kept; run the same command again"
    from prlhf.training.run import Run

    return Run(output, kind).how_to_go_on()
