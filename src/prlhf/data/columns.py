"""The columns of a file by name: which are read, which are missing and may be called otherwise, which stay unread."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Collection, Iterable, Mapping

from prlhf.errors import ConfigError

__all__ = [
    "COLUMNS",
    "KINDS",
    "as_option",
    "likely",
    "listed",
    "missing",
    "named_otherwise",
    "unread",
    "wanted_columns",
]

USER_COLUMNS = ("user_id", "user_text", "weight", "timestamp", "tie", "first_shown", "group")
KINDS = {
    "pair": ("chosen", "rejected", "tie", "first_shown"),
    "ranking": ("responses", "scores"),
    "thumb": ("completion", "label"),
}
"""What a row can be, and the columns that only such a row has. The first of them tells which it is."""
COLUMNS = ("prompt", "chosen", "rejected", "responses", "scores", "completion", "label", *USER_COLUMNS, "id")
"""Every column that is read. `id` only where `columns` names it: many files have an `id` that is not one per row."""

_OTHER_NAMES = {  # only for hints: what the same thing is often called
    "user_id": ("user", "userid", "worker", "worker_id", "annotator", "annotator_id", "rater", "labeler", "person"),
    "prompt": ("question", "instruction", "query", "input", "user_input", "context"),
    "chosen": ("preferred", "winner", "accepted", "completion_a", "better", "good"),
    "rejected": ("dispreferred", "loser", "completion_b", "worse", "bad"),
    "responses": ("completions", "candidates", "answers", "ranking"),
    "completion": ("response", "answer", "output", "reply"),
    "label": ("liked", "thumb", "thumbs_up", "up", "desirable"),
    "tie": ("ties", "is_tie", "tied", "draw"),
    "user_text": ("persona", "profile", "user_profile"),
    "weight": ("weights", "confidence"),
    "timestamp": ("time", "when", "date", "datetime", "created_at", "created"),
}
_SHOWN = 12
_LOOSE, _STRICT = 0.7, 0.8
"""How alike names are (`difflib`) for a hint: of a column that rows need or mostly have, and of any other."""


def wanted_columns(columns: Mapping[str, str]) -> set[str]:
    """The file's names of all columns that are read; checks the names that the option `columns` uses."""
    for ours in columns:
        if ours not in COLUMNS:
            near = difflib.get_close_matches(ours, COLUMNS, n=1)
            hint = f"; did you mean {near[0]}?" if near else "."
            names = ", ".join(COLUMNS)
            raise ConfigError(
                f"option columns: {ours!r} is not one of our names{hint} It maps our name to the file's; ours: {names}"
            )
    return {columns.get(name, name) for name in COLUMNS if name != "id" or "id" in columns}


def missing(columns: Mapping[str, str], names: Collection[str]) -> str | None:
    """What is wrong with a file of these columns, all of it at once: a column that is needed, or that the option
    `columns` names, is not there. None where nothing is wrong."""
    have = _have(columns, names)
    kind = _meant(columns, names)
    wanted = {"pair": ("chosen", "rejected"), "ranking": ("prompt",), "thumb": ("prompt", "completion", "label")}[kind]
    lost = [ours for ours in COLUMNS if ours not in have and (ours in wanted or ours in columns)]
    return named_otherwise(lost, columns, names) if lost else None


def _have(columns: Mapping[str, str], names: Collection[str]) -> set[str]:
    """Those of our columns that are there."""
    return {ours for ours in COLUMNS if columns.get(ours, ours) in names}


def _meant(columns: Mapping[str, str], names: Collection[str]) -> str:
    """What the rows of a file are, or are most likely meant as."""
    thumbs = _likely_thumbs(columns, _have(columns, names), names)
    return _kind(columns, names) or ("thumb" if thumbs else "pair")


def _of_others(kind: str | None) -> set[str]:
    """The columns that only rows of other kinds have."""
    return {ours for other, own in KINDS.items() if other != kind for ours in own}


def _kind(columns: Mapping[str, str], names: Collection[str]) -> str | None:
    """What the rows of a file with these columns are, by the first that fits; None where nothing tells."""
    return next((kind for kind, (first, *_) in KINDS.items() if columns.get(first, first) in names), None)


