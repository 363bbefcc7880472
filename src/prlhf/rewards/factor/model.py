"""The factor reward model behind the contract of `prlhf.rewards`."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from prlhf.config.rewards import Factor
from prlhf.rewards.base import Loadings, Progress, Reward, VectorReward
from prlhf.rewards.factor.basis import Bases, Basis
from prlhf.rewards.factor.em import Crowd, Shared, Spread, fit_crowd, grow, improve
from prlhf.rewards.factor.pairs import Pairs
from prlhf.rewards.factor.posterior import Evidence, meet
from prlhf.rewards.factor.strengths import Choice, choose, shared_responses
from prlhf.rewards.factor.texts import TextPrior
from prlhf.rewards.scales import checked, slices
from prlhf.rewards.states import States, UserTable
from prlhf.rewards.votes import Items, Votes

__all__ = ["FactorReward"]

logger = logging.getLogger(__name__)
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_FEW_FLIPS = 2e-3  # fewer are none
_KEPT = 0.005  # share of what people differ in, below which a direction is left out
_STILL = 1e-3  # relative change of the loadings at which they are learned


class _Seen(NamedTuple):
    """Pairs as the model sees them: crowd's margin and its variance `[b]`, loadings `[b, k]` and their variances."""

    crowd: Floats
    crowd_variance: Floats
    phi: Floats
    phi_variance: Floats


