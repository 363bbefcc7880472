"""Votes of two camps that want the opposite of each other in most of what there is; shared by tests."""

from __future__ import annotations

import numpy as np

from prlhf.rewards import Items, Votes


def camps(
    users: int = 12, each: int = 40, pairs: int | None = 60, width: int = 4, seed: int = 0, certain: float = 3.0
) -> tuple[Votes, Votes]:
    """Votes to learn from, and half as many others by the same users on other pairs.

    A response is worth `x_0 ± 2 x_1`, `+` to users of even number. All users vote on the same `pairs` pairs, or on
    pairs of their own where it is None.
    """
    rng = np.random.default_rng(seed)
    count = 3 * each // 2
    taste = np.zeros((users, width))
    taste[:, 0], taste[:, 1] = 1, np.where(np.arange(users) % 2, -2, 2)
    many = users * count if pairs is None else pairs * 3 // 2
    x = rng.normal(size=(2 * many, width)).astype(np.float32) * np.exp(rng.normal(size=width)).astype(np.float32)
    items = Items(np.arange(1, 2 * many + 1, dtype=np.uint64), x)
    plain = x / x.std(axis=0)
    parts = []
    for part, size in enumerate((each, count - each)):
        if pairs is None:
            pair = (np.arange(users)[:, None] * count + part * each + np.arange(size)).ravel()
        else:
            pair = np.concatenate([rng.permutation(pairs if not part else pairs // 2)[:size] for _ in range(users)])
            pair = pair + part * pairs
        user = np.repeat(np.arange(users), len(pair) // users)
        a, b = 2 * pair, 2 * pair + 1
        margin = certain * ((plain[a] - plain[b]) * taste[user]).sum(axis=1)
        wrong = rng.random(len(a)) > 1 / (1 + np.exp(-margin))
        parts.append(votes_on(items, np.where(wrong, b, a), np.where(wrong, a, b), user, users))
    return parts[0], parts[1]


def votes_on(items: Items, chosen: np.ndarray, rejected: np.ndarray, user: np.ndarray, users: int) -> Votes:
    """Weight 1, no ties, order of showing unknown."""
    one = np.ones(len(chosen))
    pair = (np.minimum(chosen, rejected) * len(items) + np.maximum(chosen, rejected)).astype(np.uint64)
    names = tuple(f"u{i:02d}" for i in range(users))
    return Votes(items, np.int64(chosen), np.int64(rejected), np.int64(user), names, one, one, 0 * one, pair)


def accuracy(mean: np.ndarray) -> float:
    """Of margins that should be positive."""
    return float((mean > 0).mean())


def pooled_accuracy(train: Votes, test: Votes) -> float:
    """Of one logistic regression for everybody."""
    d = train.differences / train.differences.std(axis=0)
    w = np.zeros(d.shape[1])
    for _ in range(20):
        p = 1 / (1 + np.exp(-d @ w))
        w += np.linalg.solve((d.T * (p * (1 - p))) @ d + np.eye(len(w)), d.T @ (1 - p) - w)
    return accuracy(test.differences / train.differences.std(axis=0) @ w)
