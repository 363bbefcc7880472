"""Parquet files of embeddings: read, checked, looked up by text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from prlhf.errors import DataError
from prlhf.rewards.features.base import Vectors

__all__ = ["KINDS", "EmbeddingFile"]

KINDS = ("response", "prompt", "user")
_MANY = 2**14
"""Rows that are checked at a time."""


@dataclass(frozen=True)
class EmbeddingFile:
    """Vectors by text; where the file has a column `kind`, by kind and text.

    `matrix` `[m, d]` is as it was stored, but never wider than float32. Rows are counted from 1 in messages.
    """

    path: Path
    matrix: np.ndarray
    places: dict[tuple[str | None, str], int]
    kinds: frozenset[str]
    """Those in the file; none where it has no column `kind`."""

    @classmethod
    def read(cls, path: Path) -> EmbeddingFile:
        """The file at `path`.

        Raises:
            DataError: it is not there, not Parquet, or a column or row of it cannot be used.
        """
        table = _table(path)
        texts, kinds = _texts(path, table)
        matrix = _matrix(path, table["embedding"])
        places: dict[tuple[str | None, str], int] = {}
        for row, key in enumerate(zip(kinds, texts, strict=True)):
            first = places.setdefault(key, row)
            if first != row and not np.array_equal(matrix[first], matrix[row]):
                raise DataError(
                    f"{path}, rows {first + 1} and {row + 1}: two embeddings of one text, {key[1]!r:.80}; keep one"
                )
        return cls(path, matrix, places, frozenset(kind for kind in kinds if kind))

    @property
    def width(self) -> int:
        """d."""
        return int(self.matrix.shape[1])

    def place(self, text: str, kind: str) -> int | None:
        """Its row in `matrix`; of any kind where the file names none."""
        return self.places.get((kind if self.kinds else None, text))

    def has(self, texts: Sequence[str], kind: str) -> int:
        """Of how many texts there is an embedding."""
        return sum(self.place(text, kind) is not None for text in texts)

    def find(self, texts: Sequence[str], kind: str) -> Vectors:
        """`[n, d]`.

        Raises:
            DataError: texts without an embedding.
        """
        rows = [self.place(text, kind) for text in texts]
        lost = list(dict.fromkeys(text for text, row in zip(texts, rows, strict=True) if row is None))
        if lost:
            other = next((k for k in KINDS if (k, lost[0]) in self.places), None)
            hint = f" (it has one as kind {other})" if other else ""
            raise DataError(
                f"{self.path}: no embedding of {len(lost)} of {len(set(texts))} texts of kind {kind}, the first of "
                f"them {lost[0]!r:.80}{hint}; give embeddings of exactly these texts, from the "
                "same model: before training in this file, to a trained model with --embeddings OTHER.parquet (rows "
                "added to this file would make it another one)"
            )
        return np.asarray(self.matrix[np.array(rows, np.int64)], np.float32)


def _table(path: Path) -> pa.Table:
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected a Parquet file with columns text and embedding")
    try:
        file = pq.ParquetFile(path)
        names = file.schema_arrow.names
        lost = [name for name in ("text", "embedding") if name not in names]
        if lost:
            raise DataError(
                f"{path}: no column {' and no column '.join(lost)}; found {', '.join(names) or 'none'}, expected text, "
                "embedding and perhaps kind"
            )
        return file.read(columns=[name for name in ("text", "embedding", "kind") if name in names])
    except (pa.ArrowException, OSError) as e:
        raise DataError(f"{path}: cannot be read as Parquet ({e})") from e


def _texts(path: Path, table: pa.Table) -> tuple[list[str], Sequence[str | None]]:
    """Texts, and their kinds: None of each where there is no such column."""
    texts = table["text"].to_pylist()
    wrong = next((i for i, text in enumerate(texts) if not isinstance(text, str)), None)
    if wrong is not None:
        raise DataError(f"{path}, row {wrong + 1}, column text: found {texts[wrong]!r:.40}, expected a text")
    if not texts:
        raise DataError(f"{path}: no rows, expected a text and its embedding in each")
    if "kind" not in table.column_names:
        return texts, [None] * len(texts)
    kinds = table["kind"].to_pylist()
    wrong = next((i for i, kind in enumerate(kinds) if kind not in KINDS), None)
    if wrong is not None:
        raise DataError(
            f"{path}, row {wrong + 1}, column kind: found {kinds[wrong]!r:.40}, expected {', '.join(KINDS)}; without "
            "such a column an embedding counts for every kind"
        )
    return texts, kinds


def _matrix(path: Path, column: Any) -> np.ndarray:
    """The embeddings `[m, d]`, checked row by row."""
    kind = column.type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not is_list or not pa.types.is_floating(kind.value_type):
        raise DataError(f"{path}, column embedding: found {kind}, expected lists of float16, float32 or float64")
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy()
    width = int(lengths[0])
    other = np.flatnonzero((lengths != width) | (lengths == 0))
    if len(other):
        found, expected = lengths[other[0]], f"{width} as in row 1" if width else "at least one number"
        raise DataError(f"{path}, row {other[0] + 1}, column embedding: found {found} numbers, expected {expected}")
    matrix = np.concatenate([_numbers(chunk) for chunk in column.chunks]).reshape(-1, width)
    for start in range(0, len(matrix), _MANY):
        bad = np.flatnonzero(~np.isfinite(matrix[start : start + _MANY]).all(axis=1))
        if len(bad):
            row = start + int(bad[0])
            number = matrix[row][~np.isfinite(matrix[row])][0]
            raise DataError(f"{path}, row {row + 1}, column embedding: found {number}, expected finite numbers")
    return matrix


def _numbers(chunk: Any) -> np.ndarray:
    """All of them one after the other; a missing one becomes NaN, and what float32 cannot hold infinite."""
    values = chunk.flatten().to_numpy(zero_copy_only=False)
    with np.errstate(over="ignore"):
        return values.astype(np.float32) if values.dtype == np.float64 else values
