from collections import Counter

import numpy as np
import pytest

from prlhf.data.planted import TEST_TOPICS, World, questions, read_levels, utility
from prlhf.errors import ConfigError

WORLD = World()
LOG = WORLD.log()
TOPIC = {q.text: q.topic for q in questions()}
TRAIN = [LOG.comparisons[i] for i in LOG.fixed_split.train]
TEST = [LOG.comparisons[i] for i in LOG.fixed_split.test]


def gain(c):
    user = WORLD.user(c.user)
    return utility(user, c.chosen) - utility(user, c.rejected)


def test_the_world_is_fixed():
    # Numbers that are published refer to this log; a change of it has to be meant.
    assert LOG.fingerprint == "66f8f7e623db04df"


def test_votes_and_tests_per_user():
    assert set(Counter(c.user for c in TRAIN).values()) == {100}
    assert set(Counter(c.user for c in TEST).values()) == {40}
    assert len(WORLD.users) == 60


def test_no_topic_is_voted_on_and_tested():
    assert {TOPIC[c.prompt] for c in TEST} == set(TEST_TOPICS) == {TOPIC[p] for p in WORLD.test_prompts}
    assert not {TOPIC[c.prompt] for c in TRAIN} & set(TEST_TOPICS)
    assert not set(WORLD.train_prompts) & set(WORLD.test_prompts)


def test_one_vote_in_ten_is_flipped_for_every_user():
    wrong = Counter(c.user for c in TRAIN if gain(c) < 0)
    assert set(wrong.values()) == {10}
    assert len(wrong) == 60


def test_the_truth_has_no_noise():
    assert all(gain(c) > 0 for c in TEST)


def test_only_pairs_of_equal_utility_are_missing():
    assert all(gain(c) for c in TRAIN)
    # A single-axis user's pairs may be equal on the other axes, and as close as one level on their own.
    differences = Counter()
    for c in TRAIN:
        user = WORLD.user(c.user)
        if user.name == "P1A":
            a, b = read_levels(c.chosen), read_levels(c.rejected)
            differences[abs(a[0] - b[0])] += 1
            differences["same informativeness"] += a[1] == b[1]
    # Of the 20 ordered unequal pairs of levels 8, 6, 4 and 2 differ by 1, 2, 3 and 4.
    shares = [differences[d] / 700 for d in (1, 2, 3, 4)]
    assert shares == pytest.approx([0.4, 0.3, 0.2, 0.1], abs=0.05)
    assert differences["same informativeness"] / 700 == pytest.approx(0.2, abs=0.05)


def test_the_two_answers_are_independent_and_uniform_on_free_axes():
    # On the axes that a single-axis user does not care about nothing is dropped: uniform and uncorrelated.
    levels = []
    for c in (*TRAIN, *TEST):
        user = WORLD.user(c.user)
        if user.kind == "single":
            free = [a for a in range(3) if not user.percents[a]]
            levels += [(read_levels(c.chosen)[a], read_levels(c.rejected)[a]) for a in free]
    found = np.array(levels)
    shares = np.bincount(found.ravel(), minlength=5) / found.size
    assert shares == pytest.approx([0.2] * 5, abs=0.015)
    assert abs(np.corrcoef(found.T)[0, 1]) < 0.03
    assert abs(found[:, 0].mean() - found[:, 1].mean()) < 0.06  # the vote tells nothing about them


def test_both_answers_belong_to_the_question():
    things = {q.text: q.thing for q in questions()}
    for c in TRAIN[:500]:
        assert f"your {things[c.prompt]}" in c.chosen
        assert f"your {things[c.prompt]}" in c.rejected


def test_votes_carry_no_profile():
    assert all(c.user_text is None and c.group in ("majority", "minority") for c in LOG.comparisons)
    assert len({c.id for c in LOG.comparisons}) == len(LOG.comparisons)


def test_a_world_whose_users_say_what_they_want():
    told = World(told=True).log()
    assert [c.user_text for c in told.comparisons] == [WORLD.user(c.user).text for c in LOG.comparisons]
    assert [(c.id, c.prompt, c.chosen) for c in told.comparisons] == [
        (c.id, c.prompt, c.chosen) for c in LOG.comparisons
    ]


def test_a_world_whose_users_say_half_of_what_they_want():
    half = World(told="half")
    texts = {user.id: half.text_of(user) for user in half.users}
    assert {c.user: c.user_text for c in half.log().comparisons} == texts
    for user in half.users:
        whole, told = user.text, texts[user.id]
        if user.kind == "single":
            assert told in (whole, None)
        else:
            assert told.count("want") in (1, 2) and all(wish in whole for wish in told[2:-1].split(" and "))
    silent = sum(text is None for text in texts.values())
    assert 8 <= silent <= 22  # half of the thirty with a single axis
    stated = sum(t.count("want") for t in texts.values() if t) / sum(u.text.count("want") for u in half.users)
    assert 0.35 < stated < 0.65


