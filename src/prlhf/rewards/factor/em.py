"""Learning the factor model: variational expectation-maximisation with the bound of Jaakkola and Jordan (2000).

For each vote `log sigma(z) >= (y - 1/2) z - omega z² / 2 + const` with `omega = tanh(xi / 2) / (2 xi)`, `xi² = E[z²]`:
every step is a ridge regression. People have a full Gaussian `N(l, S)` each; crowd weights, loadings and effects of
responses have means (solved together, by conjugate gradients) and variances (each by itself).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse.linalg import svds
from scipy.special import expit

from prlhf.rewards.factor.pairs import Pairs
from prlhf.rewards.factor.posterior import observed, omega
from prlhf.rewards.factor.solve import Arrays, solve
from prlhf.rewards.factor.texts import TextPrior

__all__ = [
    "Crowd",
    "Shared",
    "Spread",
    "as_strangers",
    "chances",
    "fit_crowd",
    "grow",
    "improve",
    "log_likelihood",
    "moments",
]

Floats = npt.NDArray[np.float64]
_BIAS = 1.0
"""Spread of the position bias in log-odds, before any vote."""
_BLOCK = 1 << 22
"""Numbers of outer products that are held at a time."""


class Spread(NamedTuple):
    """How far people differ, in log-odds: in what the features say of a pair, and in a response by itself."""

    features: float
    items: float


@dataclass(frozen=True)
class Crowd:
    """What everybody shares: `w` `[r]`, effects of responses `c` `[m]`, their variances and precisions, position bias,
    share of flipped votes. Without effects of responses `c` and its variances are zeros."""

    w: Floats
    c: Floats
    w_variance: Floats
    c_variance: Floats
    w_precision: float
    c_precision: float
    bias: float = 0.0
    flips: float = 0.0

    @property
    def with_items(self) -> bool:
        """Whether responses have effects of their own."""
        return bool(self.c_precision < np.inf)


@dataclass(frozen=True)
class Shared:
    """A whole model: the crowd, loadings `v` `[r, k]` and `b` `[m, k]` with variances, and the people."""

    crowd: Crowd
    v: Floats
    b: Floats
    v_variance: Floats
    b_variance: Floats
    l: Floats  # noqa: E741
    """`[n + 1, k]`, means; the last row is nobody's and 0."""
    s: Floats
    """`[n + 1, k, k]`, covariances."""
    spread: Spread
    prior: TextPrior

    @property
    def rank(self) -> int:
        """k."""
        return int(self.v.shape[1])


def fit_crowd(
    pairs: Pairs, *, items: bool, flips: float = 0.0, strengths: tuple[float, float] | None = None, steps: int = 25
) -> Crowd:
    """What the crowd likes: Bradley-Terry, with random effects of responses if `items`.

    `strengths`: precisions of weights and of effects; by default both by evidence, which is quick, but takes effects of
    single responses for too small where there are few votes on each (their covariances are left out).
    """
    r, m = pairs.z.shape[1], pairs.m
    w_precision, c_precision = strengths or (float(max(r, 1)), 10.0)
    crowd = Crowd(
        w=np.zeros(r),
        c=np.zeros(m),
        w_variance=np.full(r, 1 / w_precision),
        c_variance=np.full(m, 1 / c_precision if items else 0.0),
        w_precision=w_precision,
        c_precision=c_precision if items else np.inf,
        flips=flips,
    )
    for _ in range(steps):
        model = _alike(pairs, crowd)
        new = _maximise(pairs, model, *_weigh(pairs, model), steps=30).crowd
        if strengths is None:
            new = _by_evidence(new)
        moved = np.abs(new.w - crowd.w).sum() + np.abs(new.c - crowd.c).sum()
        crowd = new
        if moved < 1e-3 * (np.abs(new.w).sum() + np.abs(new.c).sum()):
            break
    return crowd


