"""Training on thumbs: z0 of the global batch and of each branch, mismatched responses, and whole runs."""

import json
import shutil
from collections import Counter
from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
import torch
from made_up import WORDS, comparisons, dataset, gradients, model, thumbs, trainer

from prlhf.config import DataConfig, Kto, RunConfig
from prlhf.data import Log, Notes, split
from prlhf.data.facts import FACT, Facts
from prlhf.data.mismatched import Unpaired, mismatched
from prlhf.errors import ConfigError, DataError
from prlhf.evaluation import evaluate
from prlhf.lm import PersonalizedLM, pair_logprobs
from prlhf.objectives import PairLogps, ThumbObjective, kto_loss, make_objective
from prlhf.training.dataset import LengthBuckets, collate
from prlhf.training.dry_run import dry_run
from prlhf.training.losses import ThumbLosses
from prlhf.training.sft_rows import load_rows
from prlhf.training.shares import Counted
from prlhf.training.train import train
from prlhf.types import Comparison, Thumb

KTO = Kto(beta=0.2, desirable_weight=1.5)


@pytest.fixture
def fp64(base_folder):
    return lambda **options: model(base_folder("gpt2", dtype=torch.float64), dtype="float64", **options)


def thumbs_of(lm, log, **changes):
    return dataset(lm, log, config=RunConfig(objective=KTO), **changes)


def steps(made) -> list[tuple[list[list[str]], torch.Tensor, float, dict]]:
    """Of every step: the ids of its micro-batches, z0, the loss, the gradients. Nothing is learned."""
    found = []
    size = made.args.gradient_accumulation_steps
    batches = iter(made.get_train_dataloader())
    while True:
        some, count = made.get_batch_samples(batches, size, torch.device("cpu"))
        if not some:
            return found
        made.model.zero_grad()
        losses = [made.compute_loss(made.model, batch, num_items_in_batch=count) for batch in some]
        sum(losses).backward()
        found.append(([b["ids"] for b in some], some[0]["z0"][0], sum(losses).item(), gradients(made.model.lm)))


def by_hand(lm, data, ids, alpha):
    """z0 of both branches, and 1/N sum_i w_i (alpha l(user) + (1 - alpha) l(generic)), thumb by thumb."""
    rows = [list(data.ids).index(name) for name in ids]
    ratio = lambda e, ref, row: pair_logprobs(lm, [e], [[row, 0]]).chosen[0] - ref  # noqa: E731
    strange = [ratio(data.mismatched[i], data.mismatched_reference[i], int(data.rows[i])) for i in rows]
    z0 = torch.stack(strange).mean(0).clamp(min=0).detach()
    total = 0.0
    for i in rows:
        r = ratio(data.encoded[i], data.reference[i, 0], int(data.rows[i]))
        specific, generic = kto_loss(r, z0, torch.tensor(bool(data.up[i])), 0.2, 1.5)
        total = total + data.weight[i] * (alpha * specific + (1 - alpha) * generic)
    return z0, total / len(rows)


def likelier(lm, data) -> None:
    """Move the model so that z0 is above 0."""
    pair_logprobs(lm, data.mismatched, [[int(r)] for r in data.rows]).chosen.mean().backward()
    for p in (p for p in lm.parameters() if p.grad is not None):
        grad = p.grad.to_dense() if p.grad.is_sparse else p.grad
        p.data += 0.2 * grad / grad.norm().clamp(min=1e-9)
    lm.zero_grad()


