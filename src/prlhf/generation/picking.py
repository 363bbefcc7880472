"""Which of several answers a reward model takes for a user: the best by mean, or the one that is surely good."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from prlhf.generation.picks import By, Candidate, Pick, Picking, Spent
from prlhf.lm.generate import encode
from prlhf.lm.requests import Generation, Request
from prlhf.rewards import Reward, RewardModel
from prlhf.types import Comparison, Prompt

if TYPE_CHECKING:
    from prlhf.lm.personalized import PersonalizedLM

__all__ = ["above_average", "best_first", "picked", "prompt_tokens", "written"]

Floats = npt.NDArray[np.float64]


def above_average(
    reward: RewardModel,
    prompts: Sequence[Prompt],
    groups: Sequence[Sequence[str]],
    users: Sequence[str | None],
    *,
    spread: bool = True,
) -> list[Reward]:
    """How much more each response of a group is worth to its user than the average response of the group.

    A reward has no zero, so a response's own variance says little: what all of a group have in common (the prompt, a
    user whom nothing is known of) is in it, and chooses nothing. Mean and variance here are those of
    `r_i - (r_1 + … + r_m) / m`. The variance follows from those of all differences, `V_ij = Var(r_i - r_j)`, by
    centring on both sides as in classical scaling (Gower, 1966): `mean_j V_ij - mean_jk V_jk / 2`.

    Args:
        groups: different responses to each prompt, at least one.
        users: one a prompt.
        spread: whether variances are wanted; without, they are 0. They take a margin of every two responses.
    """
    sizes = [len(group) for group in groups]
    of = np.repeat(np.arange(len(groups)), sizes)
    texts = [text for group in groups for text in group]
    found = reward.score([prompts[i] for i in of.tolist()], texts, [users[i] for i in of.tolist()])
    ends = np.cumsum([0, *sizes])
    unsure = spread and bool(found.variance.any())
    spreads = _spreads(reward, prompts, groups, users) if unsure else [np.zeros(m) for m in sizes]
    means = [found.mean[a:b] - found.mean[a:b].mean() for a, b in pairwise(ends)]
    return [Reward(mean, variance) for mean, variance in zip(means, spreads, strict=True)]


def _spreads(
    reward: RewardModel, prompts: Sequence[Prompt], groups: Sequence[Sequence[str]], users: Sequence[str | None]
) -> list[Floats]:
    """The variance of each response less the average of its group: of every two of them the model is asked once."""
    asked = [
        Comparison(prompt, a, b, user=user)
        for prompt, group, user in zip(prompts, groups, users, strict=True)
        for a, b in combinations(group, 2)
    ]
    variances = iter(reward.margin(asked).variance if asked else ())
    out = []
    for group in groups:
        v = np.zeros((len(group), len(group)))
        for i, j in combinations(range(len(group)), 2):
            v[i, j] = v[j, i] = next(variances)
        out.append(np.maximum(v.mean(1) - v.mean() / 2, 0.0))
    return out


def best_first(found: Reward, by: By = "mean", k: float = 1.0) -> list[int]:
    """Places of the responses from the best down: by mean, or by `mean - k sd`. Of equals the first comes first."""
    value = found.mean - k * np.sqrt(found.variance) if by == "lcb" else found.mean
    return [int(i) for i in np.argsort(-value, kind="stable")]


def picked(
    lm: PersonalizedLM,
    reward: RewardModel,
    wanted: Sequence[Request],
    sets: Sequence[Sequence[Generation]],
    picking: Picking,
    spent: Sequence[Spent] | None = None,
) -> list[Pick]:
    """The best of each set by the reward, all sets in one batch; equal texts are scored once.

    Args:
        spent: what each set took, where it was not drawn whole.
    """
    groups = [_different(answers) for answers in sets]
    users = [r.user for r in wanted]
    scores = above_average(reward, [r.prompt for r in wanted], [list(g) for g in groups], users)
    known = reward.users.rows(users) > 0
    out = []
    for i, (r, group, score) in enumerate(zip(wanted, groups, scores, strict=True)):
        texts = list(group)
        order = best_first(score, picking.by, picking.k)
        candidates = tuple(_candidate(texts[j], group[texts[j]], score.mean[j], score.variance[j]) for j in order)
        took = _took(lm, r, sets[i], candidates, picking) if spent is None else spent[i]
        out.append(Pick(r.user, r.user is None or bool(known[i]), candidates, took))
    return out


def _different(answers: Sequence[Generation]) -> dict[str, list[Generation]]:
    """The answers by their text, in the order of their drawing; empty ones only where there are no others."""
    out: dict[str, list[Generation]] = {}
    for answer in answers:
        out.setdefault(answer.text, []).append(answer)
    return {text: same for text, same in out.items() if text.strip()} or out


def _candidate(text: str, same: Sequence[Generation], mean: float, variance: float) -> Candidate:
    return Candidate(text, float(mean), float(variance) ** 0.5, len(same), len(same[0].tokens), same[0].finished)


def _took(
    lm: PersonalizedLM, r: Request, answers: Sequence[Generation], candidates: Sequence[Candidate], picking: Picking
) -> Spent:
    """Of whole answers: the prompt is read once for all that are drawn, and once for the greedy one."""
    generated = sum(map(written, answers))
    prompt = prompt_tokens(lm, r, max(c.tokens for c in candidates))
    scored = sum(prompt + c.tokens for c in candidates)
    read = prompt * (2 if picking.greedy and picking.n > 1 else 1)
    return Spent(generated, read, scored, generated / len(answers))


def written(answer: Generation) -> int:
    """Tokens of an answer with the one that ended it."""
    return len(answer.tokens) + answer.finished


def prompt_tokens(lm: PersonalizedLM, request: Request, new: int) -> int:
    """Tokens of the prompt, with the user's, as it is read for an answer of at most `new`."""
    return len(encode(lm, request, new)[0])
