"""Folders and hub data sets of the `datasets` library, which is imported only here and only when needed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from prlhf.data.readers import RawRow, Table
from prlhf.errors import DataError

__all__ = ["open_folder", "open_hub"]


def open_folder(path: Path, options: Mapping[str, Any], wanted: Collection[str] | None = None) -> Table:
    """A folder written by `save_to_disk` of a `Dataset` or a `DatasetDict`; option `split` names a part of the latter.

    Raises:
        DataError: the folder is something else, or has no such split.
    """
    from datasets import load_from_disk

    unknown = sorted(set(options) - {"split"})
    if unknown:
        raise DataError(f"{path}: a folder has no option {', '.join(unknown)}; its only option is split")
    if not any((path / name).is_file() for name in ("dataset_dict.json", "state.json")):
        found = ", ".join(sorted(p.name for p in path.iterdir())[:8]) or "nothing"
        raise DataError(f"{path} is not a folder written by datasets' save_to_disk; found in it: {found}")
    try:
        data = load_from_disk(str(path))
    except Exception as e:  # whatever the library raises about a broken folder
        raise DataError(f"{path}: datasets cannot load this folder ({type(e).__name__}: {e})") from e
    return _table(str(path), _part(str(path), data, options.get("split")), wanted)


def open_hub(name: str, options: Mapping[str, Any], wanted: Collection[str] | None = None) -> Table:
    """A data set of the Hugging Face hub; `options` go to `datasets.load_dataset` (`name`, `split`, `revision`, …).

    Raises:
        DataError: it does not exist, cannot be reached, or has no such configuration or split.
    """
    import datasets

    try:
        data = datasets.load_dataset(name, **options)
    except Exception as e:  # the library and the hub client raise many kinds; each means: it could not be read
        hint = "Is there a network, and is the name right? A file would need a path that exists."
        raise DataError(
            f"no data set {name!r} could be read from the Hugging Face hub ({type(e).__name__}: {e}). {hint}"
        ) from e
    return _table(name, _part(name, data, None), wanted)


def _part(name: str, data: Any, split: str | None) -> Any:
    """The one data set that is meant: the named split, else `train`, else the only one."""
    if not isinstance(data, dict):
        if split is not None:
            raise DataError(f"{name}: option split = {split!r}, but this is a single data set without splits")
        return data
    chosen = split or ("train" if "train" in data else next(iter(data)) if len(data) == 1 else None)
    if chosen not in data:
        wish = f"no split {chosen!r}" if chosen else "several splits"
        raise DataError(f"{name}: {wish}; name one of {', '.join(data)} with the option split")
    return data[chosen]


def _table(name: str, data: Any, wanted: Collection[str] | None) -> Table:
    columns = tuple(data.column_names or ())
    read = [column for column in columns if wanted is None or column in wanted]

    def rows() -> Iterator[RawRow]:
        number = 0
        for batch in data.select_columns(read).iter(batch_size=1024) if read else ():
            for values in zip(*(batch[column] for column in read), strict=True):
                number += 1
                yield number, dict(zip(read, values, strict=True))

    files = tuple(Path(file["filename"]) for file in getattr(data, "cache_files", ()))
    return Table(name, rows(), columns=columns, files=files)
