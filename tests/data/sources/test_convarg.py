"""The bundled votes have the published counts, and the simulated preferences are the published draw."""

from collections import Counter

import numpy as np
import pytest

from prlhf.data import decided, load_comparisons
from prlhf.data.sources.convarg import length_targets, rank_workers
from prlhf.data.sources.lengths import length_groups
from prlhf.errors import ConfigError

# The published draw: the workers, from 1, that prefer the shorter text
MINORITY = [4, 5, 6, 12, 19, 20, 21, 24, 25, 26, 27, 29, 36, 38]


@pytest.fixture(scope="module")
def votes():
    return load_comparisons("convarg")


@pytest.fixture(scope="module")
def lengths():
    return load_comparisons("convarg", top=40, preference="length")


def test_counts(votes):
    assert len(votes) == votes.notes.rows == 58_516
    usable = [c for c in votes.comparisons if decided(c)]
    assert len(usable) == 45_260
    assert len({c.user for c in usable}) == 3_653
    assert len({c.pair_key for c in votes.comparisons}) == 11_345
    assert len({c.prompt for c in votes.comparisons}) == 22
    assert "CC BY 4.0" in votes.attribution and "Habernal" in votes.attribution
    assert votes.notes.without_user == votes.notes.empty == 0
    topics = " ".join({c.prompt for c in votes.comparisons}).lower()
    assert not any(word in topics for word in ("porn", "gay", "christian", "evolution", "pro-choice"))


def test_top_keeps_the_busiest(votes):
    usable = Counter(c.user for c in votes.comparisons if decided(c))
    top = load_comparisons("convarg", top=10)
    assert set(top.users) == {user for user, _ in usable.most_common(10)}
    assert sum(decided(c) for c in top.comparisons) == 11_516
    assert [c for c in votes.comparisons if c.user in set(top.users)] == list(top.comparisons)


def test_published_minorities(lengths):
    ranked = rank_workers(lengths.comparisons)
    group = {c.user: c.group for c in lengths.comparisons}
    assert [i for i, worker in enumerate(ranked, 1) if group[worker] == "minority"] == MINORITY
    ten = load_comparisons("convarg", top=10, preference="length")
    assert len(ten) == 11_516 and len(ten.users) == 10
    assert len({c.user for c in ten.comparisons if c.group == "minority"}) == 3
    assert all(group[c.user] == c.group for c in ten.comparisons)


def test_length_decides(lengths):
    assert len(lengths) == 19_358 and not lengths.notes.ties and not lengths.notes.equal
    equal = 0
    for c in lengths.comparisons:
        sign = np.sign(len(c.chosen) - len(c.rejected))
        equal += sign == 0
        assert sign == {"majority": 1, "minority": -1}[c.group] or (sign == 0 and c.chosen < c.rejected)
    assert equal


def test_target_lengths(votes, lengths):
    log = load_comparisons("convarg", top=40, preference="target_length")
    everything = votes.comparisons
    workers = rank_workers(everything)
    targets = length_targets(everything, workers, length_groups(workers))
    by_group = {
        g: [targets[u] for u in {c.user for c in log.comparisons if c.group == g}] for g in ("majority", "minority")
    }
    assert [len(by_group[g]) for g in by_group] == [26, 14]
    assert min(by_group["majority"]) > 380 and max(by_group["minority"]) < 125 and min(by_group["minority"]) > 65
    assert len(set(by_group["majority"])) > 15  # personal, not one for all
    for c in log.comparisons:
        near, far = (abs(len(text) - targets[c.user]) for text in (c.chosen, c.rejected))
        assert near < far or (near == far and c.chosen < c.rejected)
    assert {c.user: c.group for c in log.comparisons} == {c.user: c.group for c in lengths.comparisons}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top": 0}, "option top: found 0, expected a number of workers from 1 on"),
        ({"top": 3654}, "option top: found 3654, expected at most 3653"),
        ({"top": "ten"}, "option top: found 'ten'"),
        ({"preference": "lenght"}, "option preference: found 'lenght', expected one of votes, length, target_length"),
        ({"preferense": "length"}, "has no option 'preferense'; did you mean preference"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ConfigError, match=message):
        load_comparisons("convarg", **options)
