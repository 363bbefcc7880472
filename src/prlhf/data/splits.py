"""Training, validation and test kept apart: by pair, prompt or response, and held-out users beside any of them.

A side is decided by content and seed alone: groups are put in an order by a hash, and the first of them fill the test
side. The order of the rows does not matter, and nothing here uses a random generator whose stream could change.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prlhf.config.data import SplitConfig
from prlhf.data.log import content, decided, parted, trainable
from prlhf.data.rankings import ranking_of
from prlhf.errors import DataError
from prlhf.types import Comparison, Feedback, Thumb

if TYPE_CHECKING:
    from prlhf.data.log import Log

__all__ = ["SIDES", "Split", "split", "subsample"]

logger = logging.getLogger(__name__)

SIDES = ("train", "validation", "test", "unseen", "context")


@dataclass(frozen=True)
class Split:
    """Indices into `Log.items`, by side; each index is on one side at most, equal pairs on none, ties at most
    on the training side."""

    train: tuple[int, ...]
    validation: tuple[int, ...] = ()
    test: tuple[int, ...] = ()
    unseen: tuple[int, ...] = ()
    """Held-out users' comparisons of the test side's groups: neither the user nor the pair (prompt, …) was trained on.
    All of their comparisons where there is no test side."""
    context: tuple[int, ...] = ()
    """Held-out users' other comparisons: what can be known about them, never a test."""

    def sides(self) -> dict[str, tuple[int, ...]]:
        """Side -> indices, of the sides that are not empty."""
        return {side: getattr(self, side) for side in SIDES if getattr(self, side)}

    def save(self, path: str | Path, log: Log) -> None:
        """Write the row ids of each side as JSON, with a content hash by which `load` notices another log."""
        sides = {side: [log.items[i].id for i in indices] for side, indices in self.sides().items()}
        if any(count > 1 for count in Counter(itertools.chain.from_iterable(sides.values())).values()):
            raise DataError(f"{log.source}: {log.kinds} share a row id, so a split of them cannot be saved as ids")
        digests = {side: _digest(log.items[i] for i in indices) for side, indices in self.sides().items()}
        data = {"format": 1, "source": log.source, "fingerprint": log.fingerprint, "sides": sides, "digests": digests}
        aside = Path(f"{path}.part")
        aside.write_text(json.dumps(data, ensure_ascii=False), encoding="utf8")
        os.replace(aside, path)

    @classmethod
    def load(cls, path: str | Path, log: Log) -> Split:
        """Read a saved split for `log`, which may have new rows since (they are on no side) but no changed ones.

        Raises:
            DataError: no such file, no split, or one of another log.
        """
        try:
            data = json.loads(Path(path).read_text(encoding="utf8"))
            sides, digests = data["sides"], data["digests"]
        except (OSError, ValueError, KeyError, TypeError) as e:
            raise DataError(f"{path}: no saved split ({type(e).__name__}: {e})") from e
        place = {c.id: i for i, c in enumerate(log.items)}
        found: dict[str, tuple[int, ...]] = {"train": ()}
        for side, ids in sides.items():
            missing = [name for name in ids if name not in place]
            if missing:
                where = f"not in {log.source}, the first is {missing[0]!r}"
                raise DataError(f"{path}: {len(missing):,} rows of side {side!r} are {where}")
            found[side] = tuple(place[name] for name in ids)
            if _digest(log.items[i] for i in found[side]) != digests[side]:
                raise DataError(f"{path}: rows of side {side!r} have changed in {log.source} since the split was saved")
        return cls(**found)

    def overlap(self, log: Log) -> dict[str, dict[str, int]]:
        """What two sides have in common.

        `{"train/test": {"pairs": 0, "prompts": 12, "responses": 40, "users": 9, "texts": 3}}`; a response belongs to
        its prompt, and `texts` are responses that are the same in words under other prompts only.
        """
        contents = {side: _contents([log.items[i] for i in indices]) for side, indices in self.sides().items()}
        return {f"{a}/{b}": _shared(contents[a], contents[b]) for a, b in itertools.combinations(contents, 2)}

    def text(self, log: Log) -> str:
        """The sides and what they share with the trained one, in a few lines for a person (`overlap` has all pairs)."""
        sizes = ", ".join(f"{side} {len(indices):,}" for side, indices in self.sides().items())
        ties = sum(c.tie for c in parted([log.items[i] for i in self.train])[0])
        told = f"; {ties:,} of the training side are ties" if ties else ""
        lines = [f"{sizes} of {len(log):,} {log.kinds}{told}"]
        for sides, shared in self.overlap(log).items():
            if not sides.startswith("train/"):
                continue
            texts = shared.pop("texts")
            line = f"  {sides} share " + ", ".join(f"{count:,} {kind}" for kind, count in shared.items())
            lines.append(f"{line}; {texts:,} more response texts under other prompts" if texts else line)
        return "\n".join(lines)