@pytest.mark.parametrize("layout", ["plain", "packed"])
def test_z0_is_of_the_global_batch_and_of_each_branch(fp64, tmp_path, layout):
    lm = fp64()
    data = thumbs_of(lm, [replace(t, weight=0.5 + i % 3) for i, t in enumerate(thumbs(13))])
    likelier(lm, data)
    runs = []
    for size, accumulation in ((6, 1), (3, 2), (2, 3)):
        made = trainer(
            lm, data, tmp_path, alpha=0.3, objective=KTO, layout=layout,
            per_device_train_batch_size=size, gradient_accumulation_steps=accumulation,
        )  # fmt: skip
        runs.append(steps(made))
    for number in range(2):  # 13 thumbs: two steps of six, and one thumb alone is left out
        ids = [list(chain.from_iterable(run[number][0])) for run in runs]
        assert len(runs[0]) == 2 and ids[0] == ids[1] == ids[2] and len(set(ids[0])) == 6
        lm.zero_grad()
        z0, loss = by_hand(lm, data, ids[0], 0.3)
        loss.backward()
        assert z0[0] > 0.01 and z0[0] != z0[1]
        for run in runs:
            _, found, value, grads = run[number]
            assert found.tolist() == pytest.approx(z0.tolist(), abs=1e-10)
            assert value == pytest.approx(loss.item(), abs=1e-10)
            for name, g in gradients(lm).items():
                torch.testing.assert_close(grads[name], g, rtol=0, atol=1e-10)


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_a_branch_that_does_not_count_has_no_z0(fp64, tmp_path, alpha):
    lm = fp64()
    data = thumbs_of(lm, thumbs(6))
    [(ids, z0, loss, _)] = steps(trainer(lm, data, tmp_path, alpha=alpha, objective=KTO, per_device_train_batch_size=6))
    expected, value = by_hand(lm, data, ids[0], alpha)
    assert z0.tolist() == pytest.approx([expected[0 if alpha else 1].item()], abs=1e-10)
    assert loss == pytest.approx(value.item(), abs=1e-10)


def test_z0_sees_no_dropout(base_folder, tmp_path):
    from prlhf.config import Lora

    lm = model(base_folder(), tuning=Lora(r=2, dropout=0.5))
    data = thumbs_of(lm, thumbs(6))
    made = trainer(lm, data, tmp_path, objective=KTO)
    made.model.train()
    batch = collate([Counted(data)[i] for i in range(6)])
    found = []
    for _ in range(2):
        made.get_batch_samples(iter([batch]), 1, torch.device("cpu"))
        found.append(batch["z0"].tolist())
    assert found[0] == found[1] and made.model.training and lm.model.training


def test_a_last_batch_of_one_is_left_out():
    lengths = [1] * 7
    assert len(LengthBuckets(lengths, 3, least=2)) == len(list(LengthBuckets(lengths, 3, least=2))) == 6
    assert len(list(LengthBuckets(lengths, 5, least=2))) == 7 and len(list(LengthBuckets(lengths, 3))) == 7
    sampler = LengthBuckets(lengths, 3, least=2)
    left = set()
    for epoch in range(20):
        sampler.set_epoch(epoch)
        left |= set(range(7)) - set(sampler)
    assert len(left) > 3


# --- mismatched responses ---


@pytest.mark.parametrize("seed", range(5))
def test_mismatched_are_of_another_prompt_and_another_text(seed):
    log = [Thumb(f"p{i // 10}", WORDS[i % 4], True) for i in range(40)]  # many of the same text and of the same prompt
    found = mismatched(log, seed)
    assert sorted(found) == list(range(40)) and found == mismatched(log, seed)
    assert all(log[i].response != log[j].response and log[i].prompt != log[j].prompt for i, j in enumerate(found))


def test_mismatched_as_well_as_can_be():
    one = [Thumb("p", f"r{i}", True) for i in range(6)]  # of one prompt, another text at least
    assert all(i != j for i, j in enumerate(mismatched(one)))
    assert mismatched([Thumb("p", "r", True)] * 3) and mismatched([Thumb("p", "r", True)]) == [0]
    assert mismatched(one, 1) != mismatched(one, 2)


def test_a_mismatched_response_fits_into_the_context(base_folder):
    lm = model(base_folder("gpt2"))
    space = lm.template.context - lm.user_model.tokens
    log = [Thumb("many words " * space, "no", True, id="a"), Thumb("why?", "long words " * space, False, id="b")]
    data = thumbs_of(lm, log)
    assert len(data.mismatched[0].prompt) + len(data.mismatched[0].chosen) <= space
    assert data.mismatched[0].chosen == data.encoded[1].chosen[: len(data.mismatched[0].chosen)]
    assert data.mismatched[1].chosen == data.encoded[0].chosen and np.isfinite(data.reference).all()


# --- whole runs ---


