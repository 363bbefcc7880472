"""Figures of reward models: by hand, of planted people, with the controls that have to hold."""

import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from prlhf.config.rewards import Stored
from prlhf.data import Log
from prlhf.errors import DataError
from prlhf.evaluation import Scores
from prlhf.evaluation.reward import evaluate_reward
from prlhf.evaluation.reward.checks import check_features, check_flipped
from prlhf.evaluation.reward.evaluate import flipped
from prlhf.evaluation.reward.figures import reliability, reward_figures, side_figures
from prlhf.evaluation.reward.scores import few_shot, log_odds, places_in_order, reward_scores
from prlhf.rewards import Reward, Votes
from prlhf.rewards.features import make_features
from prlhf.types import Comparison
from tiny_reward import Tiny, TinyReward, votes, write_votes

ALL = votes()
KNOWN = [c for c in ALL if c.user < "user08"]
NEW = [c for c in ALL if c.user >= "user08"]


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    _, embeddings = write_votes(ALL, tmp_path_factory.mktemp("data"))
    return make_features(Stored(path=str(embeddings), surface=False, prompt_product=False), ALL)


@pytest.fixture(scope="module")
def model(features):
    made = TinyReward.fit(Tiny(), Votes.of(KNOWN[::2], features))
    made.features = features
    return made


def table(h, users=None, **more):
    rows = [Comparison("?", "a", "b", user=u, id=str(i)) for i, u in enumerate(users or ["ann"] * len(h))]
    return Scores.of(rows, seen=[True] * len(h), h_specific=h, h_generic=np.zeros(len(h)), **more)


def test_figures_by_hand():
    p = np.array([0.9, 0.8, 0.3, 0.52])
    scores = table(np.log(p / (1 - p)), ["ann", "ann", "ann", "bob"])
    found = reward_figures(scores, scores.h, bootstrap=0)
    assert found.accuracy.value == pytest.approx(3 / 4)
    assert found.accuracy_per_user.value == pytest.approx((2 / 3 + 1) / 2)
    assert found.log_loss.value == pytest.approx(-np.log(p).mean())
    # bins of 0.05 from 0.5: 0.9 | 0.8 | 0.7 (of the rejected one) | 0.52, each alone
    assert found.calibration_error.value == pytest.approx((0.1 + 0.2 + 0.7 + 0.48) / 4)


def test_calibration_error_of_one_bin_is_confidence_against_the_share_that_was_right():
    h = np.full(100, np.log(0.72 / 0.28)) * np.repeat([1, -1], [70, 30])
    scores = table(h)
    assert reward_figures(scores, h, bootstrap=0).calibration_error.value == pytest.approx(0.02)
    bins = reliability(scores, h)
    assert (bins.confidence, bins.right, bins.weight) == (pytest.approx([0.72]), pytest.approx([0.7]), [100])


def test_calibration_error_does_not_depend_on_which_side_the_data_name_first():
    h = np.random.default_rng(0).normal(size=60) * 2
    right = (np.random.default_rng(1).random(60) < 0.5) * 2 - 1.0
    a, b = table(h * right), table(np.abs(h) * np.sign(h) * right)
    assert reward_figures(a, a.h, 0).calibration_error == reward_figures(b, b.h, 0).calibration_error


def test_intervals_are_over_users():
    h = np.tile([1.0, 1, 1, -1], 10)
    scores = table(h, [f"u{i // 4}" for i in range(40)])
    found = reward_figures(scores, h, bootstrap=200)
    assert found.accuracy.low == found.accuracy.high == 0.75 and found.accuracy.users == 10


def test_log_odds_say_what_the_model_says_and_keep_the_size_of_what_rounds_to_certain(model):
    margin = Reward(np.array([0.0, 1.5, -2.0, -300.0, 80.0]), np.array([0.0, 0, 4, 0, 0]))
    h = log_odds(model, margin)
    assert 1 / (1 + np.exp(-h[:3])) == pytest.approx(model.probability_of(margin)[:3])
    assert h[0] == 0 and h[3] == -300 and h[4] == 80


def test_people_who_are_known_are_measured_under_their_own_state(model):
    found = evaluate_reward(model, KNOWN[1::2], bootstrap=100)
    seen = found.sides["seen"]
    assert found.unseen is None
    assert seen.own.accuracy.value > 0.75
    assert seen.generic.accuracy.value < 0.7 and seen.permuted.accuracy.value < 0.7
    assert seen.personal_gain.value == pytest.approx(seen.own.accuracy.value - seen.generic.accuracy.value)
    assert seen.log_loss_gain.value == pytest.approx(seen.generic.log_loss.value - seen.own.log_loss.value)
    assert seen.permutation_drop.low > 0
    assert not any(check.finding for check in found.checks)


