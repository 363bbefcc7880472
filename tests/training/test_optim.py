"""The optimiser: the row-wise rule by hand, what stays untouched, and what the Trainer needs of it."""

import math
import time

import pytest
import torch
from torch import nn
from transformers import Trainer, TrainingArguments, get_scheduler

from prlhf.config import Cluster, Individual, LowRank, Uniform
from prlhf.errors import CheckpointError, TrainingError
from prlhf.training.optim import UserAdamW, make_optimizer
from prlhf.users import make_user_model


def table(n=6, s=2, value=1.0):
    return nn.Embedding(n, s, sparse=True, _weight=torch.full((n, s), value))


def rowwise(embedding, lr=0.1, **options):
    return UserAdamW([{"params": [embedding.weight], "rowwise": True}], lr=lr, **options)


def give(embedding, rows, gradient):
    """Let row `rows[i]` have the gradient `gradient[i]`, through autograd as in training."""
    embedding.weight.grad = None
    (embedding(torch.tensor(rows)) * torch.tensor(gradient)).sum().backward()


def test_two_steps_by_hand():
    users = table()
    optimizer = rowwise(users, betas=(0.9, 0.75), eps=0.0)
    # step 1, g = (3, 4): v = 0.25 * 12.5, corrected by 1 - 0.75 = 0.25 to 12.5; w = 1 - 0.1 g / sqrt(12.5)
    give(users, [2], [[3.0, 4.0]])
    optimizer.step()
    first = [1 - 0.1 * g / math.sqrt(12.5) for g in (3, 4)]
    assert users.weight[2].tolist() == pytest.approx(first)
    # step 2, row 2 twice in the batch: g = (1, 0) + (1, 2) = (2, 2), mean square 4;
    # v = 0.75 * 3.125 + 0.25 * 4 = 3.34375, corrected by 1 - 0.5625 = 0.4375
    give(users, [2, 5, 2], [[1.0, 0.0], [-1.0, 1.0], [1.0, 2.0]])
    optimizer.step()
    scale = math.sqrt(3.34375 / 0.4375)
    assert users.weight[2].tolist() == pytest.approx([w - 0.1 * 2 / scale for w in first])
    # row 5 takes its own first step, corrected by its own count: v / correction = 1
    assert users.weight[5].tolist() == pytest.approx([1.1, 0.9])
    state = optimizer.state[users.weight]
    assert state["count"].tolist() == [0, 0, 2, 0, 0, 1]
    assert state["square"].tolist() == pytest.approx([0, 0, 3.34375, 0, 0, 0.25])


def test_a_weight_scales_how_far_a_row_moves():
    """Gradients come weighted from the loss; `v` would take that out again."""
    moved = {}
    for weight in (1.0, 1 / 6, 0.0):
        users = table(value=0.0).double()
        optimizer = rowwise(users, lr=0.1)
        for _ in range(3):
            give(users, [2, 4], [[3.0 * weight, 4.0 * weight], [1.0, 1.0]])
            optimizer.weigh([(2, weight), (4, 1.0)])
            optimizer.step()
        moved[weight] = users.weight[2].detach()
        assert users.weight[4].tolist() == pytest.approx([-0.3, -0.3])
    assert torch.allclose(moved[1 / 6], moved[1.0] / 6) and moved[1.0].abs().min() > 0.1
    assert moved[0.0].tolist() == [0, 0]


def test_a_row_that_is_not_named_has_the_mean_weight():
    users = table(value=0.0).double()
    optimizer = rowwise(users, lr=0.1, eps=0.0)
    give(users, [0, 3], [[0.5, 0.5], [0.2, 0.2]])
    optimizer.weigh([(3, 0.2), (3, 0.6), (0, 1.0)])  # row 0 learns from all three, whoever they are of
    optimizer.step()
    assert users.weight[0].tolist() == pytest.approx([-0.06, -0.06])
    assert users.weight[3].tolist() == pytest.approx([-0.04, -0.04])