def _by_evidence(crowd: Crowd) -> Crowd:
    """With the precisions under which such numbers are most likely (MacKay)."""

    def precision(mean: Floats, variance: Floats) -> float:
        return float(len(mean) / max(mean @ mean + variance.sum(), 1e-12)) if len(mean) else 1.0

    c_precision = precision(crowd.c, crowd.c_variance) if crowd.with_items else np.inf
    return replace(crowd, w_precision=precision(crowd.w, crowd.w_variance), c_precision=c_precision)


def _alike(pairs: Pairs, crowd: Crowd) -> Shared:
    """A model in which people do not differ."""
    r, m, n = pairs.z.shape[1], pairs.m, pairs.n + 1
    empty = np.zeros((r, 0)), np.zeros((m, 0))
    people = np.zeros((n, 0)), np.zeros((n, 0, 0))
    return Shared(crowd, *empty, *empty, *people, Spread(1.0, 1.0), TextPrior.of(None, n))


def grow(pairs: Pairs, crowd: Crowd, rank: int, spread: Spread, told: npt.NDArray[np.float32] | None) -> Shared:
    """A model with `rank` directions, started from what the crowd leaves over of each person's votes."""
    margin = moments(pairs, _alike(pairs, crowd)).mean
    left = (pairs.votes.y - expit(margin)) * pairs.votes.weight
    known = pairs.by_user[: pairs.n]
    over = (known.multiply(left[None, :]).tocsr() @ pairs.sides).tocsr()  # [n, m]
    k = min(rank, min(over.shape) - 1)
    r, m, n = pairs.z.shape[1], pairs.m, pairs.n + 1
    if k < 1:
        return _alike(pairs, crowd)
    first = np.random.default_rng(0).normal(size=min(over.shape))
    people = svds(over, k=k, v0=first, solver="arpack")[0][:, ::-1] if over.nnz else np.zeros((n - 1, k))
    l = np.zeros((n, k))  # noqa: E741
    l[:-1] = people / np.sqrt((people**2).mean(0) + 1e-12)
    scale = pairs.mean_square
    v_variance = np.full((r, k), spread.features**2 / scale)
    b_variance = np.full((m, k), spread.items**2 if crowd.with_items else 0.0)
    s = np.tile(0.1 * np.eye(k), (n, 1, 1))
    start = np.zeros((r, k)), np.zeros((m, k)), v_variance, b_variance
    model = Shared(crowd, *start, l, s, spread, TextPrior.of(told, n))
    # loadings are still nothing, and their variances not to be counted
    information = omega(np.abs(margin)) * pairs.votes.weight
    return _normalise(_maximise(pairs, model, information, (pairs.votes.y - 0.5) * pairs.votes.weight, steps=20))


def improve(pairs: Pairs, model: Shared, spread: Spread) -> Shared:
    """One step of expectation and maximisation under the strengths `spread`."""
    model = replace(model, spread=spread)
    if not model.rank:
        return _maximise(pairs, model, *_weigh(pairs, model), steps=30)
    along = _Directions.of(pairs, model)
    model = _meet(pairs, model, along)
    return _normalise(_maximise(pairs, model, *_weigh(pairs, model, along)))


class Moments(NamedTuple):
    """Of each vote: margin's mean `[b]` and variance `[b]`, loadings' difference `[b, k]` and its variance."""

    mean: Floats
    variance: Floats
    crowd: Floats
    phi: Floats
    phi_variance: Floats


class _Directions(NamedTuple):
    """What is shared says of each vote, whoever casts it: the crowd's margin and its variance `[b]`, the loadings'
    difference `[b, k]` and its variance."""

    crowd: Floats
    unsure: Floats
    phi: Floats
    phi_variance: Floats

    @classmethod
    def of(cls, pairs: Pairs, model: Shared) -> _Directions:
        crowd = model.crowd
        both = pairs.along(np.concatenate([crowd.w[:, None], model.v], 1))
        spread = pairs.squares_along(np.concatenate([crowd.w_variance[:, None], model.v_variance], 1))
        if crowd.with_items:
            both = both + pairs.sides @ np.concatenate([crowd.c[:, None], model.b], 1)
            spread = spread + pairs.touched @ np.concatenate([crowd.c_variance[:, None], model.b_variance], 1)
        return cls(both[:, 0] + crowd.bias * pairs.votes.first, spread[:, 0], both[:, 1:], spread[:, 1:])


