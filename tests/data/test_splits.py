"""Splits: what must never be shared, that order does not matter, and that a saved split finds its rows again."""

import itertools
import json
import random
from collections import defaultdict
from dataclasses import replace

import pytest

from prlhf.config import SplitConfig
from prlhf.data import Log, Split, split, subsample, trainable
from prlhf.data.rankings import pair_id, ranking_of
from prlhf.errors import DataError
from prlhf.types import Comparison, Thumb

TRAINED = ("train", "validation")


def random_log(seed: int, n: int = 400, prompts: int = 30, responses: int = 5, users: int = 12) -> Log:
    """Votes with repeated pairs, some ties, equal and empty responses, and some of the generic user."""
    rng = random.Random(seed)
    found = []
    for i in range(n):
        prompt = f"p{rng.randrange(prompts)}"
        a, b = (rng.choice([f"r{rng.randrange(responses)}", "", "same"]) if rng.random() < 0.1 else f"r{k}"
                for k in rng.sample(range(responses), 2))  # fmt: skip
        user = None if rng.random() < 0.1 else f"u{rng.randrange(users)}"
        found.append(Comparison(prompt, a, b, user=user, tie=rng.random() < 0.1, id=str(i)))
    return Log(tuple(found), "random")


def sides_by_id(result: Split, log: Log) -> dict[str, str]:
    return {log.comparisons[i].id: side for side, indices in result.sides().items() for i in indices}


KEYS = {
    "pair": lambda c: {c.pair_key},
    "prompt": lambda c: {c.prompt_key},
    "response": lambda c: set(c.response_keys),
}


@pytest.mark.parametrize("by", ["pair", "prompt", "response"])
@pytest.mark.parametrize("seed", range(6))
def test_sides_share_nothing_they_must_not(by, seed):
    log = random_log(seed)
    config = SplitConfig(by=by, test=0.2, validation=0.1, users=0.2, seed=seed)
    result = split(log, config)
    contents = {
        side: set().union(*(KEYS[by](log.comparisons[i]) for i in indices)) for side, indices in result.sides().items()
    }
    for a, b in [("train", "validation"), ("train", "test"), ("validation", "test"), ("train", "unseen")]:
        assert not contents[a] & contents[b], (a, b)
    users = {side: {log.comparisons[i].user for i in indices} for side, indices in result.sides().items()}
    held_out = users["unseen"] | users.get("context", set())
    assert None not in held_out and len(held_out) <= round(0.2 * len(log.users))
    assert not held_out & (users["train"] | users["validation"] | users["test"])


@pytest.mark.parametrize("seed", range(4))
def test_every_index_once_and_what_stays_out(seed):
    log = random_log(seed)
    result = split(log, SplitConfig(test=0.2, users=0.2, seed=seed))
    indices = [i for side in result.sides().values() for i in side]
    assert len(indices) == len(set(indices))
    left_out = [c for i, c in enumerate(log.comparisons) if i not in set(indices)]
    assert left_out and all(not trainable(c) for c in left_out)
    assert all(trainable(log.comparisons[i]) for i in result.train)
    for side in ("test", "unseen", "context"):
        assert not any(log.comparisons[i].tie for i in getattr(result, side))


@pytest.mark.parametrize("by", ["pair", "prompt", "response"])
@pytest.mark.parametrize("seed", range(4))
def test_row_order_does_not_matter(by, seed):
    log = random_log(seed)
    config = SplitConfig(by=by, test=0.2, validation=0.1, users=0.2, seed=seed)
    shuffled = list(log.comparisons)
    random.Random(seed + 100).shuffle(shuffled)
    again = replace(log, comparisons=tuple(shuffled))
    assert sides_by_id(split(log, config), log) == sides_by_id(split(again, config), again)


def test_shares_are_met_and_the_seed_matters():
    log = random_log(1, n=3000, prompts=300)
    sides = {}
    for seed in (0, 1):
        result = split(log, SplitConfig(test=0.2, validation=0.1, seed=seed))
        usable = sum(len(i) for i in result.sides().values())
        assert len(result.test) / usable == pytest.approx(0.2, abs=0.02)
        assert len(result.validation) / usable == pytest.approx(0.1, abs=0.02)
        sides[seed] = result.test
    assert sides[0] != sides[1]
    assert split(log, SplitConfig(test=0.2, validation=0.1, seed=0)).test == sides[0]


def test_a_fixed_answer():
    """The assignment is part of what a seed means: it must not change between versions."""
    log = Log(tuple(Comparison(f"p{i}", "a", "b", id=str(i)) for i in range(10)), "ten")
    assert split(log, SplitConfig(test=0.3)).test == FIXED


FIXED = (1, 3, 6)


