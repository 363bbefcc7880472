"""A batch that is gone through in parts."""

from itertools import chain

import pytest
import torch
from made_up import comparisons, dataset, gradients, model, thumbs, trainer

from prlhf.config import Kto, RunConfig, TrainingConfig
from prlhf.lm import PersonalizedLM
from prlhf.training.parts import most_tokens, parts_of


def test_each_item_is_in_one_part_and_no_part_is_too_large():
    lengths = [30, 7, 90, 31, 8, 29, 6]
    batch = {"ids": [str(n) for n in lengths], "length": torch.tensor(lengths)}
    made = parts_of(batch, [(2, n) for n in lengths], 120)
    assert sorted(chain.from_iterable(part["ids"] for part in made)) == sorted(batch["ids"])
    assert [part["length"].tolist() for part in made] == [[6, 7, 8], [29, 30], [31], [90]]
    assert all([str(n) for n in part["length"].tolist()] == part["ids"] for part in made)
    for most in (None, 2 * 90 * 7):
        assert parts_of(batch, [(2, n) for n in lengths], most) == [batch]


def test_how_many_tokens():
    assert most_tokens(TrainingConfig(), "cpu") == 4096
    assert most_tokens(TrainingConfig(), "cuda:1") is None
    for device in ("cpu", "cuda"):
        assert most_tokens(TrainingConfig(tokens_at_once=10), device) == 10


@pytest.mark.parametrize("layout", ["plain", "packed"])
@pytest.mark.parametrize("objective", ["dpo", "kto"])
def test_the_gradient_is_that_of_the_whole(base_folder, tmp_path, layout, objective):
    lm = model(base_folder("gpt2", dtype=torch.float64), dtype="float64")
    kto = Kto() if objective == "kto" else None
    data = dataset(lm, thumbs(8), RunConfig(objective=kto)) if kto else dataset(lm, comparisons(8))
    found = []
    for most in (None, 400, 1):
        made = trainer(lm, data, tmp_path, objective=kto, user_l2=0.2, layout=layout, per_device_train_batch_size=8)
        made.most_tokens = most
        batches, count = made.get_batch_samples(iter(made.get_train_dataloader()), 1, torch.device("cpu"))
        lm.zero_grad()
        passes = forwards(lm)
        made.accelerator.gradient_state._set_sync_gradients(False)  # or the user table's would be set aside
        loss = made.training_step(made.model, batches[0], count)
        found.append((len(passes), loss.item(), gradients(lm)))
    assert found[0][0] == 1 < found[1][0] < found[2][0] == 8
    for _, loss, grads in found[1:]:
        assert loss == pytest.approx(found[0][1], abs=1e-12)
        assert grads.keys() == found[0][2].keys() and any("table" in name for name in grads)
        for name, g in grads.items():
            torch.testing.assert_close(g, found[0][2][name], rtol=0, atol=1e-12)


def forwards(lm: PersonalizedLM) -> list[int]:
    """Grows by one with each forward pass of training from now on."""
    _ = lm.splits_head  # looked at once, by a pass of its own
    seen: list[int] = []
    lm.decoder.register_forward_pre_hook(lambda module, args: seen.append(1) if torch.is_grad_enabled() else None)
    return seen