def moments(pairs: Pairs, model: Shared, along: _Directions | None = None) -> Moments:
    """What the model says of each vote and how sure; `along`: if it is known already."""
    base, variance, phi, phi_variance = along or _Directions.of(pairs, model)
    if not model.rank:
        return Moments(base, variance, base, phi, phi_variance)
    l, s = model.l[pairs.user], model.s[pairs.user]  # noqa: E741
    second = l**2 + np.einsum("bii->bi", s)
    variance = variance + ((phi[:, None, :] @ s)[:, 0] * phi).sum(1) + (second * phi_variance).sum(1)
    return Moments(base + (l * phi).sum(1), variance, base, phi, phi_variance)


def chances(pairs: Pairs, model: Shared | Crowd, doubt: float = 1.0) -> Floats:
    """How likely the user of each vote prefers what was chosen `[b]`, whether or not they said so; `doubt` times the
    margin's variance counts."""
    m = moments(pairs, _alike(pairs, model) if isinstance(model, Crowd) else model)
    return expit(m.mean / np.sqrt(1 + np.pi / 8 * doubt * m.variance))


def as_strangers(model: Shared) -> Shared:
    """The model as if it knew nobody: all people under the prior."""
    return replace(model, l=np.zeros_like(model.l), s=np.tile(np.eye(model.rank), (len(model.s), 1, 1)))


def log_likelihood(p: Floats, flips: float) -> Floats:
    """Of votes `[b]` of such chances, a share of which are the wrong way round."""
    return np.asarray(np.log(np.maximum(flips + (1 - 2 * flips) * p, 1e-300)))


def _weigh(pairs: Pairs, model: Shared, along: _Directions | None = None) -> tuple[Floats, Floats]:
    """Votes as Gaussian observations of their margins: information and pull `[b]` (`posterior.observed`)."""
    m = moments(pairs, model, along)
    return observed(pairs.votes.y, pairs.votes.weight, m.mean, m.variance, model.crowd.flips)


def _meet(pairs: Pairs, model: Shared, along: _Directions) -> Shared:
    """The expectation: each person's mean and covariance, with the bound tightened twice on the way."""
    k, n = model.rank, pairs.n + 1
    for _ in range(2):
        m = moments(pairs, model, along)
        information, pull = observed(pairs.votes.y, pairs.votes.weight, m.mean, m.variance, model.crowd.flips)
        precision = _outer_sums(pairs, information, m.phi)
        precision[:, range(k), range(k)] += pairs.by_user @ (information[:, None] * m.phi_variance) + 1
        target = pull - information * m.crowd
        right = pairs.by_user @ (target[:, None] * m.phi) + model.prior.mean(k)
        s = np.asarray(np.linalg.inv(precision), np.float64)
        l = np.einsum("nij,nj->ni", s, right)  # noqa: E741
        l[n - 1], s[n - 1] = 0, 0
        model = replace(model, l=l, s=s)
    return model


