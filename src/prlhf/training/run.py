"""The run folder: everything that a result needs to be understood and repeated.

config.json      the resolved configuration        metrics.jsonl     what was logged, step by step
data.json        source, fingerprint, notes        evaluation.json   metrics on the test side
split.json       comparison ids of every side      scores.parquet, per_user.parquet
versions.json    of libraries, and processes       model/            the checkpoint to use
checkpoints/     training state to resume from     plots/
"""

from __future__ import annotations

import json
import logging
import platform
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from prlhf.config import RunConfig
from prlhf.data import SOURCES, Log, Split
from prlhf.errors import CheckpointError, ConfigError, DataError
from prlhf.lm import is_checkpoint
from prlhf.lm.checkpoint import resume_command
from prlhf.lm.folders import aside_name, write_text
from prlhf.lm.loading import BUNDLED
from prlhf.training.batches import recut
from prlhf.training.callbacks import last_checkpoint

__all__ = ["CONFIG", "Run", "differences", "settled"]

logger = logging.getLogger(__name__)
CONFIG, VERSIONS, SPLIT, DATA = "config.json", "versions.json", "split.json", "data.json"

_UNSET = "not set"

LIBRARIES = ("prlhf", "torch", "transformers", "peft", "accelerate", "datasets", "safetensors", "numpy")


