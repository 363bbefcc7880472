"""P-RM in the trainer of P-DPO: its loss by hand, layouts, the alpha mix, what the generic user reads, and its runs."""

import json
from dataclasses import replace

import pytest
import torch
from made_up import USERS, comparisons, dataset, gradients, thumbs, trainer

from prlhf.config import Individual, ModelConfig, Uniform
from prlhf.config.rewards import SoftPrompt
from prlhf.data import Log
from prlhf.errors import CheckpointError, ConfigError, DataError
from prlhf.lm import PersonalizedLM, RewardLM, pair_logprobs
from prlhf.lm.logprobs import _looked_at
from prlhf.rewards import load_reward
from prlhf.training.reward import train_soft_prompt


@torch.no_grad()
def model(base: str, user_model=None, **options) -> RewardLM:
    """Away from step 0, in double precision."""
    lm = RewardLM.create(ModelConfig(base=base, dtype="float64", **options), user_model or Individual(tokens=2), USERS)
    lm.double()
    torch.manual_seed(7)
    for name, p in lm.named_parameters():
        if p.requires_grad and "lora_A" not in name:
            p.add_(torch.randn_like(p) * 0.05)
    if lm.user_model.table is not None:
        lm.user_model.table.weight[0] = 0.0
    lm.reward_head.weight.normal_()
    return lm


@pytest.fixture
def fp64(base_folder):
    return lambda *args, **options: model(base_folder("gpt2", dtype=torch.float64), *args, **options)


def reward(lm, prompt, cut, response, row):
    """By plain concatenation: the head on the last state of one sequence."""
    ids = torch.tensor([[*prompt[:cut], *lm.user_token_ids(row), *prompt[cut:], *response]])
    states = lm.causal_lm.transformer(inputs_embeds=lm._user_tokens.explicit(lm.embedding, ids)).last_hidden_state
    return lm.reward_head.weight[0] @ states[0, -1]


@pytest.mark.parametrize("layout", ["plain", "packed"])
@pytest.mark.parametrize("place", ["start", "before_response"])
def test_a_reward_is_the_head_on_the_state_of_the_last_token(fp64, layout, place):
    lm = fp64(user_tokens_at=place).eval()
    encoded = [lm.template.comparison(c) for c in comparisons(6)]
    values = pair_logprobs(lm, encoded, [[1, 0]] * 6, layout)
    for i, c in enumerate(encoded):
        assert c.chosen[-1] == lm.tokenizer.eos_token_id
        for k, row in enumerate((1, 0)):
            chosen, rejected = (reward(lm, c.prompt, c.cut, y, row).item() for y in c.responses)
            assert values.chosen[i, k].item() == pytest.approx(chosen, abs=1e-9)
            assert values.rejected[i, k].item() == pytest.approx(rejected, abs=1e-9)
    assert (values.chosen[:, 0] - values.chosen[:, 1]).abs().min() > 1e-3  # the user counts


@pytest.mark.parametrize("layout", ["plain", "packed"])
def test_the_loss_by_hand(fp64, tmp_path, layout):
    lm = fp64().eval()
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


LOG = Log(tuple(comparisons(24)), "made up")


def test_two_steps_train_and_a_stopped_run_goes_on(base_folder, tmp_path, monkeypatch):
    wanted = config(base_folder())
    whole = train_soft_prompt(wanted, tmp_path / "whole", log=LOG)
    start = RewardLM.create(wanted.language_model, wanted.user_model, whole.lm.users.ids())
    assert (whole.lm.reward_head.weight - start.reward_head.weight).abs().min() > 0
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
