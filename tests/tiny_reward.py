"""A reward model of a few lines, votes of people with opposite tastes, and their embeddings, for tests of what is
around a reward model."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from prlhf.config.rewards.base import AnyReward
from prlhf.config.rewards.per_user import PerUser
from prlhf.rewards import Reward, States, UserTable, VectorReward
from prlhf.rewards.make import MEMBERS
from prlhf.types import Comparison

WIDTH = 4


class Tiny(AnyReward):
    """Options of `TinyReward`."""

    SEARCH: ClassVar[dict[str, tuple[Any, ...]]] = {"strength": (0.0, 3.0, 30.0)}
    type: Literal["tiny"] = "tiny"
    strength: float = 3.0
    """0: nothing is personal."""


class TinyReward(VectorReward):
    """`r_u(x) = x.(w + s_u)`: the mean difference of all votes, and that of the user's own."""

    Config = Tiny

    @classmethod
    def fit(cls, config, votes, *, validation=None, seed=0, progress=lambda steps: steps):
        list(progress(range(2)))
        made = cls(config, {"w": votes.differences.mean(0).astype(np.float64)}, UserTable.of(_nobody(), (), _nobody(0)))
        made.users = UserTable.of(_nobody(), votes.names, made.states_of(votes))
        return made

    def states_of(self, votes):
        own = np.zeros((len(votes.names), votes.items.width))
        known = votes.user >= 0
        np.add.at(own, votes.user[known], votes.differences[known])
        strength = getattr(self.config, "strength", 3.0)
        return States({"s": strength * own / np.maximum(votes.counts, 1)[:, None]}, votes.counts)

    def reward(self, items, a, b, states, who):
        x = items.x[a] if b is None else items.x[a] - items.x[b]
        return Reward((x * (self.parameters["w"] + states["s"][who])).sum(1), np.zeros(len(a)))


def _nobody(n: int = 1) -> States:
    return States({"s": np.zeros((n, WIDTH))}, np.zeros(n, np.int64))


class TinyPerUser(TinyReward):
    """The same in the place of `per_user`, for what takes a `RewardConfig`."""

    Config = PerUser


@pytest.fixture
def tiny(monkeypatch):
    """`tiny` is a member; `per_user` is it too."""
    monkeypatch.setitem(MEMBERS, "tiny", "tiny_reward:TinyReward")
    monkeypatch.setitem(MEMBERS, "per_user", "tiny_reward:TinyPerUser")


def text(x) -> str:
    return "An answer " + " ".join(f"{value:+.2f}" for value in x)


def votes(users: int = 12, each: int = 30, items: int = 40, seed: int = 0) -> list[Comparison]:
    """Half of the people like what is high in the first feature, half what is low; all like the second one a little."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(items, WIDTH)).round(2)
    found = []
    for u in range(users):
        taste = np.array([3.0 if u % 2 else -3.0, 0.7, 0, 0])
        for k in range(each):
            a, b = rng.choice(items, 2, replace=False)
            if (x[a] - x[b]) @ taste + rng.logistic() * 0.3 < 0:
                a, b = b, a
            found.append(Comparison("Which?", text(x[a]), text(x[b]), user=f"user{u:02}", id=f"{u}-{k}"))
    return found


def write_votes(comparisons: list[Comparison], folder: Path) -> tuple[Path, Path]:
    """As files: votes, and the embeddings that their texts say."""
    rows = [
        {"prompt": c.prompt, "chosen": c.chosen, "rejected": c.rejected, "user_id": c.user, "tie": c.tie}
        for c in comparisons
    ]
    texts = sorted({t for c in comparisons for t in c.responses})
    numbers = [[float(word) for word in t.split()[2:]] for t in texts]
    data, embeddings = folder / "votes.parquet", folder / "embeddings.parquet"
    pq.write_table(pa.Table.from_pylist(rows), data)
    pq.write_table(pa.table({"text": texts, "embedding": pa.array(numbers, pa.list_(pa.float32()))}), embeddings)
    return data, embeddings
