from dataclasses import replace

import pytest

from prlhf.demo.targets import DEMO, FULL, Finding, findings


def test_figures_by_hand(hand_study):
    found = {f.name: f.value for f in findings(hand_study, DEMO)}
    users = hand_study.world.users
    many = sum(u.group == "majority" for u in users) / len(users)
    few = 1 - many
    assert found["accuracy_seen"] == pytest.approx(0.9 * many + 0.8 * few)
    assert found["pooled_seen"] == pytest.approx(0.7 * many + 0.4 * few)
    assert (found["accuracy_minority"], found["pooled_minority"]) == pytest.approx((0.8, 0.4))
    assert found["permutation_drop"] == pytest.approx(0.4 * many + 0.6 * few)
    assert found["generic_gap"] == pytest.approx(0.1)
    assert (found["wins_pooled_majority"], found["wins_pooled_minority"]) == (0.5, 1.0)
    generic = 0.7 * many + 0.4 * few
    assert (found["newcomers_before"], found["newcomers_after"]) == pytest.approx((generic, found["accuracy_seen"]))
    assert found["newcomers_wins"] == found["wins_sft"]
    assert found["wins_sft"] == found["wins_oracle"] == found["oracle_wins_sft"] == pytest.approx(0.5 * many + few)


def test_single_axis_users_count_by_their_number(hand_study):
    names = [u.name for u in hand_study.world.users]
    assert {"P1A", "mixture"} <= set(names)
    profiles = {n: {"P-DPO": 0.9, "pooled DPO": 0.5} for n in names}
    profiles |= {"P1A": {"P-DPO": 0.3, "pooled DPO": 0.5}, "mixture": {"P-DPO": 0.1, "pooled DPO": 0.5}}
    found = {f.name: f.value for f in findings(replace(hand_study, by_profile=profiles), {})}
    low, single = names.count("P1A"), len(names) - names.count("mixture")
    assert found["accuracy_single"] == pytest.approx((0.3 * low + 0.9 * (single - low)) / single)
    assert (found["accuracy_worst_profile"], found["accuracy_mixture"]) == (0.3, 0.1)


@pytest.mark.parametrize("targets", [DEMO, FULL], ids=["demo", "full"])
def test_every_target_is_a_figure(hand_study, targets):
    found = findings(hand_study, targets)
    assert {f.name for f in found if f.target is not None} == set(targets)
    nobody = {f.name for f in findings(replace(hand_study, newcomers=None), targets)}
    assert {f.name for f in found} - nobody == {"newcomers_before", "newcomers_after", "newcomers_wins"}


def test_reached_or_not():
    assert Finding("wins_sft", "", 0.65, 0.65).reached and not Finding("wins_sft", "", 0.64, 0.65).reached
    assert Finding("generic_gap", "", 0.02, 0.02).reached and not Finding("generic_gap", "", 0.03, 0.02).reached
    assert Finding("pooled_seen", "", 0.0, None).reached
    words = [Finding(name, "", 0, 0.65).target_words for name in ("wins_sft", "pooled_minority")]
    assert words == ["≥ 0.65", "≤ 0.65"] and Finding("wins_sft", "", 0, None).target_words == ""