def test_rows_outside_the_batch_keep_their_bits_and_state():
    torch.manual_seed(0)
    users = table(50, 3)
    nn.init.normal_(users.weight)
    optimizer = rowwise(users)
    give(users, [1, 7, 9], torch.randn(3, 3).tolist())
    optimizer.step()
    before, state = users.weight.detach().clone(), {k: v.clone() for k, v in optimizer.state[users.weight].items()}
    give(users, [7, 20], torch.randn(2, 3).tolist())
    optimizer.step()
    others = [i for i in range(50) if i not in (7, 20)]
    assert torch.equal(users.weight[others], before[others])
    assert all(torch.equal(optimizer.state[users.weight][key][others], state[key][others]) for key in state)
    assert (users.weight[[7, 20]] != before[[7, 20]]).all()


def test_a_row_with_zero_gradient_does_not_move():
    users = table()
    optimizer = rowwise(users)
    give(users, [3], [[0.0, 0.0]])
    optimizer.step()
    assert users.weight.tolist() == table().weight.tolist()
    optimizer.zero_grad()
    optimizer.step()  # and no gradient at all is nothing to do
    assert users.weight.tolist() == table().weight.tolist()


def test_gradients_of_accumulated_micro_batches_add_up():
    once, twice = table(), table()
    give(once, [1, 4, 1], [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    for rows, gradient in (([1, 4], [[1.0, 2.0], [3.0, 4.0]]), ([1], [[5.0, 6.0]])):
        (twice(torch.tensor(rows)) * torch.tensor(gradient)).sum().backward()
    for users in (once, twice):
        rowwise(users).step()
    assert torch.equal(once.weight, twice.weight)


def test_dense_gradients_in_a_rowwise_group_are_refused():
    users = nn.Embedding(4, 2)
    users(torch.tensor([1])).sum().backward()
    with pytest.raises(TrainingError, match="sparse=True"):
        rowwise(users).step()


def model_and_optimizer(config=None, seed=0, **options):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3))
    users = make_user_model(config or LowRank(tokens=2, rank=3), 9, torch.randn(20, 4), seed=seed)
    options = {"learning_rate": 1e-2, "user_learning_rate": 1e-1, "weight_decay": 0.1, "max_grad_norm": 1.0} | options
    return net, users, make_optimizer(users, net.named_parameters(), **options)


def train(net, users, optimizer, steps, start=0, scheduler=None):
    for step in range(start, start + steps):
        generator = torch.Generator().manual_seed(step)
        rows = torch.randint(0, users.n, (4,), generator=generator)
        target = torch.randn(4, users.tokens, 3, generator=generator)
        optimizer.zero_grad()
        ((net(users(rows)) - target).square().mean() + 0.1 * users.penalty(rows).mean()).backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()


def weights(net, users):
    return [p.detach().clone() for p in (*net.parameters(), *users.parameters())]


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_the_dense_part_is_torch_adamw_with_clipping():
    net, users, optimizer = model_and_optimizer(Uniform(tokens=2), max_grad_norm=0.05)
    twin, twins, _ = model_and_optimizer(Uniform(tokens=2))
    groups = [
        {"params": [twin[0].weight], "weight_decay": 0.1},
        {"params": [twin[0].bias, twin[1].weight, twin[1].bias]},
        {"params": list(twins.parameters()), "lr": 1e-1},
    ]
    plain = torch.optim.AdamW(groups, lr=1e-2, weight_decay=0.0)
    plain.register_step_pre_hook(
        lambda *_: nn.utils.clip_grad_norm_([*twin.parameters(), *twins.parameters()], 0.05) and None
    )
    train(net, users, optimizer, 5)
    train(twin, twins, plain, 5)
    assert same(weights(net, users), weights(twin, twins))
    assert optimizer.grad_norm.item() > 0.05


def test_groups():
    for config, shared in ((Uniform(tokens=2), 1), (Individual(tokens=2), 1), (Cluster(tokens=2), 1), (LowRank(), 2)):
        net, users, optimizer = model_and_optimizer(config)
        groups = {group["name"]: group for group in optimizer.param_groups}
        assert len(groups["user_shared"]["params"]) == shared and groups["user_shared"]["lr"] == 1e-1
        assert groups["user_shared"]["weight_decay"] == 0 and groups["vectors"]["weight_decay"] == 0
        assert groups["matrices"]["weight_decay"] == 0.1 and len(groups["vectors"]["params"]) == 3
        assert ("users" in groups) == (users.table is not None)
        if users.table is not None:
            assert groups["users"]["params"] == [users.table.weight] and groups["users"]["lr"] == 1e-1
        assert sum(len(g["params"]) for g in groups.values()) == len(weights(net, users))