def _outer_sums(pairs: Pairs, information: Floats, phi: Floats) -> Floats:
    """`sum over votes of information phi phi'` of each person `[n + 1, k, k]`, block by block."""
    k = phi.shape[1]
    found = np.zeros((pairs.n + 1, k * k))
    step = max(1, _BLOCK // (k * k))
    by_vote = pairs.by_user.tocsc()
    for start in range(0, pairs.b, step):
        some = slice(start, start + step)
        outer = (information[some, None] * phi[some])[:, :, None] * phi[some][:, None, :]
        found += by_vote[:, some] @ outer.reshape(-1, k * k)
    return found.reshape(-1, k, k)


def _maximise(pairs: Pairs, model: Shared, information: Floats, pull: Floats, steps: int = 8) -> Shared:
    """The maximisation: everything shared, given the people and the bound."""
    crowd, k = model.crowd, model.rank
    w_precision, c_precision = crowd.w_precision, crowd.c_precision if crowd.with_items else 1.0
    v_precision = pairs.mean_square / model.spread.features**2
    b_precision = 1 / model.spread.items**2
    l, s = model.l[pairs.user], model.s[pairs.user]  # noqa: E741
    first = pairs.votes.first
    items = float(crowd.with_items)

    def pulled(values: Floats) -> tuple[Floats, Floats]:
        """From votes `[b, 1 + k]` to coordinates and responses."""
        return pairs.against(values), items * (pairs.back @ values)

    def operator(x: Arrays) -> Arrays:
        u, e, bias = x  # [r, 1 + k], [m, 1 + k], [1]
        z = pairs.along(u) + (pairs.sides @ e if items else 0)
        t = information * (z[:, 0] + bias[0] * first + (l * z[:, 1:]).sum(1))
        personal = t[:, None] * l + information[:, None] * (s @ z[:, 1:, None])[:, :, 0]
        on_u, on_e = pulled(np.concatenate([t[:, None], personal], 1))
        return [on_u + u * u_prior, on_e + e * e_prior, np.array([t @ first + bias[0] / _BIAS**2])]

    u_prior = np.concatenate([[w_precision], np.full(k, v_precision)])
    e_prior = np.concatenate([[c_precision], np.full(k, b_precision)])
    second = np.concatenate([np.ones((pairs.b, 1)), l**2 + np.einsum("bii->bi", s)], 1) * information[:, None]
    diagonal: Arrays = [
        pairs.squares_against(second) + u_prior,
        items * (pairs.touching @ second) + e_prior,
        np.array([information @ first**2 + 1 / _BIAS**2]),
    ]
    right = [*pulled(np.concatenate([pull[:, None], pull[:, None] * l], 1)), np.array([pull @ first])]
    start = [np.concatenate([crowd.w[:, None], model.v], 1), np.concatenate([crowd.c[:, None], model.b], 1)]
    u, e, bias = solve(operator, right, [*start, np.array([crowd.bias])], diagonal, steps)
    u_variance, e_variance = 1 / diagonal[0], items / diagonal[1]
    new = replace(
        crowd,
        w=u[:, 0],
        c=e[:, 0],
        w_variance=u_variance[:, 0],
        c_variance=e_variance[:, 0],
        bias=float(bias[0]),
    )
    return replace(model, crowd=new, v=u[:, 1:], b=e[:, 1:], v_variance=u_variance[:, 1:], b_variance=e_variance[:, 1:])


def _normalise(model: Shared) -> Shared:
    """The same predictions with people of mean 0 and spread 1, and directions that do not overlap, largest first
    (parameter expansion; Liu, Rubin and Wu 1998): steps that would take long otherwise are taken at once."""
    k = model.rank
    people, covariance = model.l[:-1], model.s[:-1]
    if not k or len(people) < 2:
        return model
    prior = model.prior.learned(people, covariance)
    centre = people.mean(0) if prior.told is None else np.zeros(k)
    people = people - centre
    left = people - prior.mean(k)[:-1]
    spread = (left.T @ left + covariance.sum(0)) / len(people) + 1e-9 * np.eye(k)
    root = np.linalg.cholesky(spread)
    loadings = np.concatenate([model.v @ root * np.sqrt(len(model.b)), model.b @ root])
    turn = np.linalg.eigh(loadings.T @ loadings)[1][:, ::-1]
    there, back = root @ turn, turn.T @ np.linalg.inv(root)
    l = np.zeros_like(model.l)  # noqa: E741
    l[:-1] = people @ back.T
    s = np.zeros_like(model.s)
    s[:-1] = back @ covariance @ back.T
    crowd = replace(model.crowd, w=model.crowd.w + model.v @ centre, c=model.crowd.c + model.b @ centre)
    moved = {"v": model.v @ there, "b": model.b @ there, "l": l, "s": s, "prior": prior.turned(back)}
    variances = {"v_variance": model.v_variance @ there**2, "b_variance": model.b_variance @ there**2}
    return replace(model, crowd=crowd, **moved, **variances)