def test_new_people_are_anybody_until_their_votes_are_folded_in(model):
    before, after = (evaluate_reward(model, NEW, votes=k, bootstrap=50) for k in (0, 10))
    side = before.sides["unseen"]
    assert side.own.accuracy == side.generic.accuracy and side.permuted is None
    assert after.told == 4 and len(after.unseen) + after.left_out["folded_in"] == len(NEW)
    assert after.all.accuracy.value > before.all.accuracy.value + 0.1
    (flip,) = after.checks
    assert flip.name == "votes flipped" and flip.state == "nothing found"
    assert not (model.users.rows(["user08"]) > 0).any(), "the model itself has met nobody"


def test_context_is_what_is_known_of_new_people(model):
    context, measured = NEW[::2], NEW[1::2]
    known = {(c.user, c.pair_key) for c in few_shot(context, 5)[0]}
    found = evaluate_reward(model, measured, votes=5, context=context, bootstrap=0)
    assert len(found.unseen) == sum((c.user, c.pair_key) not in known for c in measured)
    assert found.unseen.seen.all()


def test_a_model_that_ignores_votes_is_found_out(features):
    deaf = TinyReward.fit(Tiny(strength=0.0), Votes.of(KNOWN[::2], features))
    deaf.features = features
    found = evaluate_reward(deaf, [*KNOWN[1::2], *NEW], votes=10, bootstrap=200)
    assert [check.name for check in found.checks if check.finding] == ["users permuted", "votes flipped"]


def test_flipped_votes_are_the_same_the_other_way_round(model):
    vote = Comparison("?", "a", "b", user="ann", first_shown="chosen")
    (other,) = flipped([vote])
    assert (other.chosen, other.rejected, other.first_shown) == ("b", "a", "rejected")
    told, rest = few_shot(NEW, 10)
    with model.meeting(told):
        a = reward_scores(model, rest)
    with model.meeting(flipped(told)):
        b = reward_scores(model, rest)
    assert check_flipped(a, b, bootstrap=100).numbers["drop"]["value"] > 0.3


def test_the_first_votes_are_by_content_nested_and_on_other_pairs_than_the_rest():
    again = [*NEW, *NEW[:3]]  # the same votes twice
    order = places_in_order(again)
    shuffled = np.random.default_rng(0).permutation(len(again))
    other = places_in_order([again[i] for i in shuffled])
    key = [(c.user, c.pair_key) for c in again]
    assert {key[i] for i in np.flatnonzero(order < 5)} == {key[shuffled[i]] for i in np.flatnonzero(other < 5)}
    told, rest = few_shot(again, 5)
    more, _ = few_shot(again, 10)
    assert len(told) == 20 and {c.id for c in told} <= {c.id for c in more}
    assert not {(c.user, c.pair_key) for c in told} & {(c.user, c.pair_key) for c in rest}


def test_json_has_the_four_figures_at_the_top(model, tmp_path):
    log = Log([*KNOWN[1::2], *NEW, Comparison("?", "a", "b", tie=True, user="user00")], "here")
    found = evaluate_reward(model, log, votes=3, bootstrap=20)
    whole = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    for name in ("accuracy", "accuracy_per_user", "log_loss", "calibration_error"):
        for part in (whole, whole["seen"], whole["unseen"], whole["generic"], whole["permuted"]):
            assert {"value", "low", "high"} <= part[name].keys()
    assert whole["permuted"]["drop"]["value"] == whole["seen"]["permutation_drop"]["value"]
    assert whole["data"]["left_out"]["ties"] == 1 and whole["data"]["source"] == "here"
    found.save_users(tmp_path / "users.parquet")
    assert pq.read_table(tmp_path / "users.parquet").num_rows == 12
    assert "Calibration" in found.report().html()


def test_nothing_to_measure_is_an_error(model):
    tie = Comparison("?", "a", "b", tie=True)
    with pytest.raises(DataError, match="none has a winner"):
        evaluate_reward(model, [tie])
    with pytest.raises(DataError, match="all votes were folded in"):
        evaluate_reward(model, NEW[:3], votes=20)


def test_a_feature_that_names_the_label_is_found_and_none_of_taste_is(features):
    clean = Votes.of(ALL, features)
    assert check_features(clean).state == "nothing found"
    telling = clean.items.x  # with one item a vote beside it, as where a feature carries the winner's position
    x = np.concatenate([telling[clean.chosen], telling[clean.rejected]])
    x = np.concatenate([x, np.repeat([[1.0], [0.0]], len(clean), 0)], axis=1).astype(np.float32)
    items = replace(clean.items, keys=np.arange(len(x), dtype=np.uint64), x=x)
    places = np.arange(len(clean))
    planted = replace(clean, items=items, chosen=places, rejected=places + len(clean))
    found = check_features(planted)
    assert found.finding and found.numbers["feature"] == telling.shape[1]


def test_side_figures_without_anybody_to_exchange():
    found = side_figures(table(np.array([1.0, -1.0])), bootstrap=10)
    assert found.permuted is None and not found.permutation_drop.exists
