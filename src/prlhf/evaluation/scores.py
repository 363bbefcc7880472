"""What a model thinks of each comparison of a log: the table that all metrics start from."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from prlhf.errors import DataError
from prlhf.types import Comparison

if TYPE_CHECKING:
    from prlhf.evaluation.thumbs import ThumbPair

__all__ = ["Scores"]

Floats = npt.NDArray[np.float64]
_TEXT = ("user", "group", "ids")
_FLOAT = ("weight", "h_specific", "h_generic", "h_permuted")


@dataclass(frozen=True, eq=False)
class Scores:
    """Aligned arrays over `n` comparisons; `h` is the margin of implicit rewards, positive if the vote is predicted.

    `user`, `group`: object arrays of `str | None` (None = generic, no group). `weight`: how much a comparison counts in
    every weighted mean. `seen`: the model has a row for this user. `h_specific`: with the user's own row, `h_generic`:
    with row 0, `h_permuted`: with somebody else's row (None if not computed). `chosen_chars`, `rejected_chars`: lengths
    in characters. `ids`: names of the comparisons, by which two tables are matched.

    Raises `DataError` for arrays of unequal length, margins or weights that are not finite, negative weights, and rows
    that are marked as seen without a user.
    """

    user: npt.NDArray[np.object_]
    group: npt.NDArray[np.object_]
    weight: Floats
    seen: npt.NDArray[np.bool_]
    h_specific: Floats
    h_generic: Floats
    chosen_chars: npt.NDArray[np.int64]
    rejected_chars: npt.NDArray[np.int64]
    ids: npt.NDArray[np.object_]
    h_permuted: Floats | None = None

    def __post_init__(self) -> None:
        for name, value in self._arrays().items():
            kind: Any = object if name in _TEXT else np.float64 if name in _FLOAT else np.int64
            kind = np.bool_ if name == "seen" else kind
            array = np.array(value, dtype=kind)
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        self._check()

    def _arrays(self) -> dict[str, Any]:
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in found.items() if value is not None}

    def _check(self) -> None:
        arrays = self._arrays()
        shapes = {name: value.shape for name, value in arrays.items()}
        if any(shape != (len(self),) for shape in shapes.values()):
            raise DataError(f"scores: all arrays must have the shape ({len(self)},) of `user`; found {shapes}")
        for name in _FLOAT:
            if name in arrays and not np.isfinite(arrays[name]).all():
                self._refuse(~np.isfinite(arrays[name]), name, "a finite number; look at the loss of the run")
        if (self.weight < 0).any():
            self._refuse(self.weight < 0, "weight", "zero or more")
        nameless = self.seen & np.array([u is None for u in self.user], dtype=bool)
        if nameless.any():
            self._refuse(nameless, "user", "an id, because the row is marked as seen")

    def _refuse(self, bad: npt.NDArray[np.bool_], name: str, expected: str) -> None:
        rows = np.flatnonzero(bad)
        value = getattr(self, name)[rows[0]]
        named = ", ".join(repr(str(self.ids[i])) for i in rows[:5]) + (", …" if len(rows) > 5 else "")
        raise DataError(
            f"scores: {name} of {len(rows)} of {len(self)} comparisons (ids {named}) is wrong: found {value!s} in row "
            f"{rows[0]}, expected {expected}"
        )

    @classmethod
    def of(
        cls,
        comparisons: Sequence[Comparison | ThumbPair],
        *,
        seen: npt.ArrayLike,
        h_specific: npt.ArrayLike,
        h_generic: npt.ArrayLike,
        h_permuted: npt.ArrayLike | None = None,
    ) -> Scores:
        """The table of `comparisons` with these margins `[n]`, in the same order."""
        given: dict[str, Any] = {"seen": seen, "h_specific": h_specific, "h_generic": h_generic}
        return cls(
            user=_objects([c.user for c in comparisons]),
            group=_objects([c.group for c in comparisons]),
            weight=np.array([c.weight for c in comparisons], dtype=np.float64),
            chosen_chars=np.array([len(c.chosen) for c in comparisons], dtype=np.int64),
            rejected_chars=np.array([len(c.rejected) for c in comparisons], dtype=np.int64),
            ids=_objects([c.id for c in comparisons]),
            h_permuted=None if h_permuted is None else np.asarray(h_permuted, dtype=np.float64),
            **given,
        )

    def __len__(self) -> int:
        return len(self.user)

    @property
    def h(self) -> Floats:
        """The margin as a user of the model meets it: the own row for seen users, the generic row for all others."""
        return np.where(self.seen, self.h_specific, self.h_generic)

    def select(self, rows: npt.ArrayLike) -> Scores:
        """The comparisons under a mask or at indices."""
        return replace(self, **{name: value[rows] for name, value in self._arrays().items()})

    @classmethod
    def concatenate(cls, parts: Sequence[Scores]) -> Scores:
        """The comparisons of all tables, one after the other; `h_permuted` only where all have it."""
        names = [f.name for f in fields(cls) if all(getattr(part, f.name) is not None for part in parts)]
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one Parquet file, one row a comparison (written aside, then renamed)."""
        import pyarrow as pa

        columns = {
            name: pa.array(value, pa.string() if name in _TEXT else None) for name, value in self._arrays().items()
        }
        write_parquet(pa.table(columns), path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Scores:
        """Read what `save` wrote; `DataError` if the file is something else."""
        import pyarrow.parquet as pq

        table = pq.read_table(path)
        wanted = [f.name for f in fields(cls) if f.name != "h_permuted"]
        missing = [name for name in wanted if name not in table.column_names]
        if missing:
            raise DataError(f"{path}: not a table of scores, the columns {', '.join(missing)} are missing")
        names = [f.name for f in fields(cls) if f.name in table.column_names]
        columns: dict[str, Any] = {name: table.column(name).to_pylist() for name in names}
        return cls(**columns | {name: _objects(columns[name]) for name in _TEXT})


def _objects(values: Sequence[str | None]) -> npt.NDArray[np.object_]:
    """An object array of strings (numpy would make fixed-width strings of them)."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def write_parquet(table: Any, path: str | os.PathLike[str]) -> None:
    """Write a pyarrow table aside, then rename it into place: a half-written file is never read."""
    import pyarrow.parquet as pq

    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        pq.write_table(table, aside)
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)