def config(base: str, objective: str = "kto", **training) -> RunConfig:
    return RunConfig.model_validate(
        {
            "data": {"split": {"test": 0.25}},
            "model": {"base": base, "tuning": {"type": "lora", "r": 2}},
            "user_model": {"tokens": 2},
            "objective": {"type": objective},
            "training": {"batch_size": 4, "learning_rate": 1e-3, "device": "cpu", "eval_steps": 0, "save_steps": 0}
            | training,
        }
    )


def log_of(items) -> Log:
    items = tuple(items)
    pairs = tuple(c for c in items if isinstance(c, Comparison))
    alone = tuple(c for c in items if isinstance(c, Thumb))
    return Log(pairs, "made up", notes=Notes.of(items), thumbs=alone)


def test_a_resumed_run_has_the_bits_of_one_that_was_never_stopped(base_folder, tmp_path):
    made, log = config(base_folder(), save_steps=2, batch_size=2, gradient_accumulation_steps=2), log_of(thumbs(33))
    whole = train(made, tmp_path / "whole", log=log)
    shutil.copytree(whole.folder, tmp_path / "again")
    shutil.rmtree(tmp_path / "again" / "model")
    for folder in (tmp_path / "again" / "checkpoints").iterdir():
        if folder.name != "checkpoint-2":
            shutil.rmtree(folder)
    again = train(made, tmp_path / "again", log=log, resume=True)
    a, b = whole.lm.state_dict(), again.lm.state_dict()
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_log_of_pairs_is_two_thumbs_each(base_folder, tmp_path):
    two = Unpaired([Comparison("p", "a", "b", user="u", weight=2.0, id="7"), Thumb("q", "c", False)])
    assert list(two) == [
        Thumb("p", "a", True, user="u", weight=2.0, id="7 (chosen)"),
        Thumb("p", "b", False, user="u", weight=2.0, id="7 (rejected)"),
        Thumb("q", "c", False),
    ]
    made = Facts.of(two)
    for name in set(FACT.names) - {"content", "id", "ranking"}:
        assert np.array_equal(two.facts[name], made[name], equal_nan=name == "time"), name
    assert len({tuple(content) for content in two.facts["content"].tolist()}) == 3
    log = log_of(comparisons(24))
    run = train(config(base_folder()), tmp_path / "run", log=log)
    sides = json.loads((run.folder / "split.json").read_text())["sides"]
    pairs = Counter(c.user for c in log.comparisons if c.id in sides["train"])
    counts, index = run.lm.users.counts, run.lm.users
    assert counts[index.rows(["ann"])[0]] == 2 * pairs["ann"]
    assert run.metrics.comparisons == len(sides["test"])
    first = json.loads((run.folder / "metrics.jsonl").read_text().splitlines()[0])
    assert 0.4 < first["loss"] < 0.6  # a half at the start, where every r is z0