def test_frozen_parameters_and_the_user_models_own_are_left_out():
    users = make_user_model(Individual(tokens=1), 3, torch.randn(5, 4))
    whole = nn.ModuleDict({"net": nn.Linear(4, 4), "users": users})
    whole["net"].weight.requires_grad_(False)
    optimizer = make_optimizer(users, whole.named_parameters(), 1e-2, 1e-1)
    assert [g["name"] for g in optimizer.param_groups] == ["vectors", "user_shared", "users"]
    assert sum(len(g["params"]) for g in optimizer.param_groups) == 3
    with pytest.raises(TrainingError, match="nothing to train"):
        make_optimizer(make_user_model(Uniform(), 3, torch.randn(5, 4)), [], 1e-2, 1e-1)
    bare = make_user_model(Individual(tokens=1, common=False), 3, torch.randn(5, 4))
    only_rows = make_optimizer(bare, [], 1e-2, 1e-1)
    bare(torch.tensor([1])).sum().backward()
    only_rows.step()
    assert (bare.table.weight[1] != bare.table.weight[2]).all()


@pytest.mark.parametrize("config", [Individual(tokens=2), Cluster(tokens=2), LowRank(tokens=2), Uniform(tokens=2)])
def test_a_resumed_run_continues_bit_for_bit(config, tmp_path):
    def schedule(optimizer):
        return get_scheduler("cosine", optimizer, num_warmup_steps=2, num_training_steps=12)

    net, users, optimizer = model_and_optimizer(config)
    scheduler = schedule(optimizer)
    train(net, users, optimizer, 5, scheduler=scheduler)
    torch.save({"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}, tmp_path / "state.pt")
    half = weights(net, users)
    train(net, users, optimizer, 5, start=5, scheduler=scheduler)

    again, others, fresh = model_and_optimizer(config, seed=1)
    with torch.no_grad():
        for p, value in zip((*again.parameters(), *others.parameters()), half, strict=True):
            p.copy_(value)
    saved = torch.load(tmp_path / "state.pt", weights_only=True)
    scheduler = schedule(fresh)
    fresh.load_state_dict(saved["optimizer"])
    scheduler.load_state_dict(saved["scheduler"])
    train(again, others, fresh, 5, start=5, scheduler=scheduler)
    assert same(weights(again, others), weights(net, users))
    assert not same(weights(again, others), half)


def test_without_the_saved_state_a_run_goes_another_way():
    """The comparison above can fail: the state matters."""
    net, users, optimizer = model_and_optimizer()
    train(net, users, optimizer, 5)
    half = weights(net, users)
    train(net, users, optimizer, 2, start=5)
    again, others, fresh = model_and_optimizer()
    with torch.no_grad():
        for p, value in zip((*again.parameters(), *others.parameters()), half, strict=True):
            p.copy_(value)
    train(again, others, fresh, 2, start=5)
    assert not same(weights(again, others), weights(net, users))


def test_schedulers_reach_every_group():
    net, users, optimizer = model_and_optimizer()
    scheduler = get_scheduler("linear", optimizer, num_warmup_steps=0, num_training_steps=4)
    train(net, users, optimizer, 2, scheduler=scheduler)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([5e-3, 5e-3, 5e-2, 5e-2])
    train(net, users, optimizer, 2, start=2, scheduler=scheduler)
    before = weights(net, users)
    train(net, users, optimizer, 1, start=4)  # every learning rate is 0 now, the inner AdamW's too
    assert same(weights(net, users), before)


def test_step_hooks_run_once():
    net, users, optimizer = model_and_optimizer()
    calls = []
    optimizer.register_step_pre_hook(lambda *_: calls.append("before"))
    optimizer.register_step_post_hook(lambda *_: calls.append("after"))
    train(net, users, optimizer, 1)
    assert calls == ["before", "after"]


def test_sparse_gradients_set_aside_wait_in_the_optimiser():
    users = table()
    optimizer = rowwise(users)
    give(users, [2], [[1.0, 1.0]])
    assert users.weight.grad is not None
    optimizer.set_aside()
    assert users.weight.grad is None
    optimizer.zero_grad()  # forgotten
    optimizer.step()
    assert torch.equal(users.weight, table().weight)
    give(users, [2], [[1.0, 1.0]])
    optimizer.set_aside()
    optimizer.step()
    moved = users.weight.detach().clone()
    optimizer.step()  # used up
    assert torch.equal(users.weight, moved) and not torch.equal(moved, table().weight)


def test_what_is_set_aside_adds_up_with_what_comes_later():
    once, twice = table(), table()
    give(once, [1, 4, 1], [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    optimizers = rowwise(once), rowwise(twice)
    give(twice, [1, 4], [[1.0, 2.0], [3.0, 4.0]])
    optimizers[1].set_aside()
    give(twice, [1], [[5.0, 6.0]])
    for optimizer in optimizers:
        optimizer.step()
    assert torch.equal(once.weight, twice.weight)


class Regression(nn.Module):
    def __init__(self):
        super().__init__()
        self.net, self.users, self.optimizer = model_and_optimizer()

    def forward(self, rows, target):
        return {"loss": (self.net(self.users(rows)).mean((1, 2)) - target).square().mean()}


class SetsAside(Trainer):
    def training_step(self, *args, **kwargs):
        loss = super().training_step(*args, **kwargs)
        if self.accelerator.sync_gradients:
            self.model.optimizer.set_aside()
        return loss


def test_the_transformers_trainer_can_use_and_resume_it(tmp_path):
    data = [{"rows": torch.tensor(i % 9), "target": torch.tensor(float(i % 3))} for i in range(32)]

    def run(resume=None):
        model = Regression()
        args = TrainingArguments(
            str(tmp_path), max_steps=4, per_device_train_batch_size=2, gradient_accumulation_steps=2, save_steps=2,
            max_grad_norm=0, logging_steps=1, report_to=[], disable_tqdm=True, use_cpu=True,
            remove_unused_columns=False, dataloader_pin_memory=False,
        )  # fmt: skip
        trainer = SetsAside(model, args, train_dataset=data, optimizers=(model.optimizer, None))
        trainer.train(resume_from_checkpoint=resume)
        assert all(entry["grad_norm"] > 0 for entry in trainer.state.log_history if "grad_norm" in entry)
        return weights(model.net, model.users)

    whole = run()
    assert not same(whole, weights(*model_and_optimizer()[:2]))
    assert same(run(str(tmp_path / "checkpoint-2")), whole)


def test_closure():
    users = table()
    optimizer = rowwise(users)

    def closure():
        optimizer.zero_grad()
        loss = users(torch.tensor([1])).sum()
        loss.backward()
        return loss.item()

    assert optimizer.step(closure) == 2.0 and users.weight[1].tolist() == pytest.approx([0.9, 0.9])


def test_a_state_of_another_number_of_users_is_refused():
    net, users, optimizer = model_and_optimizer()
    train(net, users, optimizer, 1)
    saved = optimizer.state_dict()
    users.add(2)
    grown = make_optimizer(users, net.named_parameters(), 1e-2, 1e-1)
    with pytest.raises(CheckpointError, match="of 9 users, the user table has 11 rows"):
        grown.load_state_dict(saved)


def seconds_per_step(n):
    users = table(n, 8)
    optimizer = rowwise(users)
    rows = torch.arange(32) % n
    times = []
    for _ in range(12):
        optimizer.zero_grad()
        users(rows).square().sum().backward()
        start = time.perf_counter()
        optimizer.step()
        times.append(time.perf_counter() - start)
    return min(times[2:])


def test_the_cost_of_a_step_does_not_grow_with_the_users():
    small, large = seconds_per_step(100), seconds_per_step(1_000_000)
    # a pass over the large table takes several milliseconds; the step itself is some tenths of one for either
    assert large < 5 * small + 2e-3


def test_what_a_step_allocates_does_not_grow_with_the_users():
    def allocated(n):
        users = table(n, 8)
        optimizer = rowwise(users)
        for profiled in (False, True):
            optimizer.zero_grad()
            users(torch.arange(32)).square().sum().backward()
            if not profiled:
                optimizer.step()  # makes the state, once
                continue
            with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as p:
                optimizer.step()
        return sum(max(event.self_cpu_memory_usage, 0) for event in p.key_averages())

    small, large = allocated(100), allocated(1_000_000)
    assert small > 0 and large < 2 * small
