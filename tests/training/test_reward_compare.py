"""`compare_rewards` on tiny reward models: sides apart, equal budgets, going on, differences, checks that fire."""

import json
import math
import shutil
from typing import Any, ClassVar, Literal

import numpy as np
import pytest

from prlhf.config.rewards import Stored
from prlhf.config.rewards.base import AnyReward
from prlhf.config.rewards.compare import RewardCompare
from prlhf.data import Log
from prlhf.data.facts import Facts
from prlhf.errors import ConfigError, DataError
from prlhf.evaluation import Scores
from prlhf.evaluation.report import Report
from prlhf.evaluation.reward.comparison import RewardComparison, paired
from prlhf.rewards.features import make_features
from prlhf.rewards.make import MEMBERS
from prlhf.training.reward import cell, tuning
from prlhf.training.reward.compare import compare_rewards
from prlhf.training.reward.sides import Common, kept
from prlhf.training.reward.tuning import base_config, candidates, tune
from prlhf.types import Comparison
from tiny_reward import Tiny, TinyReward, tiny, votes, write_votes  # noqa: F401

ALL = votes(users=24, each=40, items=60)
LOG = Log(tuple(ALL), "planted")


class Flat(AnyReward):
    """Options of `FlatReward`."""

    SEARCH: ClassVar[dict[str, tuple[Any, ...]]] = {"strength": (0.0,)}
    type: Literal["flat"] = "flat"
    strength: float = 0.0


class FlatReward(TinyReward):
    """The same for everybody."""

    Config = Flat


@pytest.fixture
def config(monkeypatch, tiny):  # noqa: F811
    monkeypatch.setitem(MEMBERS, "flat", f"{__name__}:FlatReward")
    return RewardCompare(models=("flat", "tiny"), seeds=2, budget=3, votes=(0, 5, 10), bootstrap=100)


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    _, embeddings = write_votes(ALL, tmp_path_factory.mktemp("data"))
    return make_features(Stored(path=str(embeddings), surface=False, prompt_product=False), ALL)


@pytest.fixture
def common(config, features):
    return Common.of(LOG, config, 0, features)


def undrawn(monkeypatch):
    """No pictures, which take longest."""
    monkeypatch.setattr(RewardComparison, "report", lambda self: Report("not drawn", "", ()))


def pairs(votes):
    return set(votes.pair.tolist())


def names(votes):
    return {votes.names[u] for u in votes.user.tolist() if u >= 0}


def test_sides_share_neither_pairs_nor_unseen_users(common):
    test = pairs(common.seen.votes) | pairs(common.unseen.measured.votes)
    assert not pairs(common.train) & test
    assert not pairs(common.unseen.context) & test, "the votes that are told are on other pairs too"
    assert not names(common.unseen.measured.votes) & names(common.train)
    t = common.tuning
    validation = pairs(t.seen) | pairs(t.new.measured.votes)
    assert not pairs(t.train) & validation and not pairs(t.new.context) & validation
    assert not names(t.new.measured.votes) & names(t.train)
    assert not (pairs(t.train) | validation | pairs(t.new.context)) - pairs(common.train)
    assert len(t.new.context.names) == 3, "15 % of the 18 users of the training side"
    assert not pairs(t.rest) & pairs(t.early) and len(t.rest) + len(t.early) == len(common.train)


def test_facts_of_some_items_can_name_their_users_alone():
    facts = Facts.of([ALL[0], ALL[-1], Comparison("?", "a", "b"), ALL[1]]).take(np.array([1, 2]))
    assert facts.names == ["user00", "user23"] and facts.compact().names == ["user23"]
    assert facts.compact().user.tolist() == [0, -1] and facts.compact().distinct == facts.distinct


def test_rows_are_the_votes_in_their_order(common):
    for measured in (common.seen, common.unseen.measured):
        assert [int(c.pair_key, 16) for c in measured.rows] == measured.votes.pair.tolist()
        users = [measured.votes.names[u] for u in measured.votes.user]
        assert users == [c.user for c in measured.rows]


def test_the_fewer_votes_are_among_the_more_and_everybody_has_as_many(config, features):
    log = Log(tuple(votes(users=60, each=40, items=60)), "planted")
    met = Common.of(log, config, 0, features).unseen
    few, more = met.told(5), met.told(10)
    assert set(few.counts) == {5} and set(more.counts) == {10}
    key = [set(zip(v.user.tolist(), v.pair.tolist(), strict=True)) for v in (few, more)]
    assert key[0] < key[1] and not len(met.told(0))


def test_too_few_unseen_users_with_enough_votes_is_said(common):
    assert "so all are measured" in common.notes[0]