class FactorReward(VectorReward):
    """`r_u(j) = w.x_j + c_j + l_u.(V'x_j + b_j)`; a state is the mean `l` and covariance `s` of a person.

    Beside the k directions in which people differ there is one more, known to be 1 for strangers and 0 for all others:
    it leads from the middle of people, where `w` and `c` are, to what all votes together say of somebody unknown. The
    two are not the same, since a vote is not linear in a margin, and some people vote more than others.
    """

    Config = Factor

    @property
    def rank(self) -> int:
        """Directions in which people differ; 0 where the votes do not show any."""
        return max(int(self.parameters["v"].shape[1]) - 1, 0)

    @property
    def gaussian(self) -> tuple[str, str]:
        return "l", "s"

    @property
    def personal(self) -> bool:
        return self.rank > 0

    @property
    def flips(self) -> float:
        """The share of votes that are the wrong way round, as it was learned."""
        return float(self.parameters["flips"][0])

    @classmethod
    def fit(
        cls,
        config: Factor,
        votes: Votes,
        *,
        validation: Votes | None = None,
        seed: int = 0,
        progress: Progress = lambda steps: steps,
    ) -> Self:
        """See `VectorReward.fit`; it holds votes out by itself where it needs them, and has no chance in it."""
        checked(votes.items)
        items = shared_responses(votes) if config.item_effects == "auto" else config.item_effects == "on"
        bases = Bases(votes, config.components)
        choice = _choice(config, votes, bases, items, progress)
        basis = bases(choice.nonlinear)
        crowd, model = _learn(config, Pairs(basis(votes.items.x), votes), items, choice, progress)
        _tell(model, choice)
        parameters = {**basis.arrays(), **_arrays(model, crowd, votes), "doubt": np.array([choice.doubt])}
        generic = _states(np.zeros((1, model.rank)), np.eye(model.rank)[None], np.zeros(1, np.int64), np.ones(1, bool))
        fitted = cls(config, parameters, UserTable.of(generic, [], generic.take(slice(0, 0))))
        fitted.users = UserTable.of(generic, votes.names, fitted.states_of(votes))
        return fitted

    def states_of(self, votes: Votes) -> States:
        """See `VectorReward.states_of`; see `posterior.meet`."""
        p = self.parameters
        seen, mean = self._seen(votes.items, votes.chosen, votes.rejected), self._prior(votes)
        offset = seen.crowd + p["bias"][0] * votes.first
        personal = seen.phi[:, : self.rank], seen.phi_variance[:, : self.rank]
        told = Evidence(*personal, offset, seen.crowd_variance, votes.y, votes.weight)
        l, s = meet(told, votes.user, mean, self.flips if self.flips > _FEW_FLIPS else 0.0)  # noqa: E741
        return _states(l, s, votes.counts, (votes.counts == 0) & ~mean.any(1))

    def reward(self, items: Items, a: Ints, b: Ints | None, states: States, who: Ints) -> Reward:
        """See `VectorReward.reward`."""
        seen = self._seen(items, a, b)
        l, s = states["l"][who], states["s"][who]  # noqa: E741
        second = l**2 + np.einsum("bii->bi", s)
        variance = seen.crowd_variance + (second * seen.phi_variance).sum(1)
        variance = variance + np.einsum("bi,bij,bj->b", seen.phi, s, seen.phi)
        return Reward(seen.crowd + (l * seen.phi).sum(1), variance)

    def loadings(self, items: Items, a: Ints, b: Ints | None) -> Loadings:
        """See `VectorReward.loadings`; the last direction is that of strangers."""
        return Loadings(*self._seen(items, a, b))

    def probability_of(self, margin: Reward) -> Floats:
        """See `RewardModel.probability_of`: how likely they *vote* so, which some votes say wrongly."""
        counted = Reward(margin.mean, margin.variance * self.parameters["doubt"][0])
        return self.flips + (1 - 2 * self.flips) * super().probability_of(counted)

    def _prior(self, votes: Votes) -> Floats:
        """Where the texts of `votes.names` say they stand `[n, k]`."""
        n, p = len(votes.names), self.parameters
        found = np.zeros((n, self.rank))
        if votes.told is not None and "text.a" in p:
            there = np.isfinite(votes.told).all(1)
            found[there] = (votes.told[there] - p["text.centre"]) @ p["text.directions"] @ p["text.a"]
        return found

    def _seen(self, items: Items, a: Ints, b: Ints | None) -> _Seen:
        """Block by block; a response that was not voted on has the effects of nobody in particular."""
        z, effects, variances = self._responses(items)
        u = np.concatenate([self.parameters["w"][:, None], self.parameters["v"]], 1)
        spread = np.concatenate([self.parameters["w_variance"][:, None], self.parameters["v_variance"]], 1)
        means, unsure = np.zeros((len(a), u.shape[1])), np.zeros((len(a), u.shape[1]))
        for some in slices(len(a), z.shape[1]):
            d, e, v = z[a[some]].astype(np.float64), effects[a[some]], variances[a[some]]
            if b is not None:
                d, e = d - z[b[some]], e - effects[b[some]]
                v = (v + variances[b[some]]) * (a[some] != b[some])[:, None]
            means[some], unsure[some] = d @ u + e, d**2 @ spread + v
        return _Seen(means[:, 0], unsure[:, 0], means[:, 1:], unsure[:, 1:])

    def _responses(self, items: Items) -> tuple[npt.NDArray[np.float32], Floats, Floats]:
        """Coordinates `[m, r]` of responses, their own effects `[m, 1 + k]` and the variances of those."""
        p = self.parameters
        x = checked(items, int(p["width"][0]))
        effects = np.zeros((len(items), len(p["item_prior"])))
        variances = np.tile(p["item_prior"], (len(items), 1))
        place, known = items.places_in(p["keys"])
        effects[known], variances[known] = p["effects"][place[known]], p["effect_variances"][place[known]]
        return Basis.from_arrays(p)(x), effects, variances


def _states(l: Floats, s: Floats, votes: Ints, strangers: npt.NDArray[np.bool_]) -> States:  # noqa: E741
    """Of people at `l` `[n, k]` with covariances `s`, and strangers, who are answered as the crowd is by itself."""
    n, k = l.shape
    if not k:
        return States({"l": l, "s": s.astype(np.float32)}, votes)
    covariance = np.zeros((n, k + 1, k + 1), np.float32)
    covariance[:, :k, :k] = s
    return States({"l": np.concatenate([l, strangers[:, None]], 1), "s": covariance}, votes)


def _choice(config: Factor, votes: Votes, bases: Bases, items: bool, progress: Progress) -> Choice:
    """What is not given is found."""
    smooth = None if config.nonlinear == "auto" and not items else config.nonlinear == "on"
    spread = None
    given = config.personal or config.personal_items
    if given is not None:
        spread = Spread(config.personal or given, config.personal_items or given)
        if smooth is not None and config.flips is not None:
            return Choice(smooth, spread if config.rank else None, flips=config.flips, rank=config.rank)
    return choose(
        votes,
        bases,
        rank=config.rank,
        items=items,
        spread=spread,
        nonlinear=smooth,
        flips=config.flips,
        progress=progress,
    )


