"""The card of a published model: made of numbers and fixed words alone, so that no text of a user can be in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from peft import PeftModel

from prlhf.errors import CheckpointError
from prlhf.lm.checkpoint import Parts
from prlhf.lm.folders import read_object
from prlhf.lm.loading import BUNDLED

__all__ = ["INTENDED_USE", "THUMBS", "UNPUBLISHED", "publication_card", "read_facts"]

INTENDED_USE = (
    "Research on personalised alignment, and answers in the manner that a user has preferred. Not for conclusions "
    "about a person: not for finding out who somebody is, and not for decisions about them."
)
UNPUBLISHED = "./unpublished"
"""Stands for a base or adapter that lies in a folder; a path, so that nobody looks for it on the hub."""

THUMBS = "pairs of thumbs"
"""What a figure is over where there are no comparisons (`of` in evaluation.json)."""
METRICS = {
    "accuracy_seen": "accuracy, users with their own row",
    "accuracy_per_user": "the same, each user counting once",
    "accuracy_generic": "accuracy, everybody with the generic row",
    "accuracy_permuted": "accuracy, users with somebody else's row",
    "personal_gain": "own row minus generic row",
}
PERSONAL = {
    "none": (
        "The rows of the users are not in this repository: the user table has the generic row alone, and everybody is "
        "answered by it."
    ),
    "hashed": (
        "The user table has a row for each user under a keyed hash of the id, in an order that says nothing. **These "
        "rows are personal data**: each was learned from one person's votes, and who knows some of them can find the "
        "row that fits best. Keep the repository private."
    ),
    "ids": (
        "The user table has a row for each user **under the user's id**, with the number of their votes. That is "
        "personal data. Keep the repository private."
    ),
}


def read_facts(run: Path) -> dict[str, Any]:
    """What a run's folder says for the card: fingerprint of the data, and numbers on held-out comparisons.

    Raises:
        CheckpointError: no run there.
    """
    data = read_object(run / "data.json")
    found = str(data.get("fingerprint"))
    if not re.fullmatch(r"[0-9a-f]{16}", found):
        raise CheckpointError(f"run: {run} is no folder of `prlhf train` (data.json with a fingerprint is missing)")
    measured = read_object(run / "evaluation.json")
    overall = measured.get("overall") or {}
    estimates = {name: overall[name] for name in METRICS if _is_estimate(overall.get(name))}
    counts = {name: int(measured[name]) for name in ("comparisons", "users") if isinstance(measured.get(name), int)}
    return {"fingerprint": found, "metrics": estimates, "of": measured.get("of"), **counts}


def _is_estimate(found: Any) -> bool:
    return isinstance(found, dict) and isinstance(found.get("value"), float)


def publication_card(model: Parts, trained_users: int, users: str, facts: dict[str, Any], intended_use: str) -> str:
    """The text of README.md.

    Args:
        model: what is published.
        trained_users: how many users it was trained with.
        users: which of them are published (`PublishedUsers`).
        facts: of `read_facts`, or nothing.
    """
    config, lora = model.config, isinstance(model.model, PeftModel)
    named = config.base not in (*BUNDLED, UNPUBLISHED)
    base = f"base_model: {config.base}\nbase_model_relation: {'adapter' if lora else 'finetune'}\n" if named else ""
    return f"""---
library_name: prlhf
{base}tags: [personalized-rlhf, preference-optimization{", lora" if lora else ""}]
---
# A personalised language model

| | |
|---|---|
| trained with | the feedback of {trained_users:,} users |
| fingerprint of the data | {f"`{facts['fingerprint']}`" if facts else "not given"} |
| user model | `{model.user_model.config.type}`, {model.user_model.tokens} user tokens at `{config.user_tokens_at}` |
| texts about users | {"trained with them: a prompt wants the text of its user" if model.with_user_text else "none"} |
| users in this repository | {len(model.users):,} and the generic one |

```python
from prlhf import PersonalizedLM
lm = PersonalizedLM.from_pretrained("this repository")
lm.generate(["..."])  # as the generic user
```

## Metrics

{_metrics(facts)}

## Intended use

{intended_use}

## What is personal in it

{PERSONAL[users]}

The weights that all users share were trained on the same feedback. They hold no table of people, but a language model
can repeat texts of its training, and a tokenizer that was made from them has their frequent words.
"""


def _metrics(facts: dict[str, Any]) -> str:
    if not facts.get("metrics"):
        return "None given."
    thumbs = facts.get("of") == THUMBS
    names = {"comparisons": THUMBS if thumbs else "comparisons", "users": "users"}
    number = ", ".join(f"{facts[name]:,} {word}" for name, word in names.items() if name in facts)
    what = "thumbs" if thumbs else "votes"
    head = [f"On held-out {what} ({number}), with 95 % intervals over users:", "", "| | | |", "|---|---|---|"]
    if thumbs:
        head.insert(
            1, "A pair has a response that a user liked and one that they disliked, mostly to different prompts."
        )
    rows = [f"| {METRICS[name]} | {e['value']:.3f} | {_interval(e)} |" for name, e in facts["metrics"].items()]
    return "\n".join([*head, *rows])


def _interval(estimate: dict[str, Any]) -> str:
    low, high = estimate.get("low"), estimate.get("high")
    both = isinstance(low, float) and isinstance(high, float)
    return f"{low:.3f} to {high:.3f}" if both else ""
