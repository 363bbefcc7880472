"""Training, validation and test kept apart: by pair, prompt or response, and held-out users beside any of them.

A side is decided by content and seed alone: groups are put in an order by a hash, and the first of them fill the test
side. The order of the rows does not matter, and nothing here uses a random generator whose stream could change.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from prlhf.config.data import SplitConfig
from prlhf.data.cache import aside
from prlhf.data.facts import Facts, hashed
from prlhf.data.items import ids_of
from prlhf.errors import DataError

if TYPE_CHECKING:
    from prlhf.data.log import Log

__all__ = ["SIDES", "Split", "split", "subsample"]

logger = logging.getLogger(__name__)

_FORMAT = 2
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
        taken = np.concatenate([np.zeros(0, np.int64), *(np.array(i) for i in self.sides().values())])
        if len(np.unique(log.facts["id"][taken])) < len(taken):
            raise DataError(f"{log.source}: {log.kinds} share a row id, so a split of them cannot be saved as ids")
        sides = {side: ids_of(log.items, indices) for side, indices in self.sides().items()}
        digests = {side: _digest(log, indices) for side, indices in self.sides().items()}
        data = {"format": _FORMAT, "source": log.source, "fingerprint": log.fingerprint}
        with aside(Path(path)) as place:
            whole = {**data, "sides": sides, "digests": digests}
            place.write_text(json.dumps(whole, ensure_ascii=False), encoding="utf8")

    @classmethod
    def load(cls, path: str | Path, log: Log) -> Split:
        """Read a saved split for `log`, which may have new rows since (they are on no side) but no changed ones.

        Raises:
            DataError: no such file, no split, or one of another log.
        """
        try:
            data = json.loads(Path(path).read_text(encoding="utf8"))
            sides, digests, made = data["sides"], data["digests"], data["format"]
        except (OSError, ValueError, KeyError, TypeError) as e:
            raise DataError(f"{path}: no saved split ({type(e).__name__}: {e})") from e
        if made != _FORMAT:
            raise DataError(f"{path}: a split of format {made}, expected {_FORMAT}; make it anew with this version")
        held = log.facts["id"]
        order = np.argsort(held, kind="stable")
        found: dict[str, tuple[int, ...]] = {"train": ()}
        for side, ids in sides.items():
            wanted = np.array([hashed(name) for name in ids], np.uint64)
            place = order[np.searchsorted(held, wanted, side="right", sorter=order) - 1] if len(order) else wanted * 0
            missing = np.flatnonzero(held[place] != wanted) if len(order) else np.arange(len(wanted))
            if len(missing):
                where = f"not in {log.source}, the first is {ids[missing[0]]!r}"
                raise DataError(f"{path}: {len(missing):,} rows of side {side!r} are {where}")
            found[side] = tuple(place.tolist())
            if _digest(log, found[side]) != digests[side]:
                raise DataError(f"{path}: rows of side {side!r} have changed in {log.source} since the split was saved")
        return cls(**found)

    def overlap(self, log: Log) -> dict[str, dict[str, int]]:
        """What two sides have in common.

        `{"train/test": {"pairs": 0, "prompts": 12, "responses": 40, "users": 9, "texts": 3}}`; a response belongs to
        its prompt, and `texts` are responses that are the same in words under other prompts only.
        """
        facts = {side: log.facts.take(np.array(indices)) for side, indices in self.sides().items()}
        return {f"{a}/{b}": _shared(facts[a], facts[b]) for a, b in itertools.combinations(facts, 2)}

    def text(self, log: Log) -> str:
        """The sides and what they share with the trained one, in a few lines for a person (`overlap` has all pairs)."""
        sizes = ", ".join(f"{side} {len(indices):,}" for side, indices in self.sides().items())
        ties = int(log.facts["tie"][np.array(self.train, np.int64)].sum())
        told = f"; {ties:,} of the training side are ties" if ties else ""
        lines = [f"{sizes} of {len(log):,} {log.kinds}{told}"]
        for sides, shared in self.overlap(log).items():
            if not sides.startswith("train/"):
                continue
            texts = shared.pop("texts")
            line = f"  {sides} share " + ", ".join(f"{count:,} {kind}" for kind, count in shared.items())
            lines.append(f"{line}; {texts:,} more response texts under other prompts" if texts else line)
        return "\n".join(lines)


def _shared(a: Facts, b: Facts) -> dict[str, int]:
    """The counts of `Split.overlap` for two sides."""
    responses = np.intersect1d(a["responses"], b["responses"])
    texts = np.intersect1d(a["texts"], b["texts"])
    beside = a["texts"][np.isin(a["responses"], responses)]  # the words of those that are shared with their prompt
    users = np.intersect1d(a.user, b.user)
    return {
        "pairs": len(np.intersect1d(a["pair"], b["pair"])),
        "prompts": len(np.intersect1d(a["prompt"], b["prompt"])),
        "responses": len(responses),
        "users": int((users >= 0).sum()),
        "texts": int((~np.isin(texts, beside)).sum()),
    }


def _digest(log: Log, indices: Sequence[int]) -> str:
    return log.facts.take(np.array(indices, np.int64)).fingerprint


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
    facts = log.facts if thumbs else log.facts.take(slice(len(log.comparisons)))
    if not len(facts):
        raise DataError(f"{log.source}: it has no comparison, so there is nothing to split")
    side = _assign(group_keys(facts, config.by), config, log.source)
    held_out = _held_out(log, config)[facts.user]
    train, learned = side == _TRAIN, facts.trainable(ties)
    usable = facts.decided | (learned & train & ~held_out)
    asked = (side == _TEST) | (not config.test)
    found = {
        "train": usable & ~held_out & train & learned,
        "validation": usable & ~held_out & (side == _VALIDATION),
        "test": usable & ~held_out & (side == _TEST),
        "unseen": usable & held_out & asked,
        "context": usable & held_out & ~asked,
    }
    result = Split(**{name: tuple(np.flatnonzero(where).tolist()) for name, where in found.items()})
    _check(result, config, log.source)
    return result


def _check(result: Split, config: SplitConfig, source: str) -> None:
    asked = {"train": True, "validation": config.validation > 0, "test": config.test > 0, "unseen": config.users > 0}
    for side, wanted in asked.items():
        if wanted and not getattr(result, side):
            raise DataError(
                f"{source}: nothing is left for the side {side!r}; there is too little in it for these shares"
            )


def group_keys(facts: Facts, by: str) -> np.ndarray:
    """For each item the group that must stay on one side, as a content hash `[n]`."""
    if by == "pair":
        pair, others = facts["pair"], _judged_alone_too(facts)
        return _components(pair, _ranked_together(facts), others)
    if by == "prompt":
        return facts["prompt"]
    return _components(facts["responses"][:, 0], facts["responses"][:, 1])


def _ranked_together(facts: Facts) -> np.ndarray:
    """For each pair the first of its ranking, else itself, since some pairs of a ranking imply the others `[n]`."""
    linked = facts["pair"].copy()
    ranked = np.flatnonzero(facts["ranking"])
    rows = np.stack([facts["prompt"][ranked], facts["ranking"][ranked]], 1)
    _, first, which = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    linked[ranked] = linked[ranked][first[which.reshape(-1)]]
    return linked


def _judged_alone_too(facts: Facts) -> np.ndarray:
    """Pairs with the responses of theirs that have thumbs of their own, from which the vote could be told `[m, 2]`."""
    alone = np.unique(facts["pair"][facts["thumb"]])
    votes = facts.take(~facts["thumb"])
    pairs, responses = np.repeat(votes["pair"], 2), votes["responses"].reshape(-1)
    told = np.isin(responses, alone)
    return np.stack([pairs[told], responses[told]], 1)


def _components(a: np.ndarray, b: np.ndarray, links: np.ndarray | None = None) -> np.ndarray:
    """Keys that are linked with one another, directly or through others, are a group, named by its least key.

    The group of each of `a`, which is linked with the `b` beside it; `links` `[m, 2]` count too.
    """
    more = np.zeros((0, 2), np.uint64) if links is None else links
    keys, codes = np.unique(np.concatenate([a, more[:, 0], b, more[:, 1]]), return_inverse=True)
    left, right = codes.reshape(2, -1)
    least = np.arange(len(keys))
    while True:
        low, high = np.minimum(least[left], least[right]), np.maximum(least[left], least[right])
        apart = low < high
        if not apart.any():
            found: np.ndarray = keys[least[left[: len(a)]]]
            return found
        np.minimum.at(least, high[apart], low[apart])
        while (least[least] != least).any():  # until each key names the least of its group so far
            least = least[least]


_SMALLER = {
    "pair": "nothing smaller can be split by, it takes more pairs or rankings that share none",
    "prompt": "split by something smaller: pair",
    "response": "split by something smaller: pair",
}
"""What to do where the groups are too large."""


def _rank(seed: int, kind: str, key: str) -> int:
    """Where a key stands in the order by which sides are filled: eight bytes of a hash."""
    digest = hashlib.sha256(f"{seed}\0{kind}\0{key}".encode("utf8", "surrogatepass"))
    return int.from_bytes(digest.digest()[:8], "big")


def _ranks(seed: int, kind: str, keys: Iterable[str], n: int) -> np.ndarray:
    return np.fromiter((_rank(seed, kind, key) for key in keys), np.uint64, n)


_TRAIN, _TEST, _VALIDATION = range(3)


def _assign(groups: np.ndarray, config: SplitConfig, source: str) -> np.ndarray:
    """For each item train, validation or test, from its group `[n]`."""
    keys, which, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    ranks = _ranks(config.seed, config.by, (f"{key:016x}" for key in keys.tolist()), len(keys))
    order = np.argsort(ranks, kind="stable")
    sides = np.full(len(keys), _TRAIN, np.int8)
    for name, code, share in (("test", _TEST, config.test), ("validation", _VALIDATION, config.validation)):
        if not share:
            continue
        left = order[sides[order] == _TRAIN]
        taken = _fill(sizes[left], share * len(groups))
        if not len(taken) or len(taken) == len(left):
            largest = sizes.max() / len(groups)
            raise DataError(
                f"{source}: no {name} side of {share:.0%} can be kept apart by {config.by}: of {len(sizes):,} groups "
                f"the largest has {largest:.0%} of them; {_SMALLER[config.by]}"
            )
        sides[left[taken]] = code
    return sides[which.reshape(-1)]


def _fill(sizes: np.ndarray, target: float) -> np.ndarray:
    """Take groups in this order as long as each brings the total nearer to `target`; the smallest if none does."""
    taken, total = [], 0
    for i, size in enumerate(sizes.tolist()):
        if abs(total + size - target) < abs(total - target):
            taken.append(i)
            total += size
    return np.array(taken or ([int(sizes.argmin())] if len(sizes) > 1 else []), np.int64)


def _held_out(log: Log, config: SplitConfig) -> np.ndarray:
    """Which users are, by their number, and at last that the generic one is not."""
    names = log.users
    count = round(config.users * len(names))
    if config.users and not 0 < (count := max(count, 1)) < len(names):
        raise DataError(f"{log.source}: cannot hold out {config.users:.0%} of {len(names)} users and keep some")
    found = np.zeros(len(names) + 1, bool)
    if count:
        found[np.argsort(_ranks(config.seed, "user", names, len(names)), kind="stable")[:count]] = True
    return found


def subsample(indices: Sequence[int], n: int | None, seed: int = 0) -> tuple[int, ...]:
    """At most `n` of the indices, drawn without replacement, in ascending order.

    The draw depends on the seed and the *set* of indices only, and a smaller sample is part of a larger one.
    """
    ordered = np.sort(np.asarray(indices, np.int64))
    if n is not None and n < len(ordered):
        ranks = _ranks(seed, "subsample", map(str, ordered), len(ordered))
        ordered = np.sort(ordered[np.argsort(ranks, kind="stable")[:n]])
    return tuple(ordered.tolist())