def _learn(config: Factor, pairs: Pairs, items: bool, choice: Choice, progress: Progress) -> tuple[Crowd, Shared]:
    """The crowd by itself, and a whole model."""
    crowd = fit_crowd(pairs, items=items, flips=choice.flips, strengths=choice.crowd)
    if choice.spread is None:
        return crowd, grow(pairs, crowd, 0, Spread(1.0, 1.0), None)
    model = grow(pairs, crowd, choice.rank, choice.spread, pairs.votes.told)
    sizes = _sizes(pairs, model)
    for _ in progress(range(config.iterations)):
        model = improve(pairs, model, choice.spread)
        before, sizes = sizes, _sizes(pairs, model)
        if np.abs(sizes - before).max(initial=0) < _STILL * sizes.max(initial=1e-12):
            break
    return crowd, _pruned(pairs, model)


def _sizes(pairs: Pairs, model: Shared) -> Floats:
    """Root mean square of each direction over responses `[k]`."""
    return np.asarray(np.sqrt(((pairs.z @ model.v.astype(np.float32) + model.b) ** 2).mean(0)))


def _pruned(pairs: Pairs, model: Shared) -> Shared:
    """Without the directions in which people hardly differ."""
    share = _sizes(pairs, model) ** 2
    keep = np.flatnonzero(share > _KEPT * share.sum())
    columns: dict[str, Any] = {name: getattr(model, name)[:, keep] for name in ("v", "b", "v_variance", "b_variance")}
    prior = model.prior if model.prior.a is None else replace(model.prior, a=model.prior.a[:, keep])
    return replace(model, **columns, l=model.l[:, keep], s=model.s[:, keep][:, :, keep], prior=prior)


def _arrays(model: Shared, stranger: Crowd, votes: Votes) -> dict[str, npt.NDArray[Any]]:
    """What is shared, to be stored; where people differ, with the direction to a `stranger` (see `FactorReward`)."""
    crowd, k = model.crowd, model.rank
    found = {
        "w": crowd.w,
        "w_variance": crowd.w_variance,
        "v": _beside(model.v, stranger.w - crowd.w),
        "v_variance": _beside(model.v_variance, 0 * crowd.w),
        "bias": np.array([crowd.bias]),
        "flips": np.array([crowd.flips]),
        "width": np.array([votes.items.width]),
        **_of_texts(model.prior),
    }
    directions = found["v"].shape[1]
    if not crowd.with_items:
        none = np.zeros((0, 1 + directions))
        keys, prior = np.zeros(0, np.uint64), np.zeros(1 + directions)
        return {**found, "keys": keys, "effects": none, "effect_variances": none, "item_prior": prior}
    order = np.argsort(votes.items.keys)
    own, unsure = _beside(model.b, stranger.c - crowd.c), _beside(model.b_variance, 0 * crowd.c)
    prior = np.zeros(1 + directions)  # nothing is unsure about the direction to a stranger
    prior[: 1 + k] = [1 / crowd.c_precision, *[model.spread.items**2] * k]
    return {
        **found,
        "keys": votes.items.keys[order],
        "effects": np.concatenate([crowd.c[:, None], own], 1)[order],
        "effect_variances": np.concatenate([crowd.c_variance[:, None], unsure], 1)[order],
        "item_prior": prior,
    }


def _beside(columns: Floats, one: Floats) -> Floats:
    """`[., k + 1]`; but nothing where k is 0."""
    return np.concatenate([columns, one[:, None]], 1) if columns.shape[1] else columns


def _of_texts(prior: TextPrior) -> dict[str, npt.NDArray[Any]]:
    """Nothing where people have no texts."""
    found = {"text.centre": prior.centre, "text.directions": prior.directions, "text.a": prior.a}
    return {name: array for name, array in found.items() if array is not None and prior.a is not None}


def _tell(model: Shared, choice: Choice) -> None:
    if model.rank:
        words = "people differ in %d directions (%.4f nats a held-out vote beyond the crowd, standard error %.4f)"
        logger.info(words, model.rank, choice.gain, choice.error)
    else:
        logger.info("these votes do not show that people differ: everybody is answered as the crowd")
