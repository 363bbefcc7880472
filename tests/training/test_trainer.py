"""The trainer's loss: TRL's numbers, the alpha mix over the global batch, the prior, weights, and what stops it."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import chain

import numpy as np
import pytest
import torch
from made_up import comparisons, dataset, gradients, model, trainer

from prlhf.config import (
    DataConfig,
    Lora,
    RunConfig,
    SplitConfig,
    TrainingConfig,
    Uniform,
)
from prlhf.data import Log, Notes
from prlhf.errors import DataError, TrainingError
from prlhf.lm import PersonalizedLM, pair_logprobs, reference_logprobs
from prlhf.objectives import PairLogps, dpo_loss
from prlhf.training.dataset import LengthBuckets, collate
from prlhf.training.train import prepare, train
from prlhf.training.trainer import PreferenceTrainer
from prlhf.types import Comparison


class Steps:
    """What each step of a run had: ids in order, and the gradients that the optimiser got."""

    def __init__(self, made: PreferenceTrainer):
        self.ids: list[list[str]] = []
        self.gradients: list[dict[str, torch.Tensor]] = []
        self.losses: list[float] = []
        self._loss, self._now = made.compute_loss, []
        made.compute_loss = self._compute
        self._lm = made.model.lm
        made.user_optimizer.register_step_pre_hook(self._before)

    def _compute(self, model, inputs, **kwargs):
        self._now.append(inputs["ids"])
        loss = self._loss(model, inputs, **kwargs)
        self.losses.append(loss.item())
        return loss

    def _before(self, optimizer, args, kwargs):
        for p, g in optimizer._aside.items():
            p.grad = g
        self.gradients.append(gradients(self._lm))
        for p in optimizer._aside:
            p.grad = None
        self.ids.append([i for ids in self._now for i in ids])
        self._now = []


# --- the alpha mix over the global batch ---


@pytest.fixture
def fp64(base_folder):
    return lambda *args, **options: model(base_folder("gpt2", dtype=torch.float64), *args, dtype="float64", **options)


def by_hand(lm, data, ids, alpha, beta=0.1, user_l2=0.0):
    """1/N sum_c w_c (alpha l(user) + (1 - alpha) l(generic)) + user_l2 prior_c penalty_c, comparison by comparison."""
    total = 0.0
    for name in ids:
        i = list(data.ids).index(name)
        row = int(data.rows[i])
        logps = pair_logprobs(lm, [data.encoded[i]], [[row, 0]])
        h = (logps.chosen - logps.rejected)[0] - (data.reference[i, 0] - data.reference[i, 1])
        specific, generic = dpo_loss(h, beta)
        total = total + data.weight[i] * (alpha * specific + (1 - alpha) * generic)
        if user_l2:
            offset = lm.user_model.table.weight[row]
            total = total + user_l2 * data.prior[i] * 0.5 * offset.square().sum()
    return total / len(ids)


@pytest.mark.parametrize("layout", ["plain", "packed"])
def test_the_global_batch_counts_not_the_micro_batch(fp64, tmp_path, layout):
    lm = fp64()
    log = [replace(c, weight=0.5 + i % 3) for i, c in enumerate(comparisons(21))]
    data = dataset(lm, log)
    runs = []
    for size, accumulation in ((8, 1), (4, 2), (2, 4)):
        made = trainer(
            lm, data, tmp_path, alpha=0.3, user_l2=0.2, layout=layout,
            per_device_train_batch_size=size, gradient_accumulation_steps=accumulation,
        )  # fmt: skip
        runs.append(Steps(made))
        made.train()
    assert [len(ids) for ids in runs[0].ids] == [8, 8, 5]
    for other in runs[1:]:
        assert other.ids == runs[0].ids
        assert sum(other.losses) == pytest.approx(sum(runs[0].losses), abs=1e-10)
        for a, b in zip(other.gradients, runs[0].gradients, strict=True):
            assert a.keys() == b.keys()
            assert all((a[name] - b[name]).abs().max() < 1e-10 for name in a)
    for ids, loss, expected in zip(runs[0].ids, runs[0].losses, runs[0].gradients, strict=True):
        lm.zero_grad()
        value = by_hand(lm, data, ids, 0.3, user_l2=0.2)
        assert value.item() == pytest.approx(loss, abs=1e-10)
        value.backward()
        for name, g in gradients(lm).items():
            torch.testing.assert_close(g, expected[name], rtol=0, atol=1e-10)


@pytest.mark.parametrize(("alpha", "branches"), [(0.5, 2), (1.0, 1), (0.0, 1)])
def test_a_branch_that_does_not_count_is_not_computed(fp64, tmp_path, alpha, branches):
    lm = fp64(user_tokens_at="start")
    data = dataset(lm, comparisons(6))
    seen = []
    made = trainer(lm, data, tmp_path, alpha=alpha, per_device_train_batch_size=6)
    steps = Steps(made)
    _ = lm.splits_head  # looked at once, by a pass of its own
    lm.embedding.register_forward_pre_hook(lambda m, args: seen.append(args[0].clone()), prepend=True)
    made.train()
    [ids] = seen
    assert len(ids) == 6 * 2 * branches
    users = {int(t - lm.vocab_rows) // 2 for t in ids[ids >= lm.vocab_rows]}
    assert users == {0.5: {0, 1, 2, 3}, 1.0: {0, 1, 2, 3}, 0.0: {0}}[alpha]  # a comparison without user is generic
    assert steps.losses == [pytest.approx(by_hand(lm, data, steps.ids[0], alpha).item(), abs=1e-10)]


# --- prior and weights ---


def test_an_epoch_adds_up_to_the_prior(fp64, tmp_path):
    lm = fp64()
    log = comparisons(10)
    data = dataset(lm, log, weight=np.zeros(10))  # nothing but the prior
    made = trainer(lm, data, tmp_path, user_l2=0.3, per_device_train_batch_size=4)
    steps = Steps(made)
    made.train()
    total = sum(loss * len(ids) for loss, ids in zip(steps.losses, steps.ids, strict=True))
    offsets = lm.user_model.table.weight[1:]
    assert total == pytest.approx(0.3 / 2 * offsets.square().sum().item())
    summed = sum(g["user_model.table.weight"] * len(ids) for g, ids in zip(steps.gradients, steps.ids, strict=True))
    torch.testing.assert_close(summed[1:], 0.3 * offsets.detach())
    assert not summed[0].any()


def test_the_prior_of_one_user_by_hand(fp64, tmp_path):
    lm = fp64()
    with torch.no_grad():
        lm.user_model.table.weight[1] = 0.5  # 2 tokens x width 32: |o|^2 = 64 / 4 = 16
    log = [replace(c, user="ann") for c in comparisons(4)]
    data = dataset(lm, log, weight=np.zeros(4))
    assert data.prior.tolist() == [0.25] * 4
    made = trainer(lm, data, tmp_path, user_l2=0.1, per_device_train_batch_size=2)
    steps = Steps(made)
    made.train()
    # each comparison pays 0.1 / 2 * 16 / 4 = 0.2, so each batch's mean is 0.2, and the epoch's sum 0.8 = 0.1 / 2 * 16
    assert steps.losses == pytest.approx([0.2, 0.2])


def test_without_their_branch_users_pay_nothing(fp64, tmp_path):
    lm = fp64()
    made = trainer(lm, dataset(lm, comparisons(4), weight=np.zeros(4)), tmp_path, alpha=0.0, user_l2=0.3)
    steps = Steps(made)
    made.train()
    assert steps.losses == [0.0]


def test_only_rows_of_the_batch_move(base_folder, tmp_path):
    lm = model(base_folder())
    log = [replace(c, user="bob") for c in comparisons(4)]
    made = trainer(lm, dataset(lm, log), tmp_path, user_l2=0.1, lr=1e-3, per_device_train_batch_size=4)
    before = lm.user_model.table.weight.detach().clone()
    common = lm.user_model.common.detach().clone()
    made.train()
    changed = (lm.user_model.table.weight != before).any(1)
    assert changed.tolist() == [False, False, True, False]
    assert not torch.equal(lm.user_model.common, common)


def test_a_ranking_moves_its_user_as_one_vote_does(base_folder, tmp_path):
    """Six pairs of weight 1/6, one a step, beside six votes of another user: the way of one vote for the first."""
    moved = {}
    for weight in (1 / 6, 1.0):
        lm = model(base_folder())
        start = lm.user_model.table.weight.detach().clone()
        rows = lm.users.ids([1, 2])
        log = [replace(c, user=rows[i % 2], weight=1.0 if i % 2 else weight) for i, c in enumerate(comparisons(12))]
        data = replace(dataset(lm, log), weight=np.array([c.weight for c in log]))
        trainer(lm, data, tmp_path / str(weight), lr=1e-5, per_device_train_batch_size=2, alpha=1.0).train()
        moved[weight] = (lm.user_model.table.weight.detach() - start).norm(dim=1)
    assert moved[1 / 6][1] / moved[1.0][1] == pytest.approx(1 / 6, rel=0.05)
    assert moved[1 / 6][2] / moved[1.0][2] == pytest.approx(1, rel=0.05)


def test_weights_and_recency(base_folder):
    lm = model(base_folder())
    now = datetime(2024, 5, 1, tzinfo=UTC)
    log = [
        replace(c, weight=w, timestamp=now - timedelta(days=d))
        for c, w, d in zip(comparisons(4), (1, 1, 2, 4), (0, 10, 0, 20), strict=True)
    ]
    plain = prepare(lm, log, RunConfig(), layout="plain", cache=None)
    assert plain.weight.tolist() == [0.5, 0.5, 1, 2]  # mean 1
    config = RunConfig(training=TrainingConfig(half_life_days=10))
    recent = prepare(lm, log, config, layout="plain", cache=None)
    assert recent.weight.tolist() == pytest.approx([4 / 4.5, 2 / 4.5, 8 / 4.5, 4 / 4.5])  # 1, 1/2, 2, 4/4 over 4.5/4
    with pytest.raises(DataError, match="weights of the training comparisons add up to 0"):
        prepare(lm, [replace(c, weight=0.0) for c in log], RunConfig(), layout="plain", cache=None)


def test_cuts_are_counted_and_said(base_folder, caplog):
    lm = model(base_folder(), max_prompt_tokens=12, max_response_tokens=4)
    log = [Comparison("a long question", "yes", "no"), Comparison("short", "a long answer", "no")]
    prepare(lm, log, RunConfig(model=lm.config), layout="plain", cache=None)
    assert "1 of 2 prompts were cut at their left: max_prompt_tokens=12" in caplog.text
    assert "1 of 4 responses were cut at their right: max_response_tokens=4" in caplog.text


# --- what stops it, and what it must not change ---


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_with_the_ids(base_folder, tmp_path, poison):
    lm = model(base_folder())
    data = dataset(lm, comparisons(8))
    data.reference[5] = poison
    made = trainer(lm, data, tmp_path, per_device_train_batch_size=8)
    with pytest.raises(
        TrainingError, match=r"not finite at step 1, for the comparisons row 5; lower training\.learning"
    ):
        made.train()


def log_of(count: int = 24) -> Log:
    made = tuple(comparisons(count))
    return Log(made, "made up", notes=Notes.of(made))


def config_of(base: str, **training) -> RunConfig:
    tree = {
        "data": {"split": {"test": 0.2}},
        "model": {"base": base, "tuning": {"type": "lora", "r": 2}},
        "user_model": {"type": "individual", "tokens": 2},
        "training": {"batch_size": 4, "learning_rate": 1e-3, "device": "cpu", "eval_steps": 0, "save_steps": 0}
        | training,
    }
    return RunConfig.model_validate(tree)


def test_gradient_checkpointing_changes_nothing(base_folder, tmp_path):
    found = []
    for on in (True, False):
        run = train(config_of(base_folder(), gradient_checkpointing=on), tmp_path / str(on), log=log_of(12))
        assert run.lm.causal_lm.is_activation_checkpointing is on
        assert run.lm.user_model.table.weight.abs().sum() > 0
        entries = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
        found.append([e[key] for e in entries for key in ("loss", "grad_norm", "train_loss") if key in e])
    assert len(found[0]) == 3  # Adam makes much of differences near zero, so weights are no measure
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_counts_notes_and_what_is_in_a_run(base_folder, tmp_path, caplog):
    with caplog.at_level("INFO", logger="prlhf"):
        run = train(config_of(base_folder(), eval_steps=2), tmp_path / "run", log=log_of())
    text = caplog.text
    assert "24 comparisons from" in text and "train/test share" in text
    split = json.loads((run.folder / "split.json").read_text())["sides"]
    rows = {c.id: c.user for c in log_of().comparisons}
    users = [rows[i] for i in split["train"]]
    counts = PersonalizedLM.from_pretrained(run.folder).users.counts
    index = run.lm.users
    assert {u: counts[index.rows([u])[0]] for u in ("ann", "bob")} == {u: users.count(u) for u in ("ann", "bob")}
    assert json.loads((run.folder / "data.json").read_text())["notes"] == log_of().notes.text()
    assert {p.name for p in run.folder.iterdir()} == {
        "config.json", "data.json", "split.json", "versions.json", "metrics.jsonl", "evaluation.json", "scores.parquet",
        "per_user.parquet", "model", "plots", "checkpoints",
    }  # fmt: skip
    assert {p.name for p in (run.folder / "plots").iterdir()} == {"learning_curves.png", "per_user.png"}
    entries = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert any("loss" in e and e["step"] == 1 for e in entries)
    assert any("eval_accuracy_seen" in e for e in entries)


def test_the_uniform_model_without_tokens_starts_at_ln_2(base_folder, tmp_path):
    config = config_of(base_folder()).model_copy(update={"user_model": Uniform()})
    run = train(config, tmp_path / "run", log=log_of(12))
    first = json.loads((run.folder / "metrics.jsonl").read_text().splitlines()[0])
    assert first["step"] == 1 and first["loss"] == pytest.approx(np.log(2), abs=1e-6)


def test_a_log_without_users_is_refused_unless_there_are_no_people(base_folder, tmp_path):
    log = log_of(12)
    nameless = Log(tuple(replace(c, user=None) for c in log.comparisons), "made up", notes=Notes(nobody="no column x"))
    config = config_of(base_folder(), max_steps=1)
    with pytest.raises(DataError, match=r"made up: no comparison names a user.*: no column x\. .*uniform.*--alpha 0"):
        train(config, tmp_path / "run", log=nameless)
    without = config.model_copy(update={"alpha": 0.0})
    assert train(without, tmp_path / "run", log=nameless).metrics.seen_users == 0  # the folder is free
    uniform = config.model_copy(update={"user_model": Uniform(tokens=1)})
    assert train(uniform, tmp_path / "uniform", log=nameless).metrics is not None


def test_a_held_out_prompt_comes_with_the_result(base_folder, tmp_path):
    log = log_of()
    log = replace(
        log, comparisons=tuple(replace(c, user_text=f"{c.user}, aged {i}") for i, c in enumerate(log.comparisons))
    )
    done = train(config_of(base_folder(), max_steps=1), tmp_path / "run", log=log)
    training = json.loads((done.folder / "split.json").read_text())["sides"]["train"]
    anns = [c.user_text for c in log.comparisons if c.user == "ann" and c.id in training]
    assert done.user_texts["ann"] == anns[-1]
    assert set(done.user_texts) == set(done.lm.users.ids([1, 2]))  # those who are shown, of more
    assert len(done.lm.users) > 2 and done.lm.with_user_text
    ids = json.loads((done.folder / "split.json").read_text())["sides"]["test"]
    assert done.sample in {c.prompt for c in log.comparisons if c.id in ids}
    alone = config_of(base_folder(), max_steps=1)
    alone = alone.model_copy(update={"data": DataConfig(split=SplitConfig(test=0.0))})
    assert train(alone, tmp_path / "alone", log=log).sample is None


# --- the order ---


def test_the_sampler_gives_every_index_once():
    lengths = np.random.default_rng(0).integers(1, 100, 103)
    sampler = LengthBuckets(lengths, 8, seed=3)
    first = list(sampler)
    assert sorted(first) == list(range(103)) and len(sampler) == 103
    assert first == list(LengthBuckets(lengths, 8, seed=3))
    assert first != list(LengthBuckets(lengths, 8, seed=4))
    sampler.set_epoch(1)
    assert sorted(sampler) == list(range(103)) and list(sampler) != first
    sampler = LengthBuckets(np.tile(lengths, 10), 8)
    lengths = sampler.lengths
    first = list(sampler)
    spread = [np.ptp(lengths[first[i : i + 8]]) for i in range(0, 1024, 8)]
    assert np.mean(spread) < 20 < np.ptp(lengths)


def test_each_epoch_has_its_own_order_also_after_a_resume(base_folder, tmp_path):
    lm = model(base_folder())
    data = dataset(lm, comparisons(10))
    args = {"num_train_epochs": 3, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "lr": 1e-3}
    made = trainer(lm, data, tmp_path, save_strategy="steps", save_steps=1, **args)
    whole = Steps(made)
    made.train()
    sampler = LengthBuckets([c.length for c in data.encoded], 4, made.args.seed)
    expected: list[list[str]] = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        expected.append([data.ids[i] for i in sampler])
    assert [list(chain(*whole.ids[i : i + 3])) for i in (0, 3, 6)] == expected
    assert expected[0] != expected[1] != expected[2]
    for step in (3, 4):
        again = trainer(model(base_folder()), data, tmp_path, **args)
        rest = Steps(again)
        again.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{step}"))
        assert rest.ids == whole.ids[step:]


def test_a_checkpoint_holds_what_is_trained_and_nothing_is_missed(base_folder, tmp_path, caplog):
    from safetensors.torch import load_file

    lm = model(base_folder(), tuning=Lora(r=2))
    args = {"save_strategy": "steps", "save_steps": 1, "lr": 1e-3, "per_device_train_batch_size": 4}
    made = trainer(lm, dataset(lm, comparisons(4)), tmp_path, **args)
    made.train()
    held = load_file(tmp_path / "checkpoint-1" / "model.safetensors")
    assert held.keys() == {f"lm.{n}" for n, p in lm.named_parameters() if p.requires_grad}
    again = trainer(model(base_folder(), tuning=Lora(r=2)), dataset(lm, comparisons(4)), tmp_path, **args)
    again.model.load_state_dict(held)  # strict: what is frozen is not missed
    for (name, a), (_, b) in zip(lm.named_parameters(), again.model.lm.named_parameters(), strict=True):
        assert torch.equal(a, b), name
    del held["lm.user_model.table.weight"]
    with pytest.raises(RuntimeError, match=r"Missing key.*user_model\.table\.weight"):
        again.model.load_state_dict(held)


def test_objectives_see_policy_and_reference(fp64, tmp_path):
    lm = fp64()
    data = dataset(lm, comparisons(3))
    seen = []

    def objective(policy: PairLogps, reference: PairLogps, ties: torch.Tensor) -> torch.Tensor:
        seen.append((policy, reference))
        return (policy.chosen - reference.chosen) * 0.0

    made = trainer(lm, data, tmp_path)
    made.losses.objective = objective
    made.compute_loss(made.model, collate([data[i] for i in range(3)]))
    policy, reference = seen[0]
    assert policy.chosen.shape == (3, 2) and reference.chosen.shape == (3, 1)
    assert reference.chosen[:, 0].tolist() == pytest.approx(reference_logprobs(lm, list(data.encoded))[:, 0].tolist())
