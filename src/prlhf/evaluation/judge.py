"""The planted world's exact judge on generated answers: who answers each user better."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from prlhf.data.planted import PlantedUser, World, is_answer, utility
from prlhf.data.planted.draw import Draw
from prlhf.errors import ConfigError, DataError
from prlhf.evaluation.winrate import WinRate, win_rate_of_utilities
from prlhf.lm import PersonalizedLM

__all__ = ["Answers", "Generate", "Judgement", "Verdict", "judge_policies", "oracle_of", "policy_of", "reference_of"]

Generate = Callable[[Sequence[str], Sequence[PlantedUser]], Sequence[str]]
"""Prompts and who asks each of them -> one answer each."""

MAX_NEW_TOKENS = 128
"""The longest answer of the grammar has about half of it."""


@dataclass(frozen=True)
class Answers:
    """What one policy answered, aligned with the prompts and users of the judgement."""

    texts: tuple[str, ...]
    utilities: npt.NDArray[np.float64]
    not_answers: float
    """Share of texts that are no answer at all: empty, cut off or rambling."""

    def as_dict(self) -> dict[str, Any]:
        return {"mean_utility": float(self.utilities.mean()), "not_answers": self.not_answers}


@dataclass(frozen=True)
class Verdict:
    """Policy `a` against policy `b`: overall, by group (`rate.groups`), by hidden profile and by kind of profile."""

    a: str
    b: str
    rate: WinRate
    profiles: dict[str, WinRate]
    """P1A … P3B and `mixture`."""
    kinds: dict[str, WinRate]
    """`single` and `mixture`."""

    def as_dict(self) -> dict[str, Any]:
        return {
            "a": self.a,
            "b": self.b,
            **self.rate.as_dict(),
            "profiles": {name: rate.as_dict() for name, rate in self.profiles.items()},
            "kinds": {name: rate.as_dict() for name, rate in self.kinds.items()},
        }


@dataclass(frozen=True)
class Judgement:
    """Every policy's answers to the same prompts of the same users, and the verdict on each pair of policies."""

    prompts: tuple[str, ...]
    users: tuple[PlantedUser, ...]
    answers: dict[str, Answers]
    verdicts: dict[tuple[str, str], Verdict]

    def rates(self, a: str) -> dict[str, WinRate]:
        """Win rates of `a` by opponent, as `plots.win_rate_bars` takes them."""
        return {b: verdict.rate for (first, b), verdict in self.verdicts.items() if first == a}

    def as_dict(self) -> dict[str, Any]:
        """JSON-able, with stable names."""
        return {
            "users": len(set(self.users)),
            "prompts_per_user": len(self.prompts) // len(set(self.users)),
            "policies": {name: answers.as_dict() for name, answers in self.answers.items()},
            "pairs": [verdict.as_dict() for verdict in self.verdicts.values()],
        }


def judge_policies(
    world: World,
    policies: Mapping[str, Generate],
    *,
    prompts_per_user: int = 10,
    pairs: Sequence[tuple[str, str]] | None = None,
    users: Sequence[PlantedUser] | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
) -> Judgement:
    """Let every policy answer the same held-out prompts for each user, and count whose answers are worth more to them.

    Args:
        policies: name -> a function from prompts and users to answers; each must sample on its own, which
            `policy_of`, `reference_of` and `oracle_of` do as long as their names differ.
        prompts_per_user: of the held-out topics, drawn for each user without repetition.
        pairs: (a, b) of names; by default every two policies in the order given.
        users: by default everybody of the world.
        seed: of the prompts and of the intervals.

    Raises:
        ConfigError: a pair that names no policy, or one policy twice, or more prompts than there are.
        DataError: a policy that does not give one text for each prompt.
    """
    pairs = list(combinations(policies, 2)) if pairs is None else list(pairs)
    _check(world, policies, pairs, prompts_per_user)
    everybody = world.users if users is None else tuple(users)
    prompts = [p for user in everybody for p in _prompts(world, user, prompts_per_user, seed)]
    askers = [user for user in everybody for _ in range(prompts_per_user)]
    answers = {name: _ask(name, policy, prompts, askers) for name, policy in policies.items()}
    verdicts = {(a, b): _verdict(a, b, answers, askers, bootstrap, seed) for a, b in pairs}
    return Judgement(tuple(prompts), tuple(askers), answers, verdicts)


