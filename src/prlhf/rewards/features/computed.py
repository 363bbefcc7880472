"""Vectors that a language model computes: once per text, ever, cached on disk by content.

The cache is keyed by the model's identity, the options that matter and the text (of `hidden` the token ids), so it
holds across runs and growing data. What is computed is written every few hundred texts and when computing ends for
whatever reason, so that a kill loses little.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from prlhf.data.cache import aside, paced
from prlhf.errors import CheckpointError, ConfigError, DataError
from prlhf.rewards.features.base import Vectors

__all__ = ["VectorCache", "device_of", "identity", "key_of"]

logger = logging.getLogger(__name__)
_FLUSH = 512
"""Texts after which what was computed is written."""
_PARTS_OF_A_MODEL = (".json", ".safetensors", ".bin", ".txt", ".model", ".jinja")


class VectorCache:
    """Vectors by content hash: a folder of safetensors files, one for every few hundred texts.

    Args:
        folder: where the caches of all models are.
        name: of the kind of features.
        about: what the vectors depend on beside the text, as JSON has it.
    """

    def __init__(self, folder: Path, name: str, about: Any):
        digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode("utf8", "surrogatepass")).hexdigest()
        self.path = folder / f"features-{name}-{digest[:24]}"
        self._full = False
        self._places: dict[bytes, tuple[Path, int]] = {}
        for file in sorted(self.path.glob("*.safetensors")):
            self._places |= {key: (file, row) for row, key in enumerate(_read(file, "keys"))}

    def vectors(
        self,
        keys: Sequence[bytes],
        batches: Callable[[list[int]], list[list[int]]],
        compute: Callable[[list[int]], Vectors],
        progress: Callable[[Iterable[Any]], Iterable[Any]],
    ) -> Vectors:
        """Vectors `[n, d]` of n > 0 texts, computed where they are not known.

        Args:
            keys: of each text, 16 bytes.
            batches: in which batches to compute the texts of these places.
            compute: the vectors `[b, d]` of a batch.
        """
        found = self._find(keys)
        missing = {key: i for i, key in enumerate(keys) if key not in found}
        new: dict[bytes, np.ndarray] = {}
        try:
            with paced("features") as done:
                for batch in progress(batches(list(missing.values()))) if missing else ():
                    new |= zip((keys[i] for i in batch), compute(batch), strict=True)
                    done.append(len(batch))
                    if len(new) >= _FLUSH:
                        self._add(new)
                        found.update(new)
                        new = {}
        finally:
            self._add(new)
        found |= new
        return np.stack([found[key] for key in keys])

    def _find(self, keys: Sequence[bytes]) -> dict[bytes, np.ndarray]:
        wanted: dict[Path, list[bytes]] = {}
        for key in dict.fromkeys(keys):
            if key in self._places:
                wanted.setdefault(self._places[key][0], []).append(key)
        found: dict[bytes, np.ndarray] = {}
        for file, held in wanted.items():
            values = _read(file, "values")
            found |= {key: values[self._places[key][1]] for key in held if self._places[key][1] < len(values)}
        return found

    def _add(self, new: dict[bytes, np.ndarray]) -> None:
        """Write these; what is not finite wants looking at, not remembering."""
        held = {key: value for key, value in new.items() if np.isfinite(value).all()}
        if not held or self._full:
            return
        keys = np.frombuffer(b"".join(held), np.uint8).reshape(-1, 16)
        path = self.path / f"{hashlib.sha256(keys.tobytes()).hexdigest()[:24]}.safetensors"
        try:
            with aside(path) as place:
                _save({"keys": keys, "values": np.stack(list(held.values()))}, place)
        except DataError as e:
            self._full = True
            logger.warning("features are not kept: %s", e)
            return
        self._places |= {key: (path, row) for row, key in enumerate(held)}


def _save(held: dict[str, np.ndarray], place: Path) -> None:
    try:
        save_file(held, str(place))
    except SafetensorError as e:  # what it says of a full disk
        raise OSError(str(e)) from e


def _read(file: Path, name: str) -> Sequence[Any]:
    """`keys` or `values` of a file; none where it is damaged, and then it is removed."""
    try:
        with safe_open(str(file), framework="numpy") as held:
            array = held.get_tensor(name)
        return [row.tobytes() for row in array] if name == "keys" else array
    except (SafetensorError, OSError, ValueError, TypeError):
        logger.warning("%s is damaged and will be made again", file)
        with suppress(OSError):
            file.unlink(missing_ok=True)
        return []


def key_of(*parts: bytes) -> bytes:
    """Content hash of a text, 16 bytes."""
    h = hashlib.sha256()
    for part in parts:
        h.update(len(part).to_bytes(8, "little") + part)
    return h.digest()[:16]


def identity(model: str) -> str:
    """Tells whether it is the same model: of a folder the content of its files, of a hub id its commit.

    Raises:
        CheckpointError: no such folder, and the hub has none of that name either.
    """
    folder = Path(model)
    if not folder.is_dir():
        return _commit(model)
    h = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.suffix in _PARTS_OF_A_MODEL and p.is_file()):
        with path.open("rb") as file:
            h.update(str(path.relative_to(folder)).encode() + hashlib.file_digest(file, "sha256").digest())
    return h.hexdigest()[:24]


def _commit(model: str) -> str:
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(model, "config.json")).parent.name
    except (OSError, ValueError) as e:
        why = next(iter(str(e).strip().splitlines()), type(e).__name__)
        raise CheckpointError(f"features.model: no folder {model}, and the hub says: {why}") from e


def device_of(name: str) -> str:
    """`cpu` or `cuda`.

    Raises:
        ConfigError: a GPU is asked for where there is none.
    """
    import torch

    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise ConfigError("features.device: found cuda, but there is no GPU here; take features.device=auto")
    return "cuda" if there and name != "cpu" else "cpu"
