"""The Parquet file of `data_scale.py`: comparisons in planted words, written a batch at a time, the same for a seed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from prlhf.data.planted import World

__all__ = ["write"]

BATCH = 10_000


@cache
def _sentences() -> tuple[np.ndarray, np.ndarray]:
    """Questions and answers of the planted world, each once."""
    votes = World().log().comparisons
    questions = sorted({str(c.prompt) for c in votes})
    answers = sorted({text for c in votes for text in c.responses})
    return np.array(questions, object), np.array(answers, object)


def _batches(rows: int, users: int, seed: int) -> Iterator[pa.Table]:
    """Prompts of five or six questions (about 60 tokens of the bundled model), responses of one answer (about 35)."""
    questions, answers = _sentences()
    rng = np.random.default_rng(seed)
    for start in range(0, rows, BATCH):
        n = min(BATCH, rows - start)
        asked = questions[rng.integers(len(questions), size=(n, 6))]
        asked[rng.random(n) < 0.5, 5] = ""
        pair = rng.integers(len(answers), size=(n, 2))
        pair[:, 1] += pair[:, 0] == pair[:, 1]
        who = rng.integers(users, size=n)
        yield pa.table(
            {
                "prompt": [" ".join(row).strip() for row in asked],
                "chosen": answers[pair[:, 0] % len(answers)],
                "rejected": answers[pair[:, 1] % len(answers)],
                "user_id": [f"user-{u:07d}" for u in who],
            }
        )


def write(path: Path, rows: int, users: int, seed: int = 0) -> Path:
    """`rows` comparisons of `users` users drawn at random."""
    aside, writer = path.with_suffix(".part"), None
    for table in _batches(rows, users, seed):
        writer = writer or pq.ParquetWriter(aside, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()
    aside.rename(path)
    return path
