"""One drawn branch instead of both: an unbiased estimate of the mix, the same whatever the batches."""

import numpy as np
import pytest
import torch
from made_up import comparisons, dataset, gradients, model, trainer

from prlhf.config import Kto, RunConfig
from prlhf.errors import ConfigError
from prlhf.lm import pair_logprobs
from prlhf.training.branches import Branches
from prlhf.training.dataset import collate
from prlhf.training.sides import check_batch

IDS = [f"row {i}" for i in range(2000)]


def test_the_users_branch_is_drawn_with_probability_alpha():
    for alpha in (0.2, 0.5, 0.9):
        drawn = Branches(alpha, sampled=True).rows([7] * 2000, IDS, step=3)
        share = np.mean([rows == [7] for rows in drawn])
        assert all(rows in ([7], [0]) for rows in drawn)
        assert abs(share - alpha) < 4 * (alpha * (1 - alpha) / 2000) ** 0.5


def test_draws_are_of_seed_step_and_comparison_alone():
    branches = Branches(0.5, sampled=True, seed=1)
    whole = branches.rows([7] * 2000, IDS, step=3)
    assert whole == branches.rows([7] * 1000, IDS[:1000], step=3) + branches.rows([7] * 1000, IDS[1000:], step=3)
    for other in (Branches(0.5, True, 2).rows([7] * 2000, IDS, 3), branches.rows([7] * 2000, IDS, 4)):
        assert 800 < sum(a == b for a, b in zip(whole, other, strict=True)) < 1200


@pytest.mark.parametrize("sampled", [True, False])
def test_an_alpha_of_0_or_1_leaves_nothing_to_draw(sampled):
    assert Branches(1.0, sampled).rows([5, 6], IDS[:2], 0) == [[5], [6]]
    assert Branches(0.0, sampled).rows([5, 6], IDS[:2], 0) == [[0], [0]]


@pytest.mark.parametrize("layout", ["packed", "plain"])
def test_the_mean_over_the_draws_is_the_mix(base_folder, tmp_path, layout):
    """Of one comparison the two draws are enumerated: the loss and all gradients, weighted by their probabilities."""
    lm = model(base_folder(dtype=torch.float64), dtype="float64")
    data = dataset(lm, comparisons(1))
    made = trainer(lm, data, tmp_path, alpha=0.3, sampled=True, layout=layout)
    batch = collate([data[0]])
    found = {}
    for step in range(64):
        made.state.global_step = step
        [[row]] = made.branches.rows(batch["rows"].tolist(), batch["ids"], step)
        if row not in found:
            lm.zero_grad()
            loss = made.compute_loss(made.model, batch)
            loss.backward()
            found[row] = (loss.item(), gradients(lm))
    full = trainer(lm, data, tmp_path, alpha=0.3, layout=layout)
    lm.zero_grad()
    loss = full.compute_loss(full.model, batch)
    loss.backward()
    assert set(found) == {0, 1}
    assert loss.item() == pytest.approx(0.3 * found[1][0] + 0.7 * found[0][0], abs=1e-12)
    for name, g in gradients(lm).items():
        zero = torch.zeros_like(g)
        torch.testing.assert_close(g, 0.3 * found[1][1].get(name, zero) + 0.7 * found[0][1].get(name, zero))


def test_a_sampled_step_does_half_the_work(base_folder, tmp_path):
    lm = model(base_folder(), user_tokens_at="start")
    made = trainer(lm, dataset(lm, comparisons(6)), tmp_path, sampled=True, per_device_train_batch_size=6)
    _ = lm.splits_head  # looked at once, by a pass of its own
    seen = []
    lm.embedding.register_forward_pre_hook(lambda m, args: seen.append(len(args[0])), prepend=True)
    made.train()
    assert seen == [6 * 2]  # chosen and rejected of one branch each


def test_without_sampling_both_branches_are_those_of_the_rows(base_folder):
    lm = model(base_folder())
    data = dataset(lm, comparisons(2))
    both = Branches(0.5).rows([1, 2], IDS[:2], 0)
    assert both == [[1, 0], [2, 0]]
    assert pair_logprobs(lm, data.encoded, both).chosen.shape == (2, 2)


def test_thumbs_want_both():
    with pytest.raises(ConfigError, match=r"training\.branches.*take both"):
        check_batch(RunConfig.model_validate({"objective": Kto(), "training": {"branches": "sampled"}}))
