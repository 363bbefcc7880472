"""Best of n: answers of a language model, picked for each user by a reward model.

Nothing is trained and no weight changes: what a person is known by is their row in the reward model, which ten votes
fold in within milliseconds. (Best-of-n by a personal reward: P-RLHF, arXiv 2402.05133, App. F.2; PReF.)
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from prlhf.errors import ConfigError
from prlhf.generation.beams import beam_picks
from prlhf.generation.picking import picked
from prlhf.generation.picks import SAMPLING, Pick, Picking, check_new_texts
from prlhf.lm.generate import Progress, respond
from prlhf.lm.requests import AS_IT_COMES, Generation, GenerationOptions, Request, Work, requests, user_ids
from prlhf.rewards import RewardModel
from prlhf.types import Prompt, prompt_text

if TYPE_CHECKING:
    from prlhf.lm.personalized import PersonalizedLM

__all__ = ["best_of"]


def best_of(
    lm: PersonalizedLM,
    reward: RewardModel,
    prompts: Sequence[Any],
    users: Sequence[str | None] | str | None = None,
    *,
    picking: Picking | None = None,
    user_texts: Sequence[str | None] | str | None = None,
    max_new_tokens: Sequence[int] | None = None,
    options: GenerationOptions = SAMPLING,
    work: Work = AS_IT_COMES,
    progress: Progress = lambda batches, _: batches,
    **picked_by: Any,
) -> list[Pick]:
    """Answer each prompt by the best of n answers, for its user by the reward model: the greedy one and n - 1 drawn.

    The candidates come from the generic user of the language model. That is the default because the reward then is all
    that knows the person: somebody met a minute ago is served as anybody else, nothing learned from the same votes is
    counted twice, and users who ask the same share one set of candidates, which is drawn once. `as_user` draws from
    the user's own row where they have one.

    What an answer depends on: prompt, user, seed and options, not its place nor the other prompts.

    Args:
        users: an id for each prompt, or one for all; None and ids that the reward model does not know are its generic
            user.
        picking: or its fields by name, as `n=16, by="lcb"`.
        user_texts: what the language model is told about the users.
        max_new_tokens: the longest answer to each prompt, where they differ.
        options: of decoding; `seed` None draws one from torch's global state.

    Raises:
        ConfigError: a value outside its range, temperature 0 with `n` above 1, or a reward model of stored
            embeddings.
        DataError: something that is no prompt, or not one user each.
    """
    picking = Picking(**picked_by) if picking is None else replace(picking, **picked_by)
    if options.temperature == 0 and picking.n > 1:
        raise ConfigError(f"temperature: found 0, by which all n = {picking.n} answers are the same; expected above 0")
    check_new_texts(reward)
    if not len(prompts):
        return []
    rest: Any = {"user_texts": user_texts, "max_new_tokens": max_new_tokens}
    row = None if picking.as_user else 0
    wanted = requests(lm, prompts, users if picking.as_user else None, row=row, **rest)
    asked = [_seeded(r, user) for r, user in zip(wanted, user_ids(users, len(wanted)), strict=True)]
    if options.seed is None:
        options = replace(options, seed=int(torch.randint(2**62, ())))
    if picking.beams:
        return beam_picks(lm, reward, asked, picking, options, work, progress)
    different = {_key(r): r for r in reversed(asked)}  # the first of each
    drawn = _drawn(lm, list(different.values()), picking, options, work, progress)
    sets = dict(zip(different, drawn, strict=True))
    picks = picked(lm, reward, asked, [sets[_key(r)] for r in asked], picking)
    return [replace(p, shared=r is not different[_key(r)]) for p, r in zip(picks, asked, strict=True)]


def _seeded(request: Request, user: str | None) -> Request:
    """The request of a user, with random numbers that follow from its prompt."""
    digest = hashlib.sha256(prompt_text(request.prompt).encode("utf8", "surrogatepass")).digest()
    return replace(request, user=user, number=int.from_bytes(digest[:7], "little"))


def _key(request: Request) -> tuple[Prompt, int, str | None, int | None]:
    """Requests of one key have the same candidates."""
    return request.prompt, request.row, request.user_text, request.max_new_tokens


def _drawn(
    lm: PersonalizedLM,
    wanted: Sequence[Request],
    picking: Picking,
    options: GenerationOptions,
    work: Work,
    progress: Progress,
) -> list[list[Generation]]:
    """n answers to each request, the greedy one first where it is wanted."""
    n = picking.n - picking.greedy
    each = [replace(r, number=r.number + i) for r in wanted for i in range(n)]
    found = respond(lm, each, options, work, progress=progress)
    sets = [found[i * n : (i + 1) * n] for i in range(len(wanted))]
    if not picking.greedy:
        return sets
    greedy = respond(lm, wanted, replace(options, temperature=0.0), work, progress=progress)
    return [[one, *some] for one, some in zip(greedy, sets, strict=True)]
