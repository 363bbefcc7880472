"""P-RM in the trainer of P-DPO: its loss by hand, layouts, the alpha mix, what the generic user reads, and its runs."""

import json
from dataclasses import replace
from functools import partial

import pytest
import torch
from made_up import USERS, comparisons, dataset, gradients, moved, thumbs, trainer

from prlhf.config import Individual, ModelConfig, Uniform
from prlhf.config.rewards import Factor, SoftPrompt
from prlhf.data import Log
from prlhf.errors import CheckpointError, ConfigError, DataError
from prlhf.lm import PersonalizedLM, RewardLM, pair_logprobs
from prlhf.lm.logprobs import _looked_at
from prlhf.rewards import load_reward
from prlhf.training.fitted import fit_start
from prlhf.training.reward import train_soft_prompt
from prlhf.types import Comparison


@torch.no_grad()
def model(base: str, user_model=None, pool="last", tastes=0, **options) -> RewardLM:
    """Away from step 0, in double precision."""
    config = ModelConfig(base=base, dtype="float64", **options)
    lm = RewardLM.create(config, user_model or Individual(tokens=2), USERS, pool=pool, tastes=tastes)
    moved(lm.double())
    for p in lm.reward_head.parameters():
        p.normal_()
    return lm


@pytest.fixture
def fp64(base_folder):
    return lambda *args, **options: model(base_folder("gpt2", dtype=torch.float64), *args, **options)


def reward(lm, prompt, cut, response, row):
    """By plain concatenation: the user's head on the states of one sequence."""
    ids = torch.tensor([[*prompt[:cut], *lm.user_token_ids(row), *prompt[cut:], *response]])
    states = lm.causal_lm.transformer(inputs_embeds=lm._user_tokens.explicit(lm.embedding, ids)).last_hidden_state
    state = states[0, -1] if lm.pool == "last" else states[0, -len(response) :].mean(0)
    head = lm.reward_head.weight[0]
    if lm.reward_head.tastes:
        table = lm.user_model.table.weight
        head = head + lm.reward_head.directions.T @ (lm.reward_head.tasted @ (table[row] - table[0]))
    return head @ state


@pytest.mark.parametrize("layout", ["plain", "packed"])
@pytest.mark.parametrize(("place", "pool", "tastes"), [("start", "last", 0), ("before_response", "mean", 3)])
def test_a_reward_is_the_head_on_the_states_of_the_response(fp64, layout, place, pool, tastes):
    lm = fp64(user_tokens_at=place, pool=pool, tastes=tastes).eval()
    encoded = [lm.template.comparison(c) for c in comparisons(3)]
    values = pair_logprobs(lm, encoded, [[1, 0]] * 3, layout)
    for i, c in enumerate(encoded):
        assert c.chosen[-1] == lm.tokenizer.eos_token_id
        for k, row in enumerate((1, 0)):
            chosen, rejected = (reward(lm, c.prompt, c.cut, y, row).item() for y in c.responses)
            assert values.chosen[i, k].item() == pytest.approx(chosen, abs=1e-9)
            assert values.rejected[i, k].item() == pytest.approx(rejected, abs=1e-9)
    assert (values.chosen[:, 0] - values.chosen[:, 1]).abs().min() > 1e-3  # the user counts


@pytest.mark.parametrize(("layout", "pool", "tastes"), [("plain", "last", 0), ("packed", "mean", 2)])
def test_the_loss_by_hand(fp64, tmp_path, layout, pool, tastes):
    lm = fp64(pool=pool, tastes=tastes).eval()
    data = dataset(lm, [replace(c, weight=0.5 + i % 3) for i, c in enumerate(comparisons(4))])
    assert not data.reference.any()
    made = trainer(lm, data, tmp_path, alpha=0.3, objective=SoftPrompt().objective, layout=layout)
    batch = made.data_collator([data[i] for i in range(4)])
    loss = made.compute_loss(made.model, batch)
    loss.backward()
    found = gradients(lm)
    assert "reward_head.weight" in found and any("lora_B" in name for name in found)
    lm.zero_grad()
    total = 0.0
    for i, c in enumerate(data.encoded):
        for row, share in ((int(data.rows[i]), 0.3), (0, 0.7)):
            chosen, rejected = (reward(lm, c.prompt, c.cut, y, row) for y in (c.chosen, c.rejected))
            total = total + data.weight[i] * share * torch.log1p(torch.exp(rejected - chosen)) / 4
    assert loss.item() == pytest.approx(total.item(), abs=1e-9)
    total.backward()
    expected = gradients(lm)
    assert found.keys() >= {name for name in expected if "user_model" not in name}
    for name, g in found.items():
        if "user_model" not in name:  # the explicit way there takes no gradient
            torch.testing.assert_close(g, expected[name], rtol=0, atol=1e-9)


