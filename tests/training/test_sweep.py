"""A sweep trains what is missing, pairs the same comparisons, and says what it found."""

import json
from pathlib import Path

import numpy as np
import pytest
from made_up import comparisons

from prlhf.cli.sweep import _tell
from prlhf.config.variants import variants
from prlhf.errors import ConfigError
from prlhf.evaluation.scores import Scores
from prlhf.training import sweep as module
from prlhf.training.sweep import sweep

SETTINGS = [
    "user_model.tokens=2", "model.tuning.r=2", "training.batch_size=4", "training.learning_rate=1e-3",
    "training.device=cpu", "training.eval_steps=1", "training.save_steps=0", "data.split.test=0.3",
]  # fmt: skip


@pytest.fixture
def log(tmp_path) -> str:
    path = tmp_path / "votes.jsonl"
    rows = [
        {"prompt": c.prompt, "chosen": c.chosen, "rejected": c.rejected, "user_id": c.user} for c in comparisons(24)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


def test_a_sweep_and_its_second_call(base_folder, log, tmp_path, monkeypatch):
    values = {"data.source": log, "model.base": base_folder()}
    found = variants(None, [*SETTINGS, "alpha=0.5,1"], values)
    trained: list[Path] = []
    train = module.train
    monkeypatch.setattr(
        module, "train", lambda config, folder, **more: trained.append(folder) or train(config, folder, **more)
    )
    rows = sweep(found, tmp_path / "out", seeds=2)
    assert [p.relative_to(tmp_path / "out").as_posix() for p in trained] == [
        "base/seed-0", "alpha=1/seed-0", "base/seed-1", "alpha=1/seed-1",
    ]  # fmt: skip
    assert [row.name for row in rows] == ["base", "alpha=1"]
    assert rows[0].difference is None and rows[1].difference is not None
    for name in ("sweep.json", "sweep.md", "sweep.png", "sweep_generic.png"):
        assert (tmp_path / "out" / name).stat().st_size
    assert sweep(found, tmp_path / "out", seeds=2)[1].as_dict() == rows[1].as_dict() and len(trained) == 4

    # by hand: the difference of the two accuracies, over the rows of both seeds
    parts = {
        v: [Scores.load(tmp_path / "out" / v / f"seed-{k}" / "scores.parquet") for k in (0, 1)]
        for v in ("base", "alpha=1")
    }
    right = {v: np.concatenate([s.h > 0 for s in found]) for v, found in parts.items()}
    expected = right["alpha=1"].mean() - right["base"].mean()
    assert rows[1].difference.accuracy.value == pytest.approx(expected)
    sides = [json.loads((tmp_path / "out" / "base" / f"seed-{k}" / "split.json").read_text())["sides"] for k in (0, 1)]
    assert sides[0]["test"] != sides[1]["test"]
    shown = json.loads((tmp_path / "out" / "sweep.json").read_text())
    assert shown[1]["name"] == "alpha=1" and 0 <= shown[0]["early"] <= 1


def test_the_variant_of_a_planted_difference_is_seen(tmp_path):
    """Figures from made-up run folders: a generic row that jumps, and one that does not."""
    found = variants(None, ["alpha=0.5,1"])
    rng = np.random.default_rng(0)
    for v, jumps in zip(found, ([0.6, 0.6, 0.61, 0.6], [0.6, 0.4, 0.7, 0.3]), strict=True):
        folder = tmp_path / v.folder / "seed-0"
        (folder / "model").mkdir(parents=True)
        own = rng.normal(1.0 if v.name == "base" else -1.0, 0.1, 40)
        seen = np.arange(40) % 8 < 6
        own[~seen] = 1.0  # of users whom nobody has seen both are right
        users = np.array([f"u{i % 8}" for i in range(40)], dtype=object)
        Scores(
            user=users, group=np.full(40, None), weight=np.ones(40), seen=seen, h_specific=own,
            h_generic=own, chosen_chars=np.ones(40), rejected_chars=np.ones(40),
            ids=np.arange(40).astype(str).astype(object),
        ).save(folder / "scores.parquet")  # fmt: skip
        lines = [{"step": i, "eval_accuracy_generic": g, "eval_accuracy_seen": 0.1 * i} for i, g in enumerate(jumps)]
        (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "is_checkpoint", lambda folder: True)
        base, other = sweep(found, tmp_path)
    assert (base.seen.value, other.seen.value, other.difference.accuracy.value) == (1.0, 0.0, -1.0)
    assert other.difference.rows == "seen" and other.difference_all.accuracy.value == -0.75
    held = json.loads((tmp_path / "sweep.json").read_text())[1]
    assert (held["difference"]["accuracy"]["value"], held["difference_all"]["accuracy"]["value"]) == (-1.0, -0.75)
    assert "| minus the base, paired, seen users |" in (tmp_path / "sweep.md").read_text()
    assert base.unrest == pytest.approx(0.01) and other.unrest == pytest.approx(0.4)
    assert base.early == pytest.approx(0.15)


def test_a_folder_of_another_sweep_is_refused(base_folder, log, tmp_path):
    values = {"data.source": log, "model.base": base_folder()}
    sweep(variants(None, [*SETTINGS, "training.max_steps=1", "alpha=0.5,1"], values), tmp_path / "out")
    before = (tmp_path / "out" / "sweep.md").read_text()
    assert "nan" not in before and "NaN" not in (tmp_path / "out" / "sweep.json").read_text()
    other = variants(None, [*SETTINGS, "training.max_steps=2", "alpha=0.5,1"], values)
    with pytest.raises(ConfigError, match=r"differs from this sweep: training\.max_steps is 1 there and 2 here"):
        sweep(other, tmp_path / "out")
    assert (tmp_path / "out" / "sweep.md").read_text() == before


def test_runs_of_other_data_are_not_taken_over(base_folder, log, tmp_path):
    values = {"data.source": log, "model.base": base_folder()}
    short = [*SETTINGS, "training.max_steps=1"]
    sweep(variants(None, [*short, "alpha=0.5,1"], values), tmp_path / "out")
    before = (tmp_path / "out" / "sweep.md").read_text()
    rows = [json.loads(line) for line in Path(log).read_text().splitlines()]
    exchanged = [{**row, "chosen": row["rejected"], "rejected": row["chosen"]} for row in rows]
    Path(log).write_text("\n".join(map(json.dumps, exchanged)))
    with pytest.raises(
        ConfigError, match=r"votes\.jsonl has changed since .*seed-0 was started: fingerprint \w+ there"
    ):
        sweep(variants(None, [*short, "alpha=0.5,0,1"], values), tmp_path / "out")
    assert (tmp_path / "out" / "sweep.md").read_text() == before
    assert not (tmp_path / "out" / "alpha=0").exists()


def test_no_seed_is_no_sweep(tmp_path):
    with pytest.raises(ConfigError, match="expected at least 1"):
        sweep(variants(None, ["alpha=0.5,1"]), tmp_path, seeds=0)


def test_only_files_that_were_written_are_named(tmp_path, capsys):
    (tmp_path / "sweep.md").write_text("")
    _tell([], tmp_path)
    assert capsys.readouterr().out.endswith("sweep.md; no curves, since nothing was measured while training\n")
    for name in ("sweep.json", "sweep.png", "sweep_generic.png"):
        (tmp_path / name).write_text("")
    _tell([], tmp_path)
    assert capsys.readouterr().out.endswith("sweep.md, sweep.json, sweep.png, sweep_generic.png\n")
