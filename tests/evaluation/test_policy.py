"""Scores of a personalised model: three branches, or two where nobody else has a row."""

import numpy as np
import pytest
import torch

from prlhf.cli.tables import metrics_table
from prlhf.config import Individual, ModelConfig
from prlhf.evaluation import per_user, summarise
from prlhf.evaluation.policy import EvaluationSet, score_policy
from prlhf.evaluation.result import Evaluation
from prlhf.lm import PersonalizedLM
from prlhf.types import Comparison


def scores(base: str, users: list[str], asked: str | None = "ann"):
    lm = PersonalizedLM.create(ModelConfig(base=base), Individual(tokens=2), users).eval()
    torch.manual_seed(0)
    with torch.no_grad():
        lm.user_model.table.weight[1:].normal_()
    log = [Comparison(f"{i}?", "yes", "a long answer", user=asked, id=str(i)) for i in range(3)]
    data = EvaluationSet.of(lm, log, layout="plain")
    return data, score_policy(lm, data)


def test_somebody_elses_row_is_that_of_another_user(base_folder):
    data, found = scores(base_folder(), ["ann", "bob"])
    assert data.branches.tolist() == [[1, 0, 2]] * 3
    other, _ = scores(base_folder(), ["ann", "bob"], "bob")
    assert other.branches.tolist() == [[2, 0, 1]] * 3
    assert np.abs(found.h_permuted - found.h_specific).min() > 0


@pytest.mark.parametrize("users", [["ann"], []])
def test_with_one_user_there_is_nobody_else(base_folder, users, tmp_path):
    data, found = scores(base_folder(), users)
    assert data.branches.tolist() == [[len(users), 0]] * 3
    assert found.h_permuted is None
    metrics = summarise(found, beta=0.1, bootstrap=10)
    for name in ("accuracy_permuted", "permutation_drop", "margin_permuted", "log_loss_permuted"):
        assert not getattr(metrics.overall, name).exists and name not in metrics.values()
    each = per_user(found, 0.1)
    assert np.isnan(each.accuracy_permuted).all() and each.columns()["accuracy_permuted"] == [None]
    made = Evaluation("r", "made up", "f", "test", found, metrics, each)
    assert made.as_dict()["metrics"]["overall"]["accuracy_permuted"]["value"] is None
    assert "somebody else" not in made.report().save(tmp_path / "r.html").read_text("utf8").split("Users")[0]
    rows = list(metrics_table(metrics).columns[0].cells)
    assert "generic row, seen users" in rows or not users
    assert not any("somebody" in row for row in rows)
