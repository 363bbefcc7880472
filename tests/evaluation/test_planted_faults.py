"""Runs that were trained on votes with a fault, and what their evaluation says of it."""

import random
from dataclasses import replace

import pytest

from prlhf.config import DataConfig, Dpo, Individual, ModelConfig, RunConfig, TrainingConfig
from prlhf.data.planted import World
from prlhf.evaluation import evaluate
from prlhf.training.train import train

WORLD = {"users": 40, "votes": 8, "test_pairs": 12, "noise": 0.0}
PERMUTED, TABLE = "users permuted", "use of the user table"


def shuffled(log):
    """The user ids of training dealt out anew among its votes; the tests keep theirs."""
    rows = log.fixed_split.train
    users = random.Random(0).sample([log.comparisons[i].user for i in rows], len(rows))
    dealt = dict(zip(rows, users, strict=True))
    votes = tuple(replace(c, user=dealt.get(i, c.user)) for i, c in enumerate(log.comparisons))
    return replace(log, comparisons=votes)


def found_in(log, folder, **training):
    config = RunConfig(
        data=DataConfig(source="planted", options=WORLD),
        model=ModelConfig(base="planted", user_tokens_at="start"),
        user_model=Individual(tokens=2),
        objective=Dpo(beta=0.15),
        alpha=1.0,
        training=TrainingConfig(
            device="cpu", batch_size=16, learning_rate=1e-3, eval_steps=0, save_steps=0, **training
        ),
    )
    train(config, folder, log=log)
    return {check.name: check for check in evaluate(folder, log, baselines=(), bootstrap=200).checks}


@pytest.mark.slow
def test_user_ids_that_were_shuffled_among_the_votes(tmp_path):
    """The same votes by the people who gave them teach what somebody else's row does not know; dealt out, nothing."""
    log = World(**WORLD).log()
    own = found_in(log, tmp_path / "own", epochs=2)
    assert not any(check.finding for check in own.values())
    assert own[PERMUTED].state == own[TABLE].state == "nothing found" and own[PERMUTED].numbers["drop"]["low"] > 0.1
    dealt = found_in(shuffled(log), tmp_path / "dealt", epochs=2)
    assert {name for name, check in dealt.items() if check.finding} == {PERMUTED}, dealt
    assert dealt[PERMUTED].numbers["own"]["comparisons"] == 480 and "nothing here is personal" in dealt[PERMUTED].text


@pytest.mark.slow
def test_rows_that_were_never_moved(tmp_path):
    found = found_in(World(**WORLD).log(), tmp_path / "still", epochs=0.25, user_learning_rate=0.0)
    assert {name for name, check in found.items() if check.finding} == {PERMUTED, TABLE}
    assert "hardly left the generic one" in found[TABLE].text
