"""Train both ways, answer as everybody, and let the exact judge count."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from prlhf.config import RunConfig, Uniform
from prlhf.data import load_comparisons
from prlhf.data.planted import PlantedUser, World, utility
from prlhf.errors import ConfigError
from prlhf.evaluation import Metrics, Scores, WinRate
from prlhf.evaluation.winrate import win_rate_of_utilities
from prlhf.lm import PersonalizedLM
from prlhf.training.train import train

__all__ = ["Answers", "Study", "pooled_config", "run_study"]

Say = Callable[[str], None]
POLICIES = ("sft", "pooled", "oracle", "personal")


@dataclass(frozen=True)
class Answers:
    """One answer of each policy to each asked question; `users[i]` asked `prompts[i]`. `utility[policy]` `[n]`."""

    users: tuple[PlantedUser, ...]
    prompts: tuple[str, ...]
    texts: dict[str, list[str]]
    utility: dict[str, np.ndarray]

    def win_rate(self, a: str, b: str) -> WinRate:
        """How often policy `a` is better than `b` by the judge, ties half, with intervals over users."""
        ids = [u.id for u in self.users]
        return win_rate_of_utilities(self.utility[a], self.utility[b], ids, [u.group for u in self.users])

    def of(self, policy: str, user: str, prompt: str) -> str:
        """One policy's answer to one user's question."""
        asked = [(u.id, p) for u, p in zip(self.users, self.prompts, strict=True)]
        return self.texts[policy][asked.index((user, prompt))]


@dataclass(frozen=True)
class Study:
    """Everything that the report shows."""

    world: World
    config: RunConfig
    folder: Path
    metrics: Metrics
    pooled: Metrics
    answers: Answers
    examples: Answers
    by_profile: dict[str, dict[str, float]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def total_seconds(self) -> float:
        """Wall-clock time of all parts."""
        return sum(self.seconds.values())


def pooled_config(config: RunConfig) -> RunConfig:
    """The same run without people: no user tokens, one branch; all else, budget included, is equal."""
    return config.model_copy(update={"user_model": Uniform(), "alpha": 1.0})


def run_study(config: RunConfig, output: Path, *, questions: int = 4, say: Say = print) -> Study:
    """Train pooled DPO and P-DPO on the planted votes and measure both.

    Args:
        config: of the P-DPO run; its data must be the planted world.
        output: gets `pooled/` and `personal/`, two complete run folders.
        questions: held-out questions that every user asks every policy.
    """
    if config.data.source != "planted":
        raise ConfigError(f"data.source: the study needs the planted world, whose truth is known; found {config.data.source!r}")
    if output.exists() and any(output.iterdir()):
        raise ConfigError(f"{output} is not empty; choose another --output, or delete it")
    world = World(**config.data.options)
    log = load_comparisons(config.data)
    seconds: dict[str, float] = {}

    def timed(name: str, what: str) -> Callable[[], None]:
        say(what)
        start = time.perf_counter()
        return lambda: seconds.__setitem__(name, time.perf_counter() - start)

    done = timed("pooled DPO", f"pooled DPO: one model from the votes of all {len(world.users)} users together")
    pooled = train(pooled_config(config), output / "pooled", log=log)
    done()
    done = timed("P-DPO", "P-DPO: the same votes, with the name of the user on each")
    personal = train(config, output / "personal", log=log)
    done()
    done = timed("answers", f"answers: every user asks {questions} held-out questions, the judge compares")
    answers = _ask(world, pooled.lm, personal.lm, *_questions(world, questions))
    examples = _ask(world, pooled.lm, personal.lm, *_example(world), temperature=0.0)
    done()
    assert personal.metrics is not None
    assert pooled.metrics is not None
    return Study(
        world=world,
        config=config,
        folder=output,
        metrics=personal.metrics,
        pooled=pooled.metrics,
        answers=answers,
        examples=examples,
        by_profile=_by_profile(world, output),
        seconds=seconds,
    )


def _questions(world: World, count: int) -> tuple[list[PlantedUser], list[str]]:
    """The same number of held-out questions for every user, other ones for each."""
    rng = np.random.default_rng(world.seed)
    asked = [(user, rng.choice(world.test_prompts, count, replace=False)) for user in world.users]
    return [u for u, prompts in asked for _ in prompts], [str(p) for _, prompts in asked for p in prompts]


def _example(world: World) -> tuple[list[PlantedUser], list[str]]:
    """One user of each single-axis profile, and one question for all."""
    chosen = {u.name: u for u in world.users if u.kind == "single"}
    return [chosen[name] for name in sorted(chosen)], [world.test_prompts[0]] * len(chosen)


def _ask(
    world: World,
    pooled: PersonalizedLM,
    personal: PersonalizedLM,
    users: Sequence[PlantedUser],
    prompts: Sequence[str],
    temperature: float = 1.0,
) -> Answers:
    """Independent samples of every policy; the SFT model is the reference of both runs."""
    options = {"temperature": temperature, "max_new_tokens": 64, "batch_size": 64}
    texts = {
        "sft": pooled.generate(prompts, reference=True, seed=1, **options),
        "pooled": pooled.generate(prompts, seed=2, **options),
        "oracle": pooled.generate(prompts, reference=True, user_texts=[u.text for u in users], seed=3, **options),
        "personal": personal.generate(prompts, users=[u.id for u in users], seed=4, **options),
    }
    worth = {p: np.array([utility(u, t) for u, t in zip(users, texts[p], strict=True)]) for p in POLICIES}
    return Answers(tuple(users), tuple(prompts), texts, worth)


def _by_profile(world: World, output: Path) -> dict[str, dict[str, float]]:
    """Held-out accuracy of both runs for the six single-axis profiles and the mixtures."""
    names = {u.id: u.name for u in world.users}
    result: dict[str, dict[str, float]] = {}
    for label, folder in (("P-DPO", "personal"), ("pooled DPO", "pooled")):
        scores = Scores.load(output / folder / "scores.parquet")
        right = np.where(scores.h == 0, 0.5, scores.h > 0)
        profiles = np.array([names[u] for u in scores.user])
        for name in sorted(set(profiles)):
            result.setdefault(str(name), {})[label] = float(right[profiles == name].mean())
    return result