def _check(world: World, policies: Mapping[str, Generate], pairs: Sequence[tuple[str, str]], count: int) -> None:
    for a, b in pairs:
        if a not in policies or b not in policies or a == b:
            raise ConfigError(f"judge: found the pair ({a}, {b}), expected two different ones of {', '.join(policies)}")
    if not 1 <= count <= len(world.test_prompts):
        raise ConfigError(f"judge: found prompts_per_user = {count}, expected 1 to {len(world.test_prompts)}")


def _prompts(world: World, user: PlantedUser, count: int, seed: int) -> list[str]:
    return Draw(seed, "judge", user.id).shuffled(world.test_prompts)[:count]


def _ask(name: str, policy: Generate, prompts: Sequence[str], users: Sequence[PlantedUser]) -> Answers:
    texts = tuple(policy(prompts, users))
    if len(texts) != len(prompts):
        raise DataError(
            f"judge: policy {name!r} gave {len(texts)} answers to {len(prompts)} prompts, expected one each"
        )
    values = np.array([utility(user, text) for user, text in zip(users, texts, strict=True)])
    return Answers(texts, values, float(np.mean([not is_answer(text) for text in texts])))


def _verdict(
    a: str, b: str, answers: Mapping[str, Answers], users: Sequence[PlantedUser], bootstrap: int, seed: int
) -> Verdict:
    def rate(groups: Sequence[str]) -> WinRate:
        ids = [user.id for user in users]
        values = answers[a].utilities, answers[b].utilities
        return win_rate_of_utilities(*values, ids, groups, bootstrap=bootstrap, seed=seed)

    profiles, kinds = rate([user.name for user in users]).groups, rate([user.kind for user in users]).groups
    return Verdict(a, b, rate([user.group for user in users]), profiles, kinds)


def _options(name: str, seed: int, options: Mapping[str, Any]) -> dict[str, Any]:
    """Sampling at temperature 1 with a stream that belongs to this policy alone, unless told otherwise."""
    own = int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:4], "little")
    return {"temperature": 1.0, "max_new_tokens": MAX_NEW_TOKENS, "batch_size": 64, "seed": own, **options}


def policy_of(
    lm: PersonalizedLM,
    name: str,
    *,
    generic: bool = False,
    text_of: Callable[[PlantedUser], str | None] = lambda user: None,
    seed: int = 0,
    **options: Any,
) -> Generate:
    """A trained model that knows who asks; `generic` answers everybody from row 0, as pooled DPO does; `text_of` gives
    it the user texts that it was trained with (`World.text_of`).

    `name` and `seed` decide the sampling; give every policy of a judgement a name of its own. `options` go to
    `PersonalizedLM.generate` (`temperature=0` is greedy).
    """

    def answer(prompts: Sequence[str], users: Sequence[PlantedUser]) -> list[str]:
        ids = None if generic else [user.id for user in users]
        return lm.generate(prompts, ids, user_texts=[text_of(user) for user in users], **_options(name, seed, options))

    return answer


def reference_of(lm: PersonalizedLM, name: str = "sft", *, seed: int = 0, **options: Any) -> Generate:
    """The model that training started from, which knows nothing about anybody."""

    def answer(prompts: Sequence[str], users: Sequence[PlantedUser]) -> list[str]:
        return lm.generate(prompts, reference=True, **_options(name, seed, options))

    return answer


def oracle_of(lm: PersonalizedLM, name: str = "oracle", *, seed: int = 0, **options: Any) -> Generate:
    """The model that training started from, told each user's hidden profile in the prompt."""
    if not lm.config.reference_user_text:
        raise ConfigError("judge: the oracle is told the profile as user text, which model.reference_user_text hides")

    def answer(prompts: Sequence[str], users: Sequence[PlantedUser]) -> list[str]:
        texts = [user.text for user in users]
        return lm.generate(prompts, reference=True, user_texts=texts, **_options(name, seed, options))

    return answer
