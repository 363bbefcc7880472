"""Users who are met anew in a step: their rows, what learns from their votes, and what does not."""

import pytest
import torch
from made_up import comparisons, dataset, model, thumbs, trainer

from prlhf.config import Dpo, Kto, RunConfig, Uniform
from prlhf.errors import ConfigError
from prlhf.lm.adapting import fold_in
from prlhf.lm.adapting.prior import Prior, directions_of
from prlhf.objectives import make_objective
from prlhf.training import episodes as module
from prlhf.training.episodes import Episodes

ANN, BOB, CEM = 1, 2, 3


def made(lm, log, objective=None, share=0.999, votes=3, seed=0):
    return Episodes(lm, dataset(lm, log), make_objective(objective or Dpo()), share, votes, seed)


@pytest.fixture(scope="module")
def lm(base_folder):
    return model(base_folder())


@pytest.mark.parametrize(("objective", "log"), [(Dpo(beta=0.5), comparisons(16)), (Kto(beta=0.5), thumbs(16))])
def test_a_row_is_what_adapt_makes_of_the_few_votes(base_folder, objective, log):
    lm = model(base_folder())
    table = lm.user_model.table.weight.detach()
    before, episodes = table.clone(), made(lm, log, objective)
    items = {"row 0", "row 4", "thumb 0", "thumb 4"}
    assert episodes.begin([ANN], items, step=2, steps=3) == [ANN]
    few = episodes._few(ANN, items, 2)
    assert len(few) == 3 and not {log[i].id for i in few} & items and {log[i].user for i in few} == {"ann"}
    if objective.learns_thumbs:  # the responses that they are measured against are those of the run
        assert not torch.equal(table[ANN], before[ANN])
    else:
        prior = Prior(directions_of(before, rows=[BOB, CEM]), module._STRENGTH)
        found = fold_in.fold_in(lm, [log[i] for i in few], prior, objective, passes=module._PASSES, own_strength=False)
        torch.testing.assert_close(table[ANN], found.states.rows[0], atol=1e-4, rtol=1e-3)
    assert torch.equal(table[[0, BOB, CEM]], before[[0, BOB, CEM]]) and lm.training
    episodes.end()
    assert torch.equal(table, before)


def test_who_is_met_depends_on_seed_step_and_user(lm, monkeypatch):
    monkeypatch.setattr(Episodes, "_fitted", lambda self, rows, few, step: torch.zeros(len(rows), 1))
    by_seed = [made(lm, comparisons(16), share=0.5, seed=seed) for seed in (0, 1)]

    def met(users, step, seed=0):
        found = by_seed[seed].begin(users, set(), step, 30)
        by_seed[seed].end()
        return found

    assert met([ANN, BOB], 5) == [] and met([0, CEM], 29) == []  # too early; nobody, and somebody with one vote
    drawn = [met([ANN, BOB], step) for step in range(10, 30)]
    assert drawn == [met([BOB, ANN, ANN], step) for step in range(10, 30)]
    assert [ANN in some for some in drawn] == [met([ANN], step) == [ANN] for step in range(10, 30)]
    assert 4 <= sum(ANN in some for some in drawn) <= 16
    assert drawn != [met([ANN, BOB], step, seed=1) for step in range(10, 30)]


def test_the_language_model_learns_from_it_and_the_users_own_row_does_not(base_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_FROM", 0)
    lm = model(base_folder())
    data = dataset(lm, comparisons(8))
    before = {name: p.detach().clone() for name, p in lm.named_parameters()}
    seen = []
    made_trainer = trainer(lm, data, tmp_path, lr=1e-2, per_device_train_batch_size=4, gradient_accumulation_steps=2)
    made_trainer.episodes = Episodes(lm, data, make_objective(Dpo()), 0.999, 2, 0)
    monkeypatch.setattr(made_trainer.episodes, "_few", lambda row, *_: [0] if row == ANN else [])
    forward = made_trainer.compute_loss

    def looked_at(*args, **kwargs):
        seen.append(lm.user_model.table.weight[ANN].detach().clone())
        return forward(*args, **kwargs)

    made_trainer.compute_loss = looked_at
    made_trainer.train()
    table, own = lm.user_model.table.weight, before["user_model.table.weight"]
    assert torch.equal(table[ANN], own[ANN]) and not torch.equal(table[BOB], own[BOB])
    assert len(seen) == 2 and torch.equal(seen[0], seen[1]) and not torch.equal(seen[0], own[ANN])
    assert made_trainer.user_optimizer.state[table]["count"].tolist()[ANN] == 0
    assert any(not torch.equal(p, before[n]) for n, p in lm.named_parameters() if "lora" in n)


def test_what_it_means_nothing_to(lm):
    def of(spread=False, user_model=None, **changes):
        config = RunConfig.model_validate({"user_model": user_model or {"type": "individual"}, **changes})
        return Episodes.of(config, lm, dataset(lm, comparisons(4)), spread=spread)

    some = {"few_vote_users": 0.5, "few_votes": 4}
    assert of() is None
    assert (of(training=some).share, of(training=some).votes) == (0.5, 4)
    with pytest.raises(ConfigError, match="alpha = 0"):
        of(training=some, alpha=0.0)
    with pytest.raises(ConfigError, match="FSDP"):
        of(training=some, spread=True)


def test_a_run_whose_users_share_everything(base_folder):
    lm = model(base_folder(), Uniform(tokens=2))
    config = RunConfig.model_validate({"user_model": {"type": "uniform"}, "training": {"few_vote_users": 0.1}})
    with pytest.raises(ConfigError, match=r"few_vote_users = 0\.1.*uniform"):
        Episodes.of(config, lm, dataset(lm, comparisons(4)), spread=False)
