"""Train both ways, answer as everybody, and let the exact judge count."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from prlhf.config import RunConfig
from prlhf.data import load_comparisons
from prlhf.data.planted import PlantedUser, World
from prlhf.demo.newcomers import VOTES, Newcomers, meet, newcomers_of
from prlhf.demo.runs import StudyRun, check_output
from prlhf.errors import ConfigError
from prlhf.evaluation import Metrics, Scores, WinRate
from prlhf.evaluation.judge import Judgement, judge_policies, oracle_of, policy_of, reference_of
from prlhf.evaluation.metrics import summarise
from prlhf.lm import PersonalizedLM
from prlhf.training.pooled import pooled_config

__all__ = ["Examples", "Study", "run_study"]

Say = Callable[[str], None]
PAIRS = [("personal", "sft"), ("personal", "pooled"), ("personal", "oracle"), ("oracle", "sft"), ("pooled", "sft")]
MAX_NEW_TOKENS = 64


@dataclass(frozen=True)
class Examples:
    """One question, answered for one user of each single-axis profile and by the model without people."""

    question: str
    pooled: str
    personal: dict[PlantedUser, str]


@dataclass(frozen=True)
class Study:
    """Everything that the report shows."""

    world: World
    config: RunConfig
    folder: Path
    metrics: Metrics
    pooled: Metrics
    judgement: Judgement
    """Of answers sampled at temperature 1."""
    greedy: Judgement
    """Of greedy answers, of all policies alike."""
    examples: Examples
    newcomers: Newcomers | None = None
    """Who came afterwards; None where nobody has a row of their own."""
    by_profile: dict[str, dict[str, float]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def wins(self, a: str, b: str, *, greedy: bool = False) -> WinRate:
        """How often policy `a` is better than `b` by the judge, ties half, with intervals over users."""
        return (self.greedy if greedy else self.judgement).verdicts[a, b].rate

    @property
    def total_seconds(self) -> float:
        """Wall-clock time of all parts."""
        return sum(self.seconds.values())


def run_study(config: RunConfig, output: Path, *, questions: int = 4, newcomers: int = 12, say: Say = print) -> Study:
    """Train pooled DPO and P-DPO on the planted votes and measure both; then let people come whom nobody knows.

    Args:
        config: of the P-DPO run; its data must be the planted world.
        output: gets `pooled/` and `personal/`, two complete run folders. Those of an earlier call are used where they
            are complete and resumed where they are not.
        questions: held-out questions that every user asks every policy.
        newcomers: so many people are met after the training, by ten votes each.

    Raises:
        ConfigError: other data, or an output folder with anything else in it, as runs of another configuration.
    """
    if config.data.source != "planted":
        raise ConfigError(
            f"data.source: the study needs the planted world, whose truth is known; found {config.data.source!r}"
        )
    plans = {name: StudyRun(output / name, settings) for name, settings in _configs(config).items()}
    check_output(output, plans.values())
    world = World(**config.data.options)
    log = load_comparisons(config.data)
    seconds: dict[str, float] = {}

    def timed(name: str, what: str) -> Callable[[], None]:
        say(what)
        start = time.perf_counter()
        return lambda: seconds.__setitem__(name, time.perf_counter() - start)

    words = f"pooled DPO: one model from the votes of all {len(world.users)} users together"
    done = timed("pooled DPO" + plans["pooled"].state, words + plans["pooled"].state)
    pooled = plans["pooled"].result(log)
    done()
    done = timed(
        "P-DPO" + plans["personal"].state,
        "P-DPO: the same votes, with the name of the user on each" + plans["personal"].state,
    )
    personal = plans["personal"].result(log)
    done()
    done = timed("answers", f"answers: every user asks {questions} held-out questions, the judge compares")
    judgement = _judge(world, pooled, personal, questions, temperature=1.0)
    greedy = _judge(world, pooled, personal, questions, temperature=0.0)
    examples = _examples(world, pooled, personal)
    done()
    done = timed("newcomers", f"newcomers: {newcomers} people who come now, with {VOTES} votes each")
    met = _met(world, personal, newcomers, questions)
    done()
    return Study(
        world=world,
        config=config,
        folder=output,
        metrics=_metrics(config, output / "personal"),
        pooled=_metrics(config, output / "pooled"),
        judgement=judgement,
        greedy=greedy,
        examples=examples,
        newcomers=met,
        by_profile=_by_profile(world, output),
        seconds=seconds,
    )


def _configs(config: RunConfig) -> dict[str, RunConfig]:
    return {"pooled": pooled_config(config), "personal": config}


def _metrics(config: RunConfig, run: Path) -> Metrics:
    """From the scores, which a run of an earlier call has too."""
    return summarise(Scores.load(run / "scores.parquet"), beta=config.objective.beta)


def _judge(
    world: World, pooled: PersonalizedLM, personal: PersonalizedLM, questions: int, *, temperature: float
) -> Judgement:
    """Every policy decodes alike, samples independent of the others'; the SFT model is the reference of both runs."""
    policies = {
        "sft": reference_of(pooled, temperature=temperature),
        "oracle": oracle_of(pooled, temperature=temperature),
        "pooled": policy_of(pooled, "pooled", generic=True, text_of=world.text_of, temperature=temperature),
        "personal": policy_of(personal, "personal", text_of=world.text_of, temperature=temperature),
    }
    return judge_policies(world, policies, prompts_per_user=questions, pairs=PAIRS, seed=world.seed)


def _examples(world: World, pooled: PersonalizedLM, personal: PersonalizedLM) -> Examples:
    chosen = {u.name: u for u in world.users if u.kind == "single"}
    users = [chosen[name] for name in sorted(chosen)]
    question = world.test_prompts[0]
    answers = policy_of(personal, "examples", text_of=world.text_of, temperature=0)([question] * len(users), users)
    common = pooled.generate([question], max_new_tokens=MAX_NEW_TOKENS)[0]
    return Examples(question, common, dict(zip(users, answers, strict=True)))


def _met(world: World, personal: PersonalizedLM, count: int, questions: int) -> Newcomers | None:
    if personal.user_model.table is None:
        return None
    return meet(world, personal, newcomers_of(world, count), questions)


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