def test_users_who_do_not_vote_are_a_side_of_their_own():
    world = World(users=12, votes=5, test_pairs=3, unseen=4)
    log = world.log()
    who = lambda side: sorted({log.comparisons[i].user for i in side})  # noqa: E731
    voters, others = [u.id for u in world.users[:8]], [u.id for u in world.users[8:]]
    sides = log.fixed_split
    assert (who(sides.train), who(sides.test), who(sides.unseen)) == (voters, voters, others)
    assert [len(side) for side in (sides.train, sides.test, sides.unseen)] == [40, 24, 12]
    assert len(log.comparisons) == 76


def test_thumbs_are_both_answers_of_each_vote_judged_alone():
    world = World(users=12, votes=30, feedback="thumbs")
    log, pairs = world.log(), World(users=12, votes=30).log()
    assert log.comparisons == tuple(pairs.comparisons[i] for i in pairs.fixed_split.test)
    assert [log.items[i] for i in log.fixed_split.train] == list(log.thumbs)
    assert [log.items[i] for i in log.fixed_split.test] == list(log.comparisons)
    voted = [pairs.comparisons[i] for i in pairs.fixed_split.train]
    said = list(zip(log.thumbs[::2], log.thumbs[1::2], strict=True))
    assert all({a.response, b.response} == {c.chosen, c.rejected} for (a, b), c in zip(said, voted, strict=True))
    assert {c.user for c in voted} == {t.user for t in log.thumbs} and len(log.thumbs) == 12 * 60
    first = sum(a.response == c.chosen for (a, _), c in zip(said, voted, strict=True))
    assert 140 < first < 220  # of 360: the order tells nothing


def test_one_thumb_in_ten_is_flipped():
    world = World(users=12, votes=30, feedback="thumbs")
    for user in world.users:
        thumbs = world.thumbs_of(user)
        values = [utility(user, t.response) for t in thumbs]
        assert sum(t.up != (value > user.median) for t, value in zip(thumbs, values, strict=True)) == 6
    assert {user.median for user in world.users} == {0.0}  # levels are symmetric about the middle one


def test_the_votes_determine_the_profile():
    # The best any method can do: logistic regression on the true levels, per user, from the noisy votes.
    def differences(comparisons):
        pairs = ((read_levels(c.chosen), read_levels(c.rejected)) for c in comparisons)
        return np.array([np.subtract(a, b) for a, b in pairs]) / 2

    hits = {"single": [], "mixture": []}
    for user in WORLD.users[:20]:
        x, y = differences(WORLD.votes_of(user)), differences(WORLD.tests_of(user))
        weights = np.zeros(3)
        for _ in range(200):
            weights += 0.05 * (x.T @ (1 / (1 + np.exp(x @ weights))) - 0.5 * weights)
        hits[user.kind].append(np.mean(y @ weights > 0))
    assert np.mean(hits["single"]) > 0.95
    assert np.mean(hits["mixture"]) > 0.92


def test_deterministic_and_seeded():
    assert World(users=12, votes=5).log().comparisons == World(users=12, votes=5).log().comparisons
    assert World(users=12, votes=5, seed=1).log().comparisons != World(users=12, votes=5).log().comparisons


def test_more_votes_keep_the_first_ones():
    few, many = World(votes=5, noise=0).votes_of, World(votes=9, noise=0).votes_of
    user = WORLD.users[0]
    assert many(user)[:5] == few(user)


@pytest.mark.parametrize("noise", [0.0, 0.25, 1.0])
def test_noise_is_the_share_asked_for(noise):
    world = World(users=6, votes=20, noise=noise)
    wrong = sum(
        utility(world.user(c.user), c.chosen) < utility(world.user(c.user), c.rejected)
        for user in world.users
        for c in world.votes_of(user)
    )
    assert wrong == noise * 120


@pytest.mark.parametrize("options", [{"users": 5}, {"votes": 0}, {"noise": 1.5}, {"test_pairs": -1}, {"unseen": 60}])
def test_impossible_worlds_are_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        World(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"users": "x"}, "option users: found 'x', expected a whole number, at least 6"),
        ({"users": 6.5}, "option users: found 6.5, expected a whole number, at least 6"),
        ({"votes": None}, "option votes: found None, expected a whole number, at least 1"),
        ({"votes": True}, "option votes: found True, expected a whole number"),
        ({"seed": "a"}, "option seed: found 'a', expected a whole number"),
        ({"noise": "a"}, "option noise: found 'a', expected the share of flipped votes, a number from 0 to 1"),
        ({"feedback": "thumb"}, "option feedback: found 'thumb', expected one of pairs, thumbs"),
        ({"told": "yes"}, "option told: found 'yes', expected true or false"),
        ({"noise": float("nan")}, "option noise: found nan, expected the share"),
    ],
)
def test_options_of_another_type_are_refused(options, message):
    with pytest.raises(ConfigError, match=f"planted world: {message}"):
        World(**options)