def test_users_with_few_votes_are_left_out(config):
    few = [Comparison("?", "a", "b", user="once"), Comparison("?", "a", "b"), *ALL]
    left = kept(Log(tuple(few), "x"), config.model_copy(update={"min_votes": 2}))
    assert {c.user for c in left.comparisons} == {c.user for c in ALL}
    with pytest.raises(DataError, match="at least 41 votes"):
        kept(LOG, config.model_copy(update={"min_votes": 41}))


def test_candidates_are_the_defaults_then_distinct_draws(tiny):  # noqa: F811
    found = candidates(Tiny(), 8, 0)
    assert found[0] == Tiny() and sorted(c.strength for c in found) == [0, 3, 30]
    drawn = [candidates(Tiny(), 2, seed)[1].strength for seed in range(10)]
    assert set(drawn) == {0, 30} and drawn[3] == candidates(Tiny(), 2, 3)[1].strength
    assert candidates(Tiny(), 1, 0) == [Tiny()]


def test_the_least_validation_loss_is_chosen_and_failures_are_kept(common, tiny, monkeypatch):  # noqa: F811
    best, trials = tune(Tiny(), common.tuning, 3, 0)
    losses = {t.options.get("strength", 3.0): t.loss for t in trials}
    assert best.strength == min(losses, key=losses.get) and len(trials) == 3
    assert trials[0].loss == (trials[0].seen + trials[0].new) / 2

    def fail(config, *args, **more):
        if config.strength == best.strength:
            raise DataError("no")
        return TinyReward.fit(config, *args)

    monkeypatch.setattr(tuning, "fit_reward", fail)
    other, trials = tune(Tiny(), common.tuning, 3, 0)
    assert other.strength != best.strength
    assert [t.failed for t in trials if t.failed] == ["DataError: no"]
    assert None in [t.as_dict()["loss"] for t in trials]
    monkeypatch.setattr(tuning, "fit_reward", lambda *args, **more: 1 / 0)
    with pytest.raises(DataError, match="tiny: none of 3 configurations"):
        tune(Tiny(), common.tuning, 3, 0)


def test_who_stops_early_is_told_where_by_votes_that_it_learns_from_afterwards(common, tiny, monkeypatch):  # noqa: F811
    given = []

    def fit_reward(config, votes, **more):
        given.append((config, votes, more.get("validation")))
        model = TinyReward.fit(config, votes)
        model.ended = Tiny(strength=7)
        return model

    monkeypatch.setattr(tuning, "fit_reward", fit_reward)
    tuning.refit(Tiny(), common.train, common.tuning, 0)
    assert given == [(Tiny(), common.train, None)]
    monkeypatch.setattr(TinyReward, "stops_early", True)
    tuning.refit(Tiny(), common.train, common.tuning, 0)
    assert given[1] == (Tiny(), common.tuning.rest, common.tuning.early)
    assert given[2] == (Tiny(strength=7), common.train, None)


def test_unknown_models_and_options_are_errors(config, tmp_path):
    with pytest.raises(ConfigError, match="found 'btt', expected some of"):
        base_config("btt")
    with pytest.raises(ConfigError, match=r"options\.tiny: unknown option strenght"):
        base_config("tiny", {"strenght": 1})
    with pytest.raises(ConfigError, match="models compared are flat, tiny"):
        compare_rewards(config.model_copy(update={"options": {"lore": {}}}), tmp_path / "x", log=LOG)
    with pytest.raises(ConfigError, match="each once"):
        RewardCompare(models=("bt", "bt"))


