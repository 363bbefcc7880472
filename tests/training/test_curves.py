"""Learning curves, and the one warning when preference is bought with language."""

from dataclasses import replace

import numpy as np
import pytest
from transformers import TrainerState

from prlhf.config import Individual, ModelConfig, RunConfig, TrainingConfig
from prlhf.data import Log, Split
from prlhf.evaluation import Scores
from prlhf.evaluation.plots import CURVES
from prlhf.evaluation.policy import policy_logprobs, score_policy
from prlhf.lm import PersonalizedLM
from prlhf.training.curves import LearningCurves
from prlhf.training.step_progress import StepProgress
from prlhf.types import Comparison

LOG = Log(
    tuple(
        Comparison(f"{i}?", "green as grass", "red", user=user, group=group, id=str(i))
        for i, (user, group) in enumerate([("ann", "few"), ("bob", "many"), ("ann", "few")])
    ),
    "made up",
)


@pytest.fixture
def curves(base_folder) -> LearningCurves:
    config = RunConfig(training=TrainingConfig(eval_comparisons=2))
    lm = PersonalizedLM.create(ModelConfig(base=base_folder()), Individual(tokens=2), ["ann", "bob"])
    return LearningCurves.of(lm, LOG, Split((), test=(0, 1, 2)), config, cache=None)


def test_the_figures_of_a_sample(curves):
    found = curves()
    assert len(curves.data.comparisons) == 2
    h = score_policy(curves.lm, curves.data).h_specific
    assert found["accuracy_seen"] == pytest.approx(((h > 0) + 0.5 * (h == 0)).mean())
    assert set(CURVES.values()) <= {f"eval_{name}" for name in found}  # as the Trainer logs them
    assert found["margin_seen"] == pytest.approx(h.mean())
    assert "accuracy_per_user_se" not in found  # two votes of one user
    groups = {c.group for c in curves.data.comparisons}
    assert {f"accuracy_group_{name}" for name in groups} <= found.keys()


def test_a_group_s_name_overwrites_no_figure(curves, caplog):
    rows = tuple(replace(c, group="seen" if c.user == "ann" else "generic") for c in LOG.comparisons)
    sides, config = Split((), test=(0, 1, 2)), RunConfig(training=TrainingConfig(eval_comparisons=3))
    whole = LearningCurves.of(curves.lm, Log(rows, "made up"), sides, config, cache=None)
    h = np.array([1.0, -1.0, 1.0])  # ann is right, bob is not
    found, scores = whole(), Scores.of(rows, seen=[True] * 3, h_specific=h, h_generic=-h)
    assert "accuracy_group_seen" in found and "accuracy_group_generic" in found
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("prlhf.training.curves.scores_of", lambda *args, **kwargs: scores)
        found = whole()
    assert found["accuracy_seen"] == pytest.approx(2 / 3) and found["accuracy_generic"] == pytest.approx(1 / 3)
    assert (found["accuracy_group_seen"], found["accuracy_group_generic"]) == (1, 0)
    with caplog.at_level("INFO", logger="prlhf"):
        logs = {f"eval_{name}": value for name, value in found.items()}
        StepProgress().on_log(None, TrainerState(max_steps=9), None, logs)
    assert "accuracy seen 0.667" in caplog.text and ", group generic 0.000, group seen 1.000" in caplog.text


def test_the_mean_over_users_has_its_standard_error(curves):
    config = RunConfig(training=TrainingConfig(eval_comparisons=3))
    sides = Split((), test=(0, 1, 2))
    whole = LearningCurves.of(curves.lm, LOG, sides, config, cache=None)
    right = score_policy(whole.lm, whole.data).h_specific > 0
    users = np.array([c.user for c in whole.data.comparisons])
    ann, bob = (right[users == name].mean() for name in ("ann", "bob"))
    assert whole()["accuracy_per_user_se"] == pytest.approx(abs(ann - bob) / 2)  # sd / sqrt(2) of two values


def test_nothing_held_out_or_nothing_wanted(curves):
    options = {"cache": None}
    assert LearningCurves.of(curves.lm, LOG, Split((0, 1, 2)), curves.config, **options) is None
    never = RunConfig(training=TrainingConfig(eval_steps=0))
    assert LearningCurves.of(curves.lm, LOG, Split((), test=(0,)), never, **options) is None


@pytest.mark.parametrize(("share", "warned"), [(0.45, False), (0.55, True)])
def test_a_fall_of_chosen_responses_is_said_once(curves, caplog, share, warned):
    own = curves()["chosen_fall"]
    policy = curves.data.reference[:, 0].sum() * (1 + own)
    curves.data = replace(curves.data, reference=curves.data.reference * (policy / curves.data.reference[:, 0].sum()))
    curves.data = replace(curves.data, reference=curves.data.reference / (1 + share))  # that much likelier
    for _ in range(2):
        assert curves()["chosen_fall"] == pytest.approx(share, abs=1e-6)
    said = [record.getMessage() for record in caplog.records]
    messages = [message for message in said if "chosen responses: their log" in message]
    assert len(messages) == warned
    if warned:
        assert "fallen by 0.55 times" in messages[0] and "raise objective.beta (now 0.1)" in messages[0]


def test_a_fall_of_one_user_in_ten_is_said_although_all_together_have_none(curves, caplog):
    rows = [replace(LOG.comparisons[0], user=f"u{i}", id=str(i)) for i in range(10)]
    sides, config = Split((), test=tuple(range(10))), RunConfig(training=TrainingConfig(eval_comparisons=10))
    many = LearningCurves.of(curves.lm, Log(tuple(rows), "made up"), sides, config, cache=None)
    policy = policy_logprobs(many.lm, many.data)[:, 0, 0]
    reference = many.data.reference.copy()
    reference[:, 0] = policy
    many.data = replace(many.data, reference=reference)
    assert many()["chosen_fall_worst_tenth"] == pytest.approx(0, abs=1e-6) and "has fallen" not in caplog.text
    row = int(np.argmax([c.user == "u3" for c in many.data.comparisons]))
    reference[row, 0] = policy[row] / 3  # the policy is three times as far from certain
    found = many()
    assert found["chosen_fall_worst_tenth"] == pytest.approx(2) and found["chosen_fall"] < 0.5
    assert "tenth of users who lost most: their log-probability has fallen by 2.00 times" in caplog.text