def test_a_start_knows_what_people_like(base_folder, tmp_path):
    """Two camps who like the opposite, one vote a pair each: nothing that they share tells which."""
    people = [f"{camp} {i}" for i in range(3) for camp in ("ann", "bob")]
    lm = RewardLM.create(ModelConfig(base=base_folder()), Individual(tokens=2), people, pool="mean", tastes=2)
    pairs = [(f"red! red? {i}", f"a blue sky, perhaps {i}") for i in range(8)]
    votes = [Comparison("question", *pair[:: 1 if u[0] == "a" else -1], user=u) for u in people for pair in pairs]
    data = dataset(lm, votes)
    fit_start(lm, data, SoftPrompt())
    table, head = lm.user_model.table.weight, lm.reward_head
    assert lm.fitted == 1 and lm.new_parameters() == [] and lm.row_step < 0.1 and not table[0].any()
    assert head.directions[0].any() and not head.directions[1].any() and not head.tasted[1].any()
    # a row has the size of token embeddings, as every other start
    assert 0.3 < table[1:].square().mean().sqrt() / lm.embedding_scale < 3
    margin = {}
    for row in (0, 1, 2):
        values = pair_logprobs(lm, list(data.encoded)[:8], [[row]] * 8)
        margin[row] = (values.chosen - values.rejected)[:, 0]
    assert (margin[1] > 0.5).all() and (margin[2] < -0.5).all() and margin[0].abs().max() < 0.3


def test_where_nobody_differs_a_start_is_the_crowd(base_folder, tmp_path):
    lm = RewardLM.create(ModelConfig(base=base_folder()), Individual(tokens=2), ["ann", "bob"], pool="mean", tastes=2)
    votes = [Comparison("question", f"red! {i}", f"a blue sky {i}", user=u) for u in ("ann", "bob") for i in range(4)]
    data = dataset(lm, votes)
    fit_start(lm, data, SoftPrompt())
    assert lm.fitted == 0 and lm.new_parameters() == [] and lm.row_step > 0.1
    assert not lm.reward_head.directions.any() and torch.equal(*lm.user_model.table.weight[1:])
    values = pair_logprobs(lm, list(data.encoded), [[0]] * 8)
    assert (values.chosen - values.rejected > 0.5).all()


def test_dropped_texts_are_read_by_no_branch_of_the_generic_user(fp64):
    told = replace(comparisons(1)[0], user_text="likes short answers")
    silent = replace(told, user_text=None)
    keep, drop = fp64(user_tokens_at="after_system").eval(), fp64(user_tokens_at="after_system").eval()
    drop.config = drop.template.config = keep.config.model_copy(update={"reference_user_text": False})
    for layout in ("plain", "packed"):
        kept, dropped = (pair_logprobs(lm, [lm.template.comparison(told)], [[1, 0]], layout) for lm in (keep, drop))
        bare = pair_logprobs(keep, [keep.template.comparison(silent)], [[1, 0]], layout)
        assert torch.equal(kept.chosen[0, 0], dropped.chosen[0, 0])
        assert dropped.chosen[0, 1].item() == pytest.approx(bare.chosen[0, 1].item(), abs=1e-9)
        assert abs(kept.chosen[0, 1] - dropped.chosen[0, 1]) > 1e-3
    c = drop.template.comparison(told)
    assert c.reference_cut == keep.template.comparison(silent).cut and drop.read_by(1, c) is c


