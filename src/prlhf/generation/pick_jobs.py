"""Picking answers to a file of prompts, as `prlhf.generation.jobs` answers one: a batch at a time, resumable."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prlhf.generation.best import best_of
from prlhf.generation.jobs import Answered, Question, settings_of
from prlhf.generation.lines import Record, write_lines
from prlhf.generation.picks import SAMPLING, Pick, Picking, Spent, total
from prlhf.lm.requests import AS_IT_COMES, GenerationOptions, Work
from prlhf.rewards import RewardModel

if TYPE_CHECKING:
    from prlhf.lm.personalized import PersonalizedLM

__all__ = ["AT_A_TIME", "pick_file", "picks", "record", "reward_name"]

AT_A_TIME = 16
"""Questions between two writes; what users of these ask alike is drawn once."""
Progress = Callable[[Iterable[int], str], Iterable[int]]


def picks(
    lm: PersonalizedLM,
    reward: RewardModel,
    questions: Sequence[Question],
    picking: Picking,
    options: GenerationOptions = SAMPLING,
    *,
    work: Work = AS_IT_COMES,
    start: int = 0,
    progress: Progress = lambda batches, _: batches,
) -> Iterator[list[Pick]]:
    """Yield the picks of one batch of questions after the other, from question `start` on."""
    for at in progress(range(start, len(questions), AT_A_TIME), "picking"):
        part = questions[at : at + AT_A_TIME]
        limits = [q.max_new_tokens or options.max_new_tokens for q in part]
        users, texts = [q.user for q in part], [q.user_text for q in part]
        given: Any = {"user_texts": texts, "max_new_tokens": limits, "work": work}
        yield best_of(lm, reward, [q.prompt for q in part], users, picking=picking, options=options, **given)


def record(question: Question, pick: Pick, candidates: bool) -> Record:
    """What the output says: the question, the picked answer with its reward, the tokens; perhaps all candidates."""
    best = pick.candidates[0]
    out = {
        **question.record(),
        "known": pick.known,
        "response": best.text,
        "finished": best.finished,
        "reward": best.mean,
        "sd": best.sd,
        "tokens": pick.spent.as_dict(),
    }
    return out | ({"candidates": [asdict(c) for c in pick.candidates]} if candidates else {})


def pick_file(
    lm: PersonalizedLM,
    reward: RewardModel,
    questions: Sequence[Question],
    output: str | Path,
    picking: Picking,
    options: GenerationOptions = SAMPLING,
    *,
    reward_name: str,
    candidates: bool = False,
    work: Work = AS_IT_COMES,
    progress: Progress = lambda batches, _: batches,
) -> tuple[Answered, Spent, int]:
    """Append to `output` the picks that it does not hold yet (`write_lines`); also returns what these took, and how
    many of them are `unsure`.

    Args:
        reward_name: tells one reward model, with what it knows of its users, from another; it goes into `settings`.
        candidates: write them all.

    Raises:
        DataError: `output` is a folder, or holds other answers.
        ConfigError: as `best_of`.
    """
    options = replace(options, seed=options.seed or 0)
    found: list[Pick] = []
    unsure = 0

    def batches(start: int) -> Iterator[list[Record]]:
        nonlocal unsure
        at = start
        for some in picks(lm, reward, questions, picking, options, work=work, start=start, progress=progress):
            yield [record(q, p, candidates) for q, p in zip(questions[at : at + len(some)], some, strict=True)]
            at += len(some)
            unsure += sum(p.unsure for p in some)
            found.extend(replace(p, candidates=()) for p in some)

    path = Path(output)
    describe = partial(settings_of, lm, options, picking, reward_name, candidates)
    kept = write_lines(path, [q.record() for q in questions], describe, batches)
    users = sorted({q.user for q in questions if q.user is not None})
    unknown = tuple(u for u, row in zip(users, reward.users.rows(users).tolist(), strict=True) if not row)
    return Answered(path, kept, len(questions) - kept, unknown), total(found), unsure


def reward_name(reward: RewardModel, folder: str | Path) -> str:
    """A hash of the files of a reward model, and of what it knows of its users now."""
    h = hashlib.sha256()
    for path in sorted(p for p in Path(folder).rglob("*") if p.is_file()):
        with path.open("rb") as file:
            h.update(str(path.relative_to(folder)).encode() + hashlib.file_digest(file, "sha256").digest())
    h.update("\n".join(map(str, reward.users.index.ids())).encode("utf8", "surrogatepass"))
    for name, array in sorted(reward.users.states.arrays.items()):
        h.update(name.encode() + array.tobytes())
    return h.hexdigest()[:12]