def _contents(items: Sequence[Feedback]) -> dict[str, set[Any]]:
    responses = (zip(c.response_keys, c.responses, strict=True) for c in items)
    return {
        "pairs": {c.pair_key for c in items},
        "prompts": {c.prompt_key for c in items},
        "responses": set(itertools.chain.from_iterable(responses)),
        "users": {c.user for c in items if c.user is not None},
    }


def _shared(a: dict[str, set[Any]], b: dict[str, set[Any]]) -> dict[str, int]:
    """The counts of `Split.overlap` for two sides."""
    both = {kind: a[kind] & b[kind] for kind in a}
    texts = {text for _, text in a["responses"]} & {text for _, text in b["responses"]}
    elsewhere = texts - {text for _, text in both["responses"]}
    return {**{kind: len(found) for kind, found in both.items()}, "texts": len(elsewhere)}


def _digest(items: Iterable[Feedback]) -> str:
    digest = hashlib.sha256()
    for c in items:
        digest.update(content(c))
    return digest.hexdigest()[:16]


def split(log: Log, config: SplitConfig | None = None, *, ties: bool = False, thumbs: bool = True) -> Split:
    """Assign the items of `log` to sides.

    The shares of `config` count items and are met as nearly as whole groups allow. Pairs of equal texts are on
    no side, ties at most on the training side (with `ties`, for an objective that learns from them), and what has an
    empty response is not trained on. Without `thumbs`, for an objective that does not learn from them, they are on no
    side. A source's own sides (`Log.fixed_split`) are returned as they are, with a warning where `config` asks for
    something else.

    Raises:
        DataError: the groups are too few, or one is too large, to fill the sides that are asked for.
    """
    if log.fixed_split is not None:
        if config is not None and config != SplitConfig():
            logger.warning("%s brings its own sides: the options data.split.* change nothing here", log.source)
        return log.fixed_split
    config = config or SplitConfig()
    items = log.items if thumbs else log.comparisons
    if not items:
        raise DataError(f"{log.source}: it has no comparison, so there is nothing to split")
    groups = group_keys(items, config.by)
    sides = _assign(groups, config, log.source)
    held_out = _held_out(log, config)
    found: dict[str, list[int]] = {side: [] for side in SIDES}
    for i, c in enumerate(items):
        side = sides[groups[i]]
        if not decided(c) and not (ties and side == "train" and c.user not in held_out and trainable(c, ties=True)):
            continue
        if c.user in held_out:
            found["unseen" if side == "test" or not config.test else "context"].append(i)
        elif side != "train" or trainable(c, ties=ties):
            found[side].append(i)
    result = Split(**{side: tuple(indices) for side, indices in found.items()})
    _check(result, config, log.source)
    return result


def _check(result: Split, config: SplitConfig, source: str) -> None:
    asked = {"train": True, "validation": config.validation > 0, "test": config.test > 0, "unseen": config.users > 0}
    for side, wanted in asked.items():
        if wanted and not getattr(result, side):
            raise DataError(
                f"{source}: nothing is left for the side {side!r}; there is too little in it for these shares"
            )