def test_without_user_tokens_a_dropped_text_still_tells_the_branches_apart(fp64):
    lm = fp64(Uniform()).eval()
    lm.config = lm.template.config = lm.config.model_copy(update={"reference_user_text": False})
    c = lm.template.comparison(replace(comparisons(1)[0], user_text="likes short answers"))
    values = pair_logprobs(lm, [c], [[1, 0]])
    assert abs(values.chosen[0, 0] - values.chosen[0, 1]) > 1e-3


# --- runs ---


def config(base: str, **changes) -> SoftPrompt:
    training = {
        "batch_size": 4, "max_steps": 2, "learning_rate": 1e-2, "eval_steps": 0, "save_steps": 1, "device": "cpu"
    }  # fmt: skip
    tree = {
        "data": {"split": {"test": 0.25}},
        "model": {"base": base, "tuning": {"type": "lora", "r": 2}},
        "user_model": {"tokens": 2},
        "training": training,
    }
    return SoftPrompt.model_validate(tree | changes)


LOG = Log(tuple(comparisons(16)), "made up")


def test_two_steps_train_and_a_stopped_run_goes_on(base_folder, tmp_path, monkeypatch):
    # strengths that are given: to look for them takes a second
    monkeypatch.setattr("prlhf.training.fitted.Factor", partial(Factor, personal=1.0))
    monkeypatch.setattr("prlhf.training.finish._plot", lambda run, users: None)  # as of every run; not what is new here
    wanted = config(base_folder())
    whole = train_soft_prompt(wanted, tmp_path / "whole", log=LOG)
    assert whole.lm.reward_head.weight.abs().min() > 0 and whole.lm.pool == "mean" and whole.lm.reward_head.tastes == 8
    assert whole.lm.user_model.table.weight[1:].abs().max() > 0 and not whole.lm.answers
    held = json.loads((tmp_path / "whole" / "evaluation.json").read_text())
    assert held["beta"] == 1.0 and held["comparisons"] > 0

    with monkeypatch.context() as stopped, pytest.raises(KeyboardInterrupt):
        stopped.setattr("prlhf.training.train.finish", _stop)
        train_soft_prompt(wanted, tmp_path / "parts", log=LOG)
    with pytest.raises(CheckpointError, match="unfinished run of a reward model; go on with: prlhf reward train"):
        load_reward(tmp_path / "parts")
    again = train_soft_prompt(wanted, tmp_path / "parts", log=LOG, resume=True)
    a, b = whole.lm.state_dict(), again.lm.state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)
    with pytest.raises(ConfigError, match="is complete"):
        train_soft_prompt(wanted, tmp_path / "parts", log=LOG, resume=True)


def _stop(*args, **options):
    raise KeyboardInterrupt


def test_a_reward_model_is_not_taken_for_a_policy(fp64, tmp_path):
    fp64().save_pretrained(tmp_path / "model")
    with pytest.raises(CheckpointError, match="scores and does not answer"):
        PersonalizedLM.from_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="push_to_hub"):
        fp64().push_to_hub("somebody/something")


def test_the_layout_is_chosen_by_states_not_by_a_head_that_may_be_zero(fp64):
    lm = fp64().eval()
    torch.nn.init.zeros_(lm.reward_head.weight)
    assert _looked_at(lm, [lm.template.comparison(c) for c in comparisons(2)], "packed").abs().min() > 0.1


def test_thumbs_alone_teach_no_reward_model(tmp_path):
    with pytest.raises(DataError, match="a reward model learns from comparisons, and there are only thumbs"):
        train_soft_prompt(SoftPrompt(), tmp_path / "run", log=Log(tuple(thumbs(4)), "made up"))


@pytest.mark.parametrize("options", [{"beta": 0.5}, {"sft_weight": 0.1}, {"type": "ipo"}])
def test_there_is_one_loss(options):
    with pytest.raises(ConfigError, match=r"objective\."):
        SoftPrompt(objective=options)


def test_what_the_generic_user_reads_is_an_option(base_folder):
    wanted = SoftPrompt(generic_text="drop")
    assert not wanted.language_model.reference_user_text and SoftPrompt().language_model.reference_user_text
    assert SoftPrompt.of_described(wanted.described()) == wanted