def test_a_run_on_thumbs_from_end_to_end(base_folder, tmp_path, caplog):
    made = config(base_folder(), eval_steps=2)
    log = log_of(replace(t, user=["ann", "bob"][i // 2 % 2]) for i, t in enumerate(thumbs(48)))
    with caplog.at_level("INFO", logger="prlhf"):
        run = train(made, tmp_path / "run", log=log)
    assert "48 thumbs (24 up, 24 down) from 48 rows" in caplog.text and "of 48 thumbs" in caplog.text
    sides = split(log, made.data.split)
    found = evaluate(run.folder, log, bootstrap=20)
    test = [log.items[i] for i in sides.test]
    expected = sum(
        max(sum(t.up for t in test if t.user == user), sum(not t.up for t in test if t.user == user))
        for user in ("ann", "bob")
    )
    assert found.metrics.comparisons == expected == run.metrics.comparisons
    assert found.metrics.overall.accuracy_seen.value == run.metrics.overall.accuracy_seen.value
    assert found.baselines["length"].missing.startswith("it ranks the two responses of a comparison")
    lm = PersonalizedLM.from_pretrained(run.folder)
    assert isinstance(lm.generate(["why?"], users="ann", max_new_tokens=2)[0], str)


def test_one_sided_users_are_told(base_folder, tmp_path, caplog):
    log = log_of(replace(t, user="ann" if i % 3 else "bob", up=bool(i % 3) and t.up) for i, t in enumerate(thumbs(48)))
    run = train(config(base_folder()), tmp_path / "run", log=log)
    said = "1 of 2 users have only thumbs up or only thumbs down here"
    assert said in caplog.text and run.metrics.users == 1
    assert any(said in note for note in evaluate(run.folder, log, baselines=(), bootstrap=0).notes)
    downs = log_of(t for t in log.thumbs if not t.up)
    with pytest.raises(DataError, match="made up, side 'all': 2 of 2 users have only"):
        evaluate(run.folder, downs, baselines=(), bootstrap=0)


def test_a_run_whose_thumbs_cannot_be_paired_knows_that_they_were_held_out(base_folder, tmp_path):
    log = log_of(replace(t, user="ann" if t.up else "bob") for t in thumbs(32))
    run = train(config(base_folder()), tmp_path / "run", log=log)
    assert run.metrics is None and run.held_out == len(split(log, config("").data.split).test) > 0


def test_pair_objectives_refuse_thumbs_alone_and_leave_them_out_beside_pairs(base_folder, tmp_path, caplog):
    with pytest.raises(DataError, match=r"made up: objective\.type = dpo learns from .*--set objective\.type=kto"):
        train(config(base_folder(), "dpo"), tmp_path / "run", log=log_of(thumbs(12)))
    with caplog.at_level("INFO", logger="prlhf"):
        run = train(config(base_folder(), "dpo"), tmp_path / "run", log=log_of([*comparisons(12), *thumbs(12)]))
    assert "not trained on: 12 thumbs" in caplog.text
    sides = json.loads((run.folder / "split.json").read_text())["sides"]
    assert not any(name.startswith("thumb") for side in sides.values() for name in side)


def test_a_batch_of_one_is_refused(base_folder, tmp_path):
    with pytest.raises(ConfigError, match=r"training\.batch_size: objective\.type = kto .* at least two; found 1"):
        train(config(base_folder(), batch_size=1), tmp_path / "run", log=log_of(thumbs(12)))
    train(config(base_folder(), batch_size=1, gradient_accumulation_steps=2), tmp_path / "run", log=log_of(thumbs(12)))


def test_dry_run(base_folder):
    log = log_of(comparisons(12))
    found = dry_run(config(base_folder(), batch_size=1, gradient_accumulation_steps=4), log=log)
    pairs = dry_run(config(base_folder(), "dpo", batch_size=1, gradient_accumulation_steps=4), log=log)
    assert found.steps == pytest.approx(2 * pairs.steps, abs=1) and 0.4 < found.loss < 0.6


def test_sft_learns_what_was_liked(tmp_path):
    path = tmp_path / "thumbs.jsonl"
    rows = [{"prompt": f"p{i}", "completion": f"r{i}", "label": i % 2 == 0} for i in range(20)]
    path.write_text("\n".join(json.dumps(row) for row in rows))
    learned = load_rows(DataConfig(source=str(path)))
    assert learned and all(int(row.completion[1:]) % 2 == 0 for row in learned)
    assert len(load_rows(DataConfig(source=str(path)), "all")) == 20


def test_z0_is_over_all_processes():
    none = torch.zeros(2, 2)
    logps = lambda encoded, batch: PairLogps(torch.tensor([[1.0, 3.0]] * len(batch["rows"])), none, none, none)  # noqa: E731
    batches = [
        {
            "mismatched": [], "rows": torch.zeros(len(counts)), "counts": torch.tensor(counts),
            "mismatched_reference": torch.zeros(len(counts), dtype=torch.float64),
        }
        for counts in ([True, True], [True], [False])  # the last keeps pace, and counts nothing
    ]  # fmt: skip
    others = torch.tensor([7.0, -20.0, 5.0], dtype=torch.float64)  # sums of both branches over five more thumbs
    made = make_objective(KTO)
    assert isinstance(made, ThumbObjective)
    ThumbLosses(made).before_step(batches, logps, lambda x: x + others)
    # (3 * 1 + 7) / 8, and (3 * 3 - 20) / 8, which is below 0
    assert [batch["z0"].tolist() for batch in batches] == [[[1.25, 0.0]] * 2, [[1.25, 0.0]], [[1.25, 0.0]]]