def group_keys(items: Sequence[Feedback], by: str) -> list[str]:
    """For each item the group that must stay on one side, as a content hash."""
    if by == "pair":
        return _components(_ranked_together(items), _judged_alone_too(items))
    if by == "prompt":
        return [c.prompt_key for c in items]
    return _components([(c.response_keys[0], c.response_keys[-1]) for c in items])


def _ranked_together(items: Sequence[Feedback]) -> list[tuple[str, str]]:
    """Each pair with the first of its ranking (else with itself), since some pairs of a ranking imply the others."""
    first: dict[tuple[str, str], str] = {}
    edges = []
    for c in items:
        ranking, key = ranking_of(c), c.pair_key
        edges.append((key, key if ranking is None else first.setdefault((c.prompt_key, ranking), key)))
    return edges


def _judged_alone_too(items: Sequence[Feedback]) -> list[tuple[str, str]]:
    """Each pair with the responses of it that have thumbs of their own, from which its vote could be told."""
    alone = {c.pair_key for c in items if isinstance(c, Thumb)}
    return [(c.pair_key, r) for c in items if isinstance(c, Comparison) for r in c.response_keys if r in alone]


def _components(edges: Sequence[tuple[str, str]], links: Sequence[tuple[str, str]] = ()) -> list[str]:
    """Keys that are linked with one another, directly or through others, are a group, named by its least key.

    The group of the first key of each edge; `links` count too, and are not asked about.
    """
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        parent.setdefault(key, key)
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    for a, b in (*edges, *links):
        low, high = sorted((root(a), root(b)))
        parent[high] = low
    return [root(a) for a, _ in edges]


_SMALLER = {
    "pair": "nothing smaller can be split by, it takes more pairs or rankings that share none",
    "prompt": "split by something smaller: pair",
    "response": "split by something smaller: pair",
}
"""What to do where the groups are too large."""


def _rank(seed: int, kind: str, key: str) -> str:
    return hashlib.sha256(f"{seed}\0{kind}\0{key}".encode("utf8", "surrogatepass")).hexdigest()


def _assign(groups: Sequence[str], config: SplitConfig, source: str) -> dict[str, str]:
    """Group -> train, validation or test."""
    sizes = Counter(groups)
    order = sorted(sizes, key=lambda key: _rank(config.seed, config.by, key))
    sides = dict.fromkeys(order, "train")
    for side, share in (("test", config.test), ("validation", config.validation)):
        if not share:
            continue
        left = [key for key in order if sides[key] == "train"]
        taken = _fill(left, sizes, share * len(groups))
        if not taken or len(taken) == len(left):
            largest = max(sizes.values()) / len(groups)
            raise DataError(
                f"{source}: no {side} side of {share:.0%} can be kept apart by {config.by}: of {len(sizes):,} groups "
                f"the largest has {largest:.0%} of them; {_SMALLER[config.by]}"
            )
        sides.update(dict.fromkeys(taken, side))
    return sides


def _fill(order: Sequence[str], sizes: Counter[str], target: float) -> list[str]:
    """Take groups in this order as long as each brings the total nearer to `target`; the smallest if none does."""
    taken, total = [], 0
    for key in order:
        if abs(total + sizes[key] - target) < abs(total - target):
            taken.append(key)
            total += sizes[key]
    return taken or ([min(order, key=lambda key: sizes[key])] if len(order) > 1 else [])


def _held_out(log: Log, config: SplitConfig) -> set[str]:
    users = sorted(log.users, key=lambda user: _rank(config.seed, "user", user))
    count = round(config.users * len(users))
    if config.users and not 0 < (count := max(count, 1)) < len(users):
        raise DataError(f"{log.source}: cannot hold out {config.users:.0%} of {len(users)} users and keep some")
    return set(users[:count])


def subsample(indices: Sequence[int], n: int | None, seed: int = 0) -> tuple[int, ...]:
    """At most `n` of the indices, drawn without replacement, in ascending order.

    The draw depends on the seed and the *set* of indices only, and a smaller sample is part of a larger one.
    """
    if n is None or n >= len(indices):
        return tuple(sorted(indices))
    return tuple(sorted(sorted(indices, key=lambda i: _rank(seed, "subsample", str(i)))[:n]))