class Run:
    """One run's folder; `kind` says of which command."""

    def __init__(self, folder: Path, kind: type[RunConfig] = RunConfig):
        self.folder = folder
        self.kind = kind
        self.checkpoints = folder / "checkpoints"
        self.model = folder / "model"
        self.metrics = folder / "metrics.jsonl"
        self.plots = folder / "plots"

    def open(self, config: RunConfig, *, resume: bool, processes: int = 1) -> None:
        """Make the folder, or with `resume` look whether this configuration goes on with what it holds.

        What a start left that failed before its first step counts as nothing: its corrected command may follow.

        Raises:
            ConfigError: a folder that is not empty, another configuration, or nothing left to do.
            CheckpointError: nothing to resume.
        """
        if resume:
            self.resumed(config, processes)
        elif self.folder.exists() and not self._only_begun():
            raise ConfigError(f"{self.folder} {self._held()}; choose another output folder{self._go_on()}")
        else:
            self.folder.mkdir(parents=True, exist_ok=True)
            for name in (VERSIONS, SPLIT, DATA):  # of a start that failed
                (self.folder / name).unlink(missing_ok=True)
            self.write_json(CONFIG, config.described())
        self._write_versions(processes)

    def _held(self) -> str:
        return "holds a finished run" if is_checkpoint(self.model) else "is not empty"

    def _go_on(self) -> str:
        """The end of a sentence where the folder holds an unfinished run."""
        unfinished = not is_checkpoint(self.model) and self._is_config()
        return f", or go on with: {self._resume}" if unfinished else ""

    @property
    def _resume(self) -> str:
        return resume_command(self.folder, self.kind.COMMAND)

    def _is_config(self) -> bool:
        try:
            self.config()
        except (OSError, ValueError):
            return False
        return True

    def config(self) -> RunConfig:
        """What the run was started with."""
        return self.kind.of_described(json.loads((self.folder / CONFIG).read_text(encoding="utf8")))

    def _only_begun(self) -> bool:
        """Whether the folder is empty, or a run's that made no step: its first files, no checkpoint, nothing logged."""
        if not self.folder.is_dir():
            return False
        names = {path.name for path in self.folder.iterdir()}
        if self.checkpoints.is_dir() and not any(self.checkpoints.iterdir()):
            names.discard(self.checkpoints.name)  # the trainer makes it before the first step
        first = {CONFIG, VERSIONS, SPLIT, DATA}
        if not names <= first | {aside_name(name) for name in first}:
            return False
        return not names & first or self._is_config()

    def how_to_go_on(self) -> str:
        """What to do after an interruption, for a message."""
        if is_checkpoint(self.model):
            return f"{self.folder} is complete"
        if last_checkpoint(self.checkpoints) is not None:
            return f"go on with: {self._resume}"
        if self._only_begun():
            return "nothing was kept; run the same command again"
        return f"no checkpoint was finished, so no step is kept; begin again with: {self._resume}"

    def resumed(self, config: RunConfig, processes: int) -> RunConfig:
        """The configuration to go on with: the one held, its batches cut so that so many processes make the same step.

        Raises:
            CheckpointError: nothing to resume.
            ConfigError: other options, another global batch, or nothing left to do.
        """
        path = self.folder / CONFIG
        if not path.exists():
            raise CheckpointError(f"nothing to resume in {self.folder} (no {CONFIG}); start without resume")
        held = self.config()
        batch = {x: getattr(held.training, x) for x in ("batch_size", "gradient_accumulation_steps")}
        others = differences(held, config.model_copy(update={"training": config.training.model_copy(update=batch)}))
        if others:
            raise ConfigError(
                f"{path} differs from the options given: {'; '.join(others)}. Resume with the same, or leave them out: "
                f"{self._resume}"
            )
        if is_checkpoint(self.model):
            raise ConfigError(f"{self.folder} is complete; there is nothing to resume")
        training = recut(held.training, config.training, self._processes, processes)
        return config.model_copy(update={"training": training})

    @property
    def _processes(self) -> int:
        """How many processes the run was started with."""
        path = self.folder / VERSIONS
        return int(json.loads(path.read_text(encoding="utf8")).get("processes", 1)) if path.exists() else 1

    def _write_versions(self, processes: int) -> None:
        """Keep the versions that the run was started with, and say where they are others now."""
        now = {"python": platform.python_version(), **{x: version(x) for x in LIBRARIES}, "processes": processes}
        path = self.folder / VERSIONS
        if not path.exists():
            self.write_json(VERSIONS, now)
            return
        then = json.loads(path.read_text(encoding="utf8"))
        changed = [f"{name} {then.get(name)} -> {now[name]}" for name in now if then.get(name) != now[name]]
        if changed:
            what = "the result may differ from that of an uninterrupted run"
            logger.warning("other versions than the run was started with (%s): %s", what, ", ".join(changed))

    @property
    def resumed_step(self) -> int:
        """The step that a resumed run goes on from; 0 at the start."""
        last = last_checkpoint(self.checkpoints)
        return 0 if last is None else int(last.name.rsplit("-", 1)[1])

    @property
    def fingerprint(self) -> str | None:
        """Of the data that the run was started with; None where no split is made yet."""
        about = self.folder / DATA
        return str(json.loads(about.read_text(encoding="utf8"))["fingerprint"]) if about.exists() else None

    def fix_split(self, log: Log, make: Callable[[], Split]) -> Split:
        """The split: made and saved with the data's fingerprint on the first call, read on later ones.

        Raises:
            DataError: the data are not those that the run was started with.
        """
        known, saved = self.fingerprint, self.folder / SPLIT
        if known is not None:
            if known != log.fingerprint:
                raise DataError(
                    f"{log.source} has changed since {self.folder} was started (another fingerprint); "
                    "give the data as they were, or choose another output folder and start anew"
                )
            return Split.load(saved, log)
        sides = make()
        sides.save(saved, log)
        held = {"source": log.source, "fingerprint": log.fingerprint, "attribution": log.attribution}
        self.write_json(DATA, {**held, "notes": log.notes.text(), "overlap": sides.overlap(log)})
        return sides

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON file, whole or not at all."""
        write_text(self.folder / name, json.dumps(value, indent=2, ensure_ascii=False, default=str))


def differences(held: RunConfig, given: RunConfig) -> list[str]:
    """The options in which two configurations differ, each with both values; at most eight, then a count."""
    a, b = (_flat(config.model_dump(mode="json")) for config in (held, given))
    names = [name for name in {**a, **b} if a.get(name, _UNSET) != b.get(name, _UNSET)]
    told = [f"{name} is {a.get(name, _UNSET)} there and {b.get(name, _UNSET)} here" for name in names[:8]]
    return [*told, f"and {len(names) - 8} more"] if len(names) > 8 else told


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Dotted name -> the value as JSON."""
    flat: dict[str, str] = {}
    for name, value in tree.items():
        inner = _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else None
        flat.update({prefix + name: json.dumps(value, ensure_ascii=False)} if inner is None else inner)
    return flat


def settled(config: RunConfig) -> RunConfig:
    """The same options with the paths of files and folders written out, so that a run can be used from anywhere."""
    base, adapter, source = config.model.base, config.model.adapter, config.data.source
    model = {
        "base": base if base in BUNDLED else _absolute(base),
        "adapter": None if adapter is None else _absolute(adapter),
    }
    options = config.data.options
    if source in SOURCES and isinstance(options.get("path"), str):
        options = {**options, "path": _absolute(options["path"])}
    data = {"source": source if source in SOURCES else _absolute(source), "options": options}
    return config.model_copy(
        update={"model": config.model.model_copy(update=model), "data": config.data.model_copy(update=data)}
    )


def _absolute(name: str) -> str:
    """A path that exists here, written out; anything else, as a hub id, unchanged."""
    path = Path(name).expanduser()
    return str(path.resolve()) if path.exists() else name
