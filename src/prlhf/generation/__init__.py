"""Answers for files of prompts, side by side, in conversation, picked by a reward; and the in-context baseline.

Names load on first use."""

from importlib import import_module
from typing import Any

_PUBLIC = {
    "Candidate": "prlhf.generation.picks",
    "Pick": "prlhf.generation.picks",
    "Picking": "prlhf.generation.picks",
    "Spent": "prlhf.generation.picks",
    "best_of": "prlhf.generation.best",
    "language_model": "prlhf.generation.models",
    "pick_file": "prlhf.generation.pick_jobs",
    "total": "prlhf.generation.picks",
    "Answered": "prlhf.generation.jobs",
    "Conversation": "prlhf.generation.conversation",
    "Question": "prlhf.generation.jobs",
    "Voice": "prlhf.generation.compare",
    "answer_file": "prlhf.generation.jobs",
    "answers": "prlhf.generation.jobs",
    "assign": "prlhf.generation.jobs",
    "in_context_prompt": "prlhf.generation.in_context",
    "past_votes": "prlhf.generation.in_context",
    "read_questions": "prlhf.generation.jobs",
    "read_users": "prlhf.generation.jobs",
    "side_by_side": "prlhf.generation.compare",
    "voice": "prlhf.generation.compare",
    "voices": "prlhf.generation.compare",
    "votes_text": "prlhf.generation.in_context",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'prlhf.generation' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
