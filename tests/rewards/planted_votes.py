"""Small planted votes whose right answer is known: a shared taste and, with a rank, personal ones; shared by tests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from prlhf.rewards import Items, Votes

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Truth:
    """The linear taste of everybody, in the features as they are given."""

    mean: Floats
    """`[f]`, what all users share."""
    users: Floats
    """`[n, f]`, the whole taste of each; `mean` in each row where the rank is 0."""

    def margins(self, votes: Votes) -> Floats:
        """The true margin `[b]`; the shared one where the user is the generic one."""
        tastes = np.vstack([self.users, self.mean])
        return np.einsum("bf,bf->b", tastes[votes.user], votes.differences.astype(np.float64))


def planted(
    users: int = 20,
    votes_each: int = 40,
    items: int = 60,
    width: int = 6,
    rank: int = 2,
    noise: float = 1.0,
    seed: int = 0,
    *,
    flips: float = 0.0,
    test_each: int = 20,
    personal: float = 2.0,
) -> tuple[Votes, Votes, Truth]:
    """Training votes, test votes of the same users on other draws of pairs, and the truth.

    Args:
        noise: votes are drawn from the logistic of (true margin / noise); 0 = everybody votes by its sign.
        flips: the share of votes that are turned round after that.
        personal: the length of a user's personal taste where the shared one has length 2 (standardised features).
    """
    rng = np.random.default_rng(seed)
    scale = np.exp(rng.normal(size=width))  # features of different scales
    x = rng.normal(size=(items, width)) * scale
    mean = _of_length(rng.normal(size=width), 2.0) / scale
    directions = np.linalg.qr(rng.normal(size=(width, max(rank, 1))))[0][:, :rank]
    tastes = mean + personal * rng.normal(size=(users, rank)) @ directions.T / np.sqrt(max(rank, 1)) / scale
    truth = Truth(mean, tastes)
    held = Items(np.arange(1, items + 1, dtype=np.uint64) * np.uint64(1_000_003), x.astype(np.float32))
    drawn = [_votes(rng, held, truth, each, noise, flips) for each in (votes_each, test_each)]
    return drawn[0], drawn[1], truth


def votes_of(items: Items, chosen: list[int], rejected: list[int], user: list[int], names: tuple[str, ...]) -> Votes:
    """Votes by hand: weight 1, no ties, order of showing unknown."""
    ones = np.ones(len(chosen))
    a, b = np.array(chosen, np.int64), np.array(rejected, np.int64)
    pair = (np.minimum(a, b) * len(items) + np.maximum(a, b)).astype(np.uint64)
    return Votes(items, a, b, np.array(user, np.int64), names, ones, ones, 0 * ones, pair)


def _votes(rng: np.random.Generator, items: Items, truth: Truth, each: int, noise: float, flips: float) -> Votes:
    n, m = len(truth.users), len(items)
    user = np.repeat(np.arange(n), each)
    a = rng.integers(m, size=n * each)
    b = (a + rng.integers(1, m, size=n * each)) % m
    votes = votes_of(items, list(a), list(b), list(user), tuple(f"user-{i:04d}" for i in range(n)))
    margin = truth.margins(votes)
    wrong = margin < 0 if noise == 0 else rng.random(n * each) > 0.5 * (1 + np.tanh(margin / noise / 2))
    wrong ^= rng.random(n * each) < flips
    return votes_of(items, list(np.where(wrong, b, a)), list(np.where(wrong, a, b)), list(user), votes.names)


def _of_length(v: Floats, length: float) -> Floats:
    return v * length / np.linalg.norm(v)
