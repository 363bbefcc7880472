"""What the number of users may not cost: memory and touched rows of a training step, bytes of state and checkpoint."""

import pytest
import torch
from made_up import comparisons, dataset, model, trainer
from transformers import TrainerCallback

from prlhf.config import Cluster, Individual, LowRank

MANY = 30_000
CONFIGS = [Individual(tokens=1), Cluster(tokens=2, clusters=4), LowRank(tokens=2, rank=4)]


class Allocated(TrainerCallback):
    """What the third step allocates: by then there is an optimiser state."""

    def __init__(self) -> None:
        self.profile = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True)

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == 2:
            self.profile.start()

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 3:
            self.profile.stop()

    @property
    def bytes(self) -> int:
        return sum(max(event.self_cpu_memory_usage, 0) for event in self.profile.key_averages())


def trained(base, folder, config, more):
    """A model of three users and `more`, after four steps on comparisons of the three; what the third allocated."""
    lm = model(base, config)
    lm.add_users([f"other {i}" for i in range(more)])
    before = None if not more else lm.user_model.table.weight.detach().clone()
    watch = Allocated()
    made = trainer(
        lm, dataset(lm, comparisons(16)), folder, lr=1e-3, user_l2=0.1, callbacks=[watch], save_steps=4,
        save_strategy="steps", per_device_train_batch_size=4,
    )  # fmt: skip
    made.train()
    return lm, made, before, watch.bytes


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.type)
def test_a_step_allocates_and_changes_as_much_with_many_users_as_with_few(base_folder, tmp_path, config):
    *_, small = trained(base_folder(), tmp_path / "few", config, 0)
    lm, made, before, large = trained(base_folder(), tmp_path / "many", config, MANY)
    assert small > 0 and large < 1.01 * small
    table = lm.user_model.table.weight
    changed = (table.detach() != before).any(1).nonzero()[:, 0].tolist()
    assert changed == ([1, 2, 3] if lm.user_model.pinned else [0, 1, 2, 3])
    state = made.user_optimizer.state[table]
    assert sum(value.nbytes for value in state.values()) == 8 * len(table)  # a second moment and a count, no width
    assert state["count"].count_nonzero() == len(changed)


def test_a_training_checkpoint_grows_by_the_table_and_its_state_alone(base_folder, tmp_path):
    config, sizes = LowRank(tokens=2, rank=4), {}
    for more in (0, MANY):
        trained(base_folder(), tmp_path / str(more), config, more)
        files = (tmp_path / str(more) / "checkpoint-4").iterdir()
        sizes[more] = sum(path.stat().st_size for path in files)
    a_user = 4 * 4 + 2 * 4  # four factors and two numbers of the optimiser
    assert sizes[MANY] - sizes[0] == pytest.approx(MANY * a_user, rel=1e-3)