def _likely_thumbs(columns: Mapping[str, str], have: Collection[str], names: Collection[str]) -> bool:
    """Whether a file without a column that tells is meant as one of thumbs: it has a label, something that may be a
    completion, and nothing that may be chosen or rejected; or `columns` says so."""
    if "completion" in columns:
        return True
    free = sorted(set(names) - set(have))
    pair = any(_similar(ours, ours, free) for ours in ("chosen", "rejected"))
    label = "label" in have or bool(_similar("label", "label", free))
    return label and not pair and "rejected" not in have and bool(_similar("completion", "completion", free))


def named_otherwise(lost: Collection[str], columns: Mapping[str, str], names: Collection[str]) -> str:
    """`lost` of our columns are not among `names`: what there is, and how to say which of them is meant.

    All others of such rows are told too where something looks like them: columns are mostly called otherwise together,
    and a tie that is not read becomes a win.
    """
    others = {"id", *_of_others(_meant(columns, names))}
    free = sorted(set(names) - {columns.get(ours, ours) for ours in COLUMNS})
    said: dict[str, str] = {}
    for ours in COLUMNS:
        theirs = columns.get(ours, ours)
        if theirs not in names and (ours in lost or ours not in others):
            cutoff = _LOOSE if ours in lost or ours in ("prompt", "user_id") else _STRICT
            guesses = [name for name in _similar(theirs, ours, free, cutoff) if name not in said.values()]
            if guesses or ours in lost:
                said[ours] = guesses[0] if guesses else ""
    gone = [_named(ours, columns.get(ours, ours)) for ours in COLUMNS if ours in lost]
    options = " ".join(as_option(ours, guess) for ours, guess in said.items())
    return (
        f"no column{'s' * (len(gone) > 1)} {', '.join(gone)}; found the columns {listed(sorted(names))}; "
        f"columns of other names are given with {options}"
    )


def _named(ours: str, theirs: str) -> str:
    """The file's name of a column, and what it is read as where that is something else."""
    return repr(theirs) if theirs == ours else f"{theirs!r} (to be read as {ours})"


def likely(ours: str, names: Collection[str]) -> str | None:
    """That of `names` which is most likely our column `ours` under another name; None where nothing looks like it."""
    return next(iter(_similar(ours, ours, names)), None)


def unread(columns: Mapping[str, str], names: Iterable[str]) -> str:
    """One line about the columns that are not read, with what may be meant by them; empty where all are read."""
    names = set(names)
    extra = sorted(names - wanted_columns(columns))
    if not extra:
        return ""
    told = {"user_id", "id", *_of_others(_kind(columns, names))}  # a missing user is told apart
    absent = [ours for ours in COLUMNS if columns.get(ours, ours) not in names and ours not in told]
    meant = {ours: near[0] for ours in absent if (near := _similar(ours, ours, extra, _STRICT))}
    hint = "".join(f"; did you mean {ours}? ({as_option(ours, theirs)})" for ours, theirs in meant.items())
    return f"Columns that are not read: {listed(extra)}{hint}."


def as_option(ours: str, theirs: str | None) -> str:
    """How a column of another name is given: the same name in every command and, after `--set`, in a recipe."""
    return f"--set data.columns.{ours}={shlex.quote(theirs) if theirs else '…'}"


def _similar(wanted: str, ours: str, names: Collection[str], cutoff: float = _LOOSE) -> list[str]:
    """Those of `names` that may be our column `ours`, which was looked for as `wanted`; the likeliest first."""
    plain = {name.lower().replace("-", "_").replace(" ", "_"): name for name in names}
    usual = [plain[name] for name in (ours, *_OTHER_NAMES.get(ours, ())) if name in plain]
    near = [plain[name] for name in difflib.get_close_matches(wanted.lower(), plain, n=3, cutoff=cutoff)]
    return [*usual, *near] if wanted == ours else [*near, *usual]


def listed(names: Iterable[str]) -> str:
    """The names for a message, the first of them where there are many."""
    some = list(names)
    more = [f"and {len(some) - _SHOWN} more"] if len(some) > _SHOWN else []
    return ", ".join([*some[:_SHOWN], *more]) or "(none)"