def test_response_components_join_through_others():
    chain = [("a", "b"), ("b", "c"), ("c", "d"), ("x", "y"), ("y", "z"), ("m", "n")]
    log = Log(tuple(Comparison("p", a, b, id=f"{a}{b}") for a, b in chain), "chain")
    for seed in range(5):
        sides = sides_by_id(split(log, SplitConfig(by="response", test=0.4, seed=seed)), log)
        assert sides["ab"] == sides["bc"] == sides["cd"]
        assert sides["xy"] == sides["yz"]


@pytest.mark.parametrize("seed", range(4))
def test_a_vote_is_with_the_thumbs_on_its_responses(seed):
    """Who liked one response alone and not the other has all but voted."""
    comparisons = tuple(Comparison(f"p{i}", "a", "b", user="u", id=f"c{i}") for i in range(40))
    thumbs = tuple(Thumb(f"p{i}", text, text == "a", user="v", id=f"{text}{i}") for i in range(20) for text in "ab")
    log = Log(comparisons, "mixed", thumbs=thumbs)
    sides = split(log, SplitConfig(by="pair", test=0.3, seed=seed), thumbs=True).sides()
    side_of = {log.items[i].id: side for side, indices in sides.items() for i in indices}
    assert {side_of["c0"], side_of["c30"]} <= {"train", "test"} and len(set(side_of.values())) > 1
    for i in range(20):
        assert side_of[f"c{i}"] == side_of[f"a{i}"] == side_of[f"b{i}"]


def test_impossible_splits_say_why():
    log = Log(tuple(Comparison("p", "a", str(i), id=str(i)) for i in range(10)), "star")
    with pytest.raises(
        DataError, match="no test side of 10% can be kept apart by response: of 1 groups the largest has 100%"
    ):
        split(log, SplitConfig(by="response"))
    with pytest.raises(DataError, match="cannot hold out 50% of 0 users"):
        split(log, SplitConfig(users=0.5))
    ties = Log(tuple(replace(c, tie=True) for c in log.comparisons), "ties")
    with pytest.raises(DataError, match="nothing is left for the side 'train'"):
        split(ties, SplitConfig())


def test_held_out_users_without_a_test_side():
    log = random_log(3)
    result = split(log, SplitConfig(test=0.0, users=0.25))
    held_out = {log.comparisons[i].user for i in result.unseen}
    assert len(held_out) == 3 and not result.test and not result.context
    assert all(log.comparisons[i].user not in held_out for i in result.train)


def test_context_is_the_rest_of_the_held_out_users():
    log = random_log(3, n=1000)
    result = split(log, SplitConfig(test=0.2, users=0.25))
    held_out = {log.comparisons[i].user for i in result.unseen}
    assert held_out == {log.comparisons[i].user for i in result.context}
    pairs = {log.comparisons[i].pair_key for i in result.unseen}
    assert pairs <= {c.pair_key for c in log.comparisons} - {log.comparisons[i].pair_key for i in result.train}


def test_an_empty_log_is_refused():
    with pytest.raises(DataError, match="nothing: it has no comparison"):
        split(Log((), "nothing"))


def test_a_source_may_bring_its_own_sides(caplog):
    fixed = Split(train=(0,), test=(1,))
    log = replace(random_log(0), fixed_split=fixed)
    assert split(log) is split(log, SplitConfig()) is fixed and not caplog.records
    assert split(log, SplitConfig(by="prompt")) is fixed
    assert "the options data.split.* change nothing here" in caplog.text


def test_save_and_load(tmp_path):
    log = random_log(5)
    result = split(log, SplitConfig(validation=0.1, users=0.2))
    path = tmp_path / "split.json"
    result.save(path, log)
    assert Split.load(path, log) == result
    assert set(json.loads(path.read_text())["sides"]) == {"train", "validation", "test", "unseen", "context"}
    assert not (tmp_path / "split.json.part").exists()
    grown = replace(log, comparisons=(Comparison("new", "a", "b", id="new"), *log.comparisons))
    assert sides_by_id(Split.load(path, grown), grown) == sides_by_id(result, log)


def test_load_notices_another_log(tmp_path):
    log = random_log(5)
    result = split(log)
    path = tmp_path / "split.json"
    result.save(path, log)
    changed = list(log.comparisons)
    changed[result.test[0]] = replace(changed[result.test[0]], user="somebody else")
    with pytest.raises(DataError, match="rows of side 'test' have changed in random"):
        Split.load(path, replace(log, comparisons=tuple(changed)))
    without = tuple(c for i, c in enumerate(log.comparisons) if i != result.train[0])
    with pytest.raises(DataError, match="1 rows of side 'train' are not in random, the first is '"):
        Split.load(path, replace(log, comparisons=without))
    path.write_text("{}")
    with pytest.raises(DataError, match="no saved split"):
        Split.load(path, log)
    with pytest.raises(DataError, match="no saved split"):
        Split.load(tmp_path / "none.json", log)


