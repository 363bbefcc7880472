"""TL;DR: which of two summaries of a Reddit post does a worker prefer, by their own votes or by simulated ones.

The comparisons of “Learning to summarize from human feedback” (`openai/summarize_from_feedback`, `comparisons`), as
P-RLHF uses them: only those of two summaries that both come from a supervised policy (`sup` in its name, and neither
`ppo` nor `cnn`). A prompt is four lines, the parts of the post as they are, and ends with the colon:

    SUBREDDIT: r/<subreddit>
    TITLE: <title>
    POST: <post>
    TL;DR:

Summaries are kept as published; theirs begin with a space.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from prlhf.data.fields import BadField, Interner, show
from prlhf.data.hub import open_hub
from prlhf.data.log import Log, Notes
from prlhf.data.options import one_of, whole
from prlhf.data.readers import Table
from prlhf.data.sources.lengths import busiest, length_groups
from prlhf.data.sources.published import Record, local, open_files, read, sides_of, within
from prlhf.errors import ConfigError, DataError
from prlhf.types import Comparison

__all__ = ["tldr"]

Preference = Literal["votes", "length"]
ATTRIBUTION = (
    "TL;DR comparisons of “Learning to summarize from human feedback”, Stiennon et al., NeurIPS 2020 "
    "(openai/summarize_from_feedback); posts from the TL;DR data of Völske et al. 2017, CC BY 4.0."
)
_WHERE = "source 'tldr'"
_HUB = "openai/summarize_from_feedback"
_FOLDER = "comparisons"
_SPLITS = {"train": "train", "valid1": "validation", "valid2": "validation"}
_COLUMNS = ("info", "summaries", "choice", "worker", "split")


@dataclass(frozen=True)
class _Row:
    """A comparison with the summaries in the order of the file; `second`: whether the worker chose the second."""

    comparison: Comparison
    second: bool
    train: bool

    @property
    def worker(self) -> str:
        return str(self.comparison.user)


def tldr(
    path: str = _HUB, top: int | None = None, preference: Preference = "votes", max_characters: int | None = None
) -> Log:
    """Comparisons of workers; the data's training split is trained on, in its validation split workers are tested.

    Args:
        path: a folder of data files or one saved by `datasets`, one file, or a hub id. What belongs to which split
            says the rows' own field `split`.
        top: only the busiest `top` workers are trained on, and tested (`test`); the validation rows of all others are
            the side `unseen`. By default all workers with a training comparison.
        preference: `votes`: the workers' own; `length`: simulated, 70 % of the workers prefer the longer summary by
            characters (group `majority`), the others the shorter one. Of two equally long ones the first is chosen.
        max_characters: leave out comparisons whose prompt and longer summary have more together.

    Raises:
        ConfigError: an option that does not fit.
        DataError: a row that is not as published, or no comparison of two supervised summaries.
    """
    one_of(_WHERE, "preference", preference, get_args(Preference))
    for name, value in (("top", top), ("max_characters", max_characters)):
        if value is not None:
            whole(_WHERE, name, value, 1)
    everything = [row for name, table in _tables(path) for row in _read(name, table)]
    rows = [row for row in everything if row is not None]
    if not rows:
        raise DataError(f"{path}: none of {len(everything):,} rows compares two summaries of supervised policies")
    known = busiest(row.worker for row in rows if row.train)
    if top is not None and top > len(known):
        raise ConfigError(f"{_WHERE}: option top: found {top}, expected at most {len(known)}, the number of workers")
    seen = set(known[:top])
    groups = length_groups([*known, *sorted({row.worker for row in rows} - set(known))])
    voted = []
    for row in rows:
        if not row.train or row.worker in seen:
            vote = _vote(row, groups[row.worker] if preference == "length" else None)
            voted.append((vote, "train" if row.train else "test" if row.worker in seen else "unseen"))
    kept = [(vote, side) for vote, side in voted if within(vote, max_characters)]
    remarks = [
        f"Of two supervised summaries: {sum(row.train for row in rows):,} in train, "
        f"{sum(not row.train for row in rows):,} in validation.",
        f"Trained on: {len(seen):,} of {len(known):,} workers. {_counts(kept)}",
    ]
    remarks += [f"Too long and left out: {len(voted) - len(kept):,} comparisons."] if len(kept) < len(voted) else []
    remarks += ["The votes are simulated: length."] if preference == "length" else []
    comparisons = tuple(vote for vote, _ in kept)
    notes = Notes.of(comparisons, rows=len(everything), remarks=tuple(remarks))
    return Log(comparisons, "tldr", ATTRIBUTION, notes, sides_of(kept))


def _tables(path: str) -> Iterator[tuple[str, Table]]:
    place = local("tldr", path)
    if place is not None:
        yield from open_files(place, _COLUMNS, _FOLDER)
        return
    for split in ("train", "validation"):  # the hub's own conversion, since the data set itself is a loading script
        files = {split: f"{_FOLDER}/{split}/*.parquet"}
        options = {"revision": "refs/convert/parquet", "data_files": files, "split": split}
        yield split, replace(open_hub(path, options, _COLUMNS), name=f"{path} (split {split})")


def _read(name: str, table: Table) -> list[_Row | None]:
    texts = Interner()

    def row(number: int, record: Record) -> _Row | None:
        split = record.text("split")
        if split not in _SPLITS:
            raise BadField("split", show(split), f"one of {', '.join(_SPLITS)}")
        summaries = record.records("summaries")
        if len(summaries) != 2:
            raise BadField("summaries", f"{len(summaries)} of them", "two")
        choice, worker = record.whole("choice"), record.text("worker")
        if choice not in (0, 1):
            raise BadField("choice", show(choice), "0 or 1")
        if not all(_supervised(summary.text("policy")) for summary in summaries):
            return None
        first, second = (summary.text("text") for summary in summaries)
        prompt = texts.text("info", _prompt(record.record("info")))
        comparison = Comparison(prompt, first, second, user=worker, id=f"{name}/{number}")
        return _Row(comparison, bool(choice), _SPLITS[split] == "train")

    return read(table, row)


def _supervised(policy: str) -> bool:
    return "sup" in policy and "ppo" not in policy and "cnn" not in policy


def _prompt(info: Record) -> str:
    subreddit, title, post = (info.text(name) for name in ("subreddit", "title", "post"))
    return f"SUBREDDIT: r/{subreddit}\nTITLE: {title}\nPOST: {post}\nTL;DR:"


def _vote(row: _Row, group: str | None) -> Comparison:
    """The worker's own vote, or the simulated one of the `group`."""
    first, second = row.comparison.chosen, row.comparison.rejected
    longer = len(second) - len(first)
    swap = row.second if group is None else longer > 0 if group == "majority" else longer < 0
    chosen, rejected = (second, first) if swap else (first, second)
    return replace(row.comparison, chosen=chosen, rejected=rejected, group=group)


def _counts(votes: Sequence[tuple[Comparison, str]]) -> str:
    """Comparisons by side, and by group where there are groups: `train 12 (majority 9, minority 3), test 4 (…)`."""
    told = []
    for side in ("train", "test", "unseen"):
        groups = Counter(vote.group or "" for vote, its_side in votes if its_side == side)
        named = ", ".join(f"{group} {groups[group]:,}" for group in sorted(groups) if group)
        told.append(f"{side} {groups.total():,}" + (f" ({named})" if named else ""))
    return f"Comparisons: {', '.join(told)}."