def test_the_whole_comparison(config, features, tmp_path, monkeypatch):
    found = compare_rewards(config, tmp_path / "c", log=LOG, features=features)
    assert found.settings == ["seen", "unseen_0", "unseen_5", "unseen_10"]
    gain = found.differences["tiny - flat"]
    assert gain["seen"]["accuracy"].low > 0 and gain["unseen_10"]["accuracy"].value > 0
    assert gain["unseen_0"]["accuracy"].value == 0
    own = found.figures["tiny"]["seen"]
    assert gain["seen"]["accuracy"].value == pytest.approx(
        own.own.accuracy.value - found.figures["flat"]["seen"].own.accuracy.value
    )
    low, high = (100 * x for x in (gain["seen"]["accuracy"].low, gain["seen"]["accuracy"].high))
    told = (
        f"In accuracy (95 % intervals), against flat: tiny is better for seen users ({low:+.1f} to {high:+.1f} points)"
    )
    assert found.verdict().startswith(f"{told} and ") and "for new users after 10 votes (" in found.verdict()
    fired = [check.name for check in found.checks if check.finding]
    assert fired == ["flat: users permuted", "flat: votes flipped"]
    whole = json.loads((tmp_path / "c" / "results.json").read_text())
    seeds = whole["methods"]["tiny"]["by_seed"]
    assert len(seeds) == 2 and len(seeds[0]["trials"]) == 3
    by_seed = [s["figures"]["seen"]["accuracy"] for s in seeds]
    assert min(by_seed) <= whole["methods"]["tiny"]["figures"]["seen"]["accuracy"]["value"] <= max(by_seed)
    page = (tmp_path / "c" / "report.html").read_text()
    assert "Chosen configurations" in page and told in page and page.count("<img") == 4

    undrawn(monkeypatch)
    monkeypatch.setattr("prlhf.training.reward.compare.make_cell", lambda *args: 1 / 0)
    again = compare_rewards(config, tmp_path / "c", log=LOG, features=features)
    assert again.as_dict() == found.as_dict(), "everything was there"
    with pytest.raises(ZeroDivisionError):
        compare_rewards(config.model_copy(update={"seeds": 3}), tmp_path / "c", log=LOG, features=features)


def test_a_folder_of_another_comparison_is_refused(config, features, tmp_path, monkeypatch):
    undrawn(monkeypatch)
    config = config.model_copy(update={"seeds": 1, "models": ("flat",), "budget": 1})
    compare_rewards(config, tmp_path / "c", log=LOG, features=features)
    for other, what in (({"budget": 4}, "budget"), ({"options": {"flat": {"strength": 1.0}}}, "options.flat")):
        with pytest.raises(ConfigError, match=f"other {what}; choose another folder"):
            compare_rewards(config.model_copy(update=other), tmp_path / "c", log=LOG, features=features)
    with pytest.raises(ConfigError, match="other the votes"):
        compare_rewards(config, tmp_path / "c", log=Log(LOG.comparisons[:-1], "x"), features=features)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(ConfigError, match="holds no comparison"):
        compare_rewards(config, tmp_path / "full", log=LOG, features=features)


def test_fewer_models_or_seeds_than_there_are_lose_nothing(config, features, tmp_path, monkeypatch):
    undrawn(monkeypatch)
    place, alone = tmp_path / "c", config.model_copy(update={"models": ("flat",), "budget": 1})
    config = config.model_copy(update={"budget": 1, "options": {"tiny": {"strength": 1.0}}})
    compare_rewards(config, place, log=LOG, features=features)
    before = {name: (place / name).read_bytes() for name in ("config.json", "results.json", "report.html")}
    with pytest.raises(ConfigError, match="has tiny too, which its report would lose; expected flat,tiny, or another"):
        compare_rewards(alone, place, log=LOG, features=features)
    with pytest.raises(ConfigError, match=r"seeds: .* has 2, .* found 1, expected at least 2, or another folder"):
        compare_rewards(config.model_copy(update={"seeds": 1}), place, log=LOG, features=features)
    assert {name: (place / name).read_bytes() for name in before} == before
    shutil.rmtree(place / "runs" / "seed-0" / "tiny")
    shutil.rmtree(place / "runs" / "seed-1" / "tiny")
    found = compare_rewards(alone, place, log=LOG, features=features)
    assert [method.name for method in found.methods] == ["flat"], "what was never done is not missed"


def test_a_cell_is_measured_as_the_model_answers(common, config):
    made = cell.make_cell(Tiny(), common, config.model_copy(update={"budget": 1}), 0)
    model = tuning.refit(Tiny(), common.train, common.tuning, 0)
    h = model.margins(common.seen.votes).mean
    assert np.allclose(made.scores["seen"].h, h, atol=1e-6)
    assert np.array_equal(made.scores["unseen_0"].h, made.scores["unseen_0"].h_generic)
    assert made.scores["unseen_0"].h_permuted is None and made.scores["unseen_5"].h_permuted is not None


def test_paired_differences_need_the_same_comparisons():
    rows = [Comparison("?", "a", "b", user="ann", id=str(i)) for i in range(3)]
    a, b = (Scores.of(rows, seen=[True] * 3, h_specific=h, h_generic=[0.0] * 3) for h in ([1, 1, -1], [1, -1, -1]))
    found = paired(a, b, bootstrap=0)
    assert found["accuracy"].value == pytest.approx(1 / 3)
    assert found["log_loss"].value == pytest.approx(-2 / 3 * math.log((1 + math.e) / (1 + math.exp(-1))) / 2)
    with pytest.raises(DataError, match="the same ones"):
        paired(a, b.select([0, 2]))