def test_shared_ids_cannot_be_saved(tmp_path):
    log = Log(tuple(Comparison(f"p{i}", "a", "b") for i in range(20)), "no ids")
    with pytest.raises(DataError, match="share a row id"):
        split(log).save(tmp_path / "s.json", log)


def test_overlap_is_counted():
    votes = [("p", "a", "b", "u"), ("p", "b", "a", "v"), ("p", "a", "c", "u"), ("q", "a", "b", "w")]
    log = Log(tuple(Comparison(p, a, b, user=u, id=str(i)) for i, (p, a, b, u) in enumerate(votes)), "four")
    result = Split(train=(0, 3), test=(1, 2))
    assert result.overlap(log) == {"train/test": {"pairs": 1, "prompts": 1, "responses": 2, "users": 1, "texts": 0}}
    text = result.text(log)
    assert "train 2, test 2 of 4 comparisons" in text
    assert text.endswith("train/test share 1 pairs, 1 prompts, 2 responses, 1 users")


def test_texts_under_other_prompts_are_counted():
    """The same words under another prompt are no shared response, but not new to the model either."""
    votes = [("p", "yes", "no"), ("p", "yes", "perhaps"), ("q", "yes", "no"), ("q", "maybe", "never")]
    log = Log(tuple(Comparison(*vote, id=str(i)) for i, vote in enumerate(votes)), "four")
    apart = Split(train=(0, 1), test=(2, 3))
    assert apart.overlap(log)["train/test"] == {"pairs": 0, "prompts": 0, "responses": 0, "users": 0, "texts": 2}
    assert "0 responses, 0 users; 2 more response texts under other prompts" in apart.text(log)
    beside = Split(train=(0,), test=(1, 2))  # (p, yes) is on both sides anyway: only "no" is more
    assert beside.overlap(log)["train/test"] == {"pairs": 0, "prompts": 1, "responses": 1, "users": 0, "texts": 1}


def ranked_log(seed: int, rows: int = 120) -> Log:
    """Rankings of three or four of eight responses and single votes, by several users on the same prompts."""
    rng = random.Random(seed)
    found = []
    for row in range(rows):
        prompt, user = f"p{rng.randrange(40)}", f"u{rng.randrange(9)}"
        responses = [f"r{k}" for k in rng.sample(range(8), rng.choice([2, 3, 4]))]
        for i, j in itertools.combinations(range(len(responses)), 2):
            name = str(row) if len(responses) == 2 else pair_id(str(row), i, j)
            found.append(Comparison(prompt, responses[i], responses[j], user=user, id=name))
    return Log(tuple(found), "ranked")


@pytest.mark.parametrize("seed", range(4))
def test_a_ranking_is_on_one_side(seed):
    """What two of its pairs say, the third follows from; votes of others on the same pair stay with it too."""
    log = ranked_log(seed)
    result = split(log, SplitConfig(by="pair", test=0.2, validation=0.1, seed=seed))
    sides = {i: side for side, indices in result.sides().items() for i in indices}
    together = defaultdict(set)
    for i, c in enumerate(log.comparisons):
        together[c.pair_key].add(sides[i])
        together[ranking_of(c) or f"vote {c.id}"].add(sides[i])
    assert set(sides.values()) == {"train", "validation", "test"}
    assert all(len(found) == 1 for found in together.values())


def test_rankings_of_two_files_are_not_taken_for_one():
    """Row numbers repeat where logs are put together; a ranking has one prompt."""
    log = Log(tuple(Comparison(f"p{i}", "a", "b", id=pair_id("1", 0, 1)) for i in range(10)), "ten files")
    assert split(log, SplitConfig(test=0.3)).test == FIXED


def test_rankings_that_all_hang_together_say_what_is_missing():
    log = Log(tuple(Comparison("p", "a", str(i), id=pair_id("1", 0, i)) for i in range(9)), "one")
    with pytest.raises(DataError, match=r"of 1 groups the largest has 100% .* more pairs or rankings that share none"):
        split(log, SplitConfig())


def test_subsample():
    indices = list(range(100, 300))
    small, large = subsample(indices, 20, seed=1), subsample(indices, 50, seed=1)
    assert len(small) == 20 and list(small) == sorted(small) and set(small) < set(large) < set(indices)
    assert subsample(indices[::-1], 20, seed=1) == small
    assert subsample(indices, 20, seed=2) != small
    assert subsample(indices, None) == subsample(indices, 500) == tuple(indices)
    halves = sum(i < 200 for i in subsample(range(100, 300), 100, seed=3))
    assert 35 <= halves <= 65
