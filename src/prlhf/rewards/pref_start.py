"""Where PReF's factors start: the label matrix where people voted on the same pairs, else their votes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import LinearOperator, svds

from prlhf.config.rewards.pref import Pref
from prlhf.rewards.votes import Votes

__all__ = ["Start", "overlap", "start"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Start(NamedTuple):
    """What phi is regressed to first, and the users' weights that go with it."""

    first: Ints
    """`[q]`, places of items."""
    second: Ints
    targets: Floats
    """`[q, J]`: what `phi(first) - phi(second)` should be."""
    weights: Floats
    """`[n, J]`."""


def overlap(votes: Votes) -> float:
    """The share of votes on pairs that more than one user voted on."""
    _, pair = np.unique(votes.pair, return_inverse=True)
    users = np.unique(np.stack([pair, votes.user]), axis=1)
    return float((np.bincount(users[0])[pair] > 1).mean())


def start(config: Pref, votes: Votes, x: npt.NDArray[np.float32], rng: np.random.Generator) -> Start:
    """By `config.init`, for votes on items with the standardised features `x` `[m, f]`."""
    init = config.init
    if init == "auto":
        init = "svd" if overlap(votes) >= 0.5 else "votes"
    if init == "svd":
        return _of_labels(config, votes, rng)
    if init == "votes":
        return _of_votes(config, votes, x, rng)
    n, f = max(len(votes.names), 1), x.shape[1]
    targets = _differences(votes, x) @ rng.normal(size=(f, config.factors)) / np.sqrt(max(f, 1))
    return Start(votes.chosen, votes.rejected, targets, rng.normal(size=(n, config.factors)))


def _of_labels(config: Pref, votes: Votes, rng: np.random.Generator) -> Start:
    """`lambda = V sqrt(S)` and targets `U sqrt(S)` of the pairs x users matrix of labels, with the pairs turned at
    random: or the first factor would be which response stands first."""
    _, where, pair = np.unique(votes.pair, return_index=True, return_inverse=True)
    turned = rng.random(len(where)) < 0.5
    chosen, rejected = votes.chosen[where], votes.rejected[where]
    first, second = np.where(turned, rejected, chosen), np.where(turned, chosen, rejected)
    label = np.where(votes.chosen == first[pair], votes.y, 1 - votes.y)
    known = votes.user >= 0
    shape = (len(where), max(len(votes.names), 1))
    at = (pair[known], votes.user[known])
    count = csr_matrix((np.ones(known.sum()), at), shape)  # somebody may have voted on a pair twice
    labels = csr_matrix((label[known], at), shape)
    labels.data /= count.data
    base = 0.0
    if config.centre:
        labels.data -= 0.5
    else:
        base = 0.5  # what is missing starts as, where the labels are as they are
    u, s, v = _completed(labels, base, config.factors, config.rounds, rng)
    root = np.sqrt(s)
    return Start(first, second, u * root, v * root)


def _completed(
    labels: csr_matrix, base: float, k: int, rounds: int, rng: np.random.Generator
) -> tuple[Floats, Floats, Floats]:
    """The leading `U` `[q, k]`, `S` `[k]`, `V` `[n, k]` of a matrix of which only some entries are known, the others
    filled in from the round before. The singular values are shrunk by the first that is left out (soft-impute, Mazumder
    et al., JMLR 2010): entries that nobody knows do not count as evidence. Never a dense matrix."""
    q, n = labels.shape
    u, s, v = np.full((q, 1), q**-0.5), np.array([base * np.sqrt(q * n)]), np.full((n, 1), n**-0.5)
    row, column = np.repeat(np.arange(q), np.diff(labels.indptr)), labels.indices
    residual = labels.copy()
    for _ in range(rounds):
        residual.data = labels.data - ((u[row] * s) * v[column]).sum(axis=1)
        u, s, v = _leading(residual, u, s, v, k + 1, rng)
        s = np.maximum(s - (s[k] if len(s) > k else 0), 0)[:k]
        u, v = u[:, :k], v[:, :k]
    missing = ((0, 0), (0, k - len(s)))
    return np.pad(u, missing), np.pad(s, missing[1]), np.pad(v, missing)


def _leading(
    sparse: csr_matrix, u: Floats, s: Floats, v: Floats, k: int, rng: np.random.Generator
) -> tuple[Floats, Floats, Floats]:
    """The k largest singular values, descending, of `sparse + u s v'`, and their vectors."""
    if not sparse.data.any():  # ARPACK does not begin with nothing
        return u, s, v
    if min(sparse.shape) <= k:
        left, values, right = np.linalg.svd(sparse.toarray() + (u * s) @ v.T, full_matrices=False)
        return left, values, right.T
    operator = LinearOperator(
        sparse.shape,
        matvec=lambda w: sparse @ w.ravel() + (u * s) @ (v.T @ w.ravel()),
        rmatvec=lambda w: sparse.T @ w.ravel() + (v * s) @ (u.T @ w.ravel()),
        dtype=np.float64,
    )
    left, values, right = svds(operator, k=k, v0=rng.normal(size=min(sparse.shape)))
    order = np.argsort(-values)
    return left[:, order], values[order], right[order].T


def _of_votes(config: Pref, votes: Votes, x: npt.NDArray[np.float32], rng: np.random.Generator) -> Start:
    """Directions from the users x features matrix of `C^-1 sum_votes (2 y - 1) (x(chosen) - x(rejected))`: each user's
    least squares, with the covariance `C` of everybody's differences. Users count by the root of their votes."""
    d = _differences(votes, x)
    n, f = max(len(votes.names), 1), x.shape[1]
    known = votes.user >= 0
    size = np.bincount(votes.user[known], minlength=n)
    signs = csr_matrix((2 * votes.y[known] - 1, (votes.user[known], np.flatnonzero(known))), (n, len(votes)))
    covariance = d.T @ d / len(votes)
    covariance[np.diag_indices(f)] += 0.1  # of features whose mean square is 1
    found = np.linalg.solve(covariance, np.asarray(signs @ d, np.float64).T).T / np.sqrt(np.maximum(size, 1))[:, None]
    left, values, right = _leading(
        csr_matrix(found), np.zeros((n, 1)), np.zeros(1), np.zeros((f, 1)), config.factors, rng
    )
    k = min(config.factors, len(values))
    root = np.sqrt(values[:k])
    more = ((0, 0), (0, config.factors - k))
    weights = np.pad(left[:, :k] * root / np.sqrt(np.maximum(size, 1))[:, None], more)
    return Start(votes.chosen, votes.rejected, np.pad(d @ (right[:, :k] * root), more), weights)


def _differences(votes: Votes, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return x[votes.chosen] - x[votes.rejected]
