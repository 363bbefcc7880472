from dataclasses import replace

import numpy as np
import pytest

from prlhf.data import Log, load_comparisons
from prlhf.data.checks import check_ids, check_log, findings
from prlhf.data.checks.ids import check_thumbs, one_sided
from prlhf.types import Comparison, Thumb

SEEDS = range(20)
SINGLE, PLACE, OUTCOME, TEXTS = (
    "one vote an id",
    "ids and the place of the chosen",
    "ids that name the outcome",
    "ids in the responses",
)


def longer(c):
    return len(c.chosen) > len(c.rejected)


FAULTS = {
    "an id for each vote": (SINGLE, lambda c: replace(c, user=f"session {c.id}")),
    "chosen always first": (PLACE, lambda c: replace(c, first_shown="chosen")),
    "an id for each place": (PLACE, lambda c: replace(c, user=f"{c.user[:2]}{'xy'[c.first_shown == 'chosen']}")),
    "the place in the id": (OUTCOME, lambda c: replace(c, user=f"{c.user}-{int(c.first_shown == 'chosen')}")),
    "the outcome in the id": (OUTCOME, lambda c: replace(c, user=f"{c.user}_{'long' if longer(c) else 'short'}")),
    "a word in the id": (OUTCOME, lambda c: replace(c, user=f"{c.user}_{'win' if longer(c) else 'loss'}")),
    "the id in the chosen": (TEXTS, lambda c: replace(c, chosen=f"{c.chosen}\n{c.user}") if int(c.id) % 4 == 0 else c),
}


@pytest.mark.parametrize("seed", SEEDS)
def test_silent_on_ids_that_are_names(clean, seed):
    checks = check_ids(clean(seed))
    assert [c.name for c in checks] == [SINGLE, PLACE, OUTCOME, TEXTS]
    assert [c.state for c in checks] == ["nothing found"] * 4, findings(checks)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("seed", SEEDS)
def test_fires_on_ids_that_are_made_from_the_vote(clean, seed, fault):
    name, spoil = FAULTS[fault]
    log = [replace(c, user=f"{c.user}0") for c in clean(seed, votes=600)]  # three characters at least
    found = {c.name: c for c in check_ids([spoil(c) for c in log])}
    assert found[name].finding, found[name].text


def test_ids_that_are_in_both_texts_tell_nothing(clean):
    log = [replace(c, user=("river", "bridge", "cold", "nobody", "went")[int(c.id) % 5]) for c in clean(0)]
    found = check_ids(log)[3]
    assert found.numbers["one_response"] > 100 and not found.finding


def test_one_sided_by_hand():
    users = [f"u{k}" for k in range(10) for _ in range(8)]
    labels = [k < 4 or i % 2 == 0 for k in range(10) for i in range(8)]
    found = one_sided("thumbs", users, labels, ("up", "down"))
    p = sum(labels) / 80
    assert found.numbers == {
        "ids": 10,
        "one_sided": 4,
        "expected": pytest.approx(10 * (p**8 + (1 - p) ** 8)),
        "share": p,
    }
    assert found.finding and "up or down" in found.text
    assert one_sided("thumbs", users[:7], labels[:7], ("up", "down")).state == "not applicable"


def test_logs_with_next_to_nothing():
    checks = check_log(Log((Comparison("p", "a", "b"),), "one"))
    assert {c.state for c in checks} <= {"not applicable", "nothing found"}
    assert len(checks) == 7 and "nothing found" in findings(checks)


def test_findings_are_named(clean):
    spoiled = [replace(c, first_shown="chosen") for c in clean(0, votes=200)]
    assert findings(check_ids(spoiled)) == f"4 checks, 1 with a finding: {PLACE}."


def thumbs_of(label, users=20, each=12, seed=0):
    rng = np.random.default_rng(seed)
    return [Thumb("q", f"answer {u} {k}", label(u, rng), user=f"u{u}") for u in range(users) for k in range(each)]


@pytest.mark.parametrize("seed", range(20))
def test_ids_whose_thumbs_are_all_the_same_are_found_and_others_not(seed):
    leak = check_thumbs(thumbs_of(lambda u, rng: u % 2 == 0, seed=seed))
    assert leak.finding and "20 of 20 ids" in leak.text
    assert not check_thumbs(thumbs_of(lambda u, rng: bool(rng.random() < 0.6), seed=seed)).finding


def test_a_log_of_thumbs_is_checked():
    log = load_comparisons("planted", users=6, votes=10, feedback="thumbs")
    found = {check.name: check for check in check_log(log)}
    assert not found["ids and the thumbs"].finding and found["ids and the thumbs"].numbers["ids"] == 6
    assert {check.state for check in found.values()} == {"nothing found", "not applicable"}
    assert found["both sides of the split"].numbers["pair"] == 0
