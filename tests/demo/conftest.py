"""A study of a few users and two steps, made once; and one by hand, whose figures are known."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from prlhf.config import RunConfig
from prlhf.data.planted import World
from prlhf.demo.newcomers import Newcomers
from prlhf.demo.study import PAIRS, Examples, Study, run_study
from prlhf.evaluation import Scores, summarise, win_rate
from prlhf.types import Comparison

TINY = {
    "data": {"source": "planted", "options": {"users": 12, "votes": 4, "test_pairs": 2}},
    "model": {"base": "planted", "user_tokens_at": "start"},
    "user_model": {"type": "individual", "tokens": 2},
    "objective": {"type": "dpo", "beta": 0.5},
    "training": {"max_steps": 2, "batch_size": 4, "eval_steps": 2, "eval_comparisons": 8, "device": "cpu"},
}


@pytest.fixture(scope="session")
def tiny_config():
    return RunConfig.model_validate(TINY)


@pytest.fixture(scope="session")
def tiny_study(tiny_config, tmp_path_factory):
    """Really trained, answered and judged."""
    said: list[str] = []
    study = run_study(tiny_config, tmp_path_factory.mktemp("tiny") / "study", questions=1, say=said.append)
    return study, said


def scores(world: World, right: dict[str, tuple[int, int, int]]) -> Scores:
    """Ten comparisons a user; by group so many of them right under the own, the generic and somebody else's row."""
    votes = [Comparison("?", "a", "b", user=u.id, group=u.group) for u in world.users for _ in range(10)]
    h = [[1.0 if k < right[u.group][i] else -1.0 for u in world.users for k in range(10)] for i in range(3)]
    seen = np.ones(len(votes), bool)
    return Scores.of(votes, seen=seen, h_specific=h[0], h_generic=h[1], h_permuted=h[2])


@pytest.fixture
def hand_study(tmp_path: Path):
    """Nothing is trained. Own row: majority 9 of 10 right, minority 8; pooled: 7 and 4."""
    world = World(users=12, votes=1, test_pairs=1)
    tables = {
        "personal": scores(world, {"majority": (9, 7, 5), "minority": (8, 4, 2)}),
        "pooled": scores(world, {"majority": (7, 6, 7), "minority": (4, 3, 4)}),
    }
    for name, table in tables.items():
        (tmp_path / name).mkdir()
        table.save(tmp_path / name / "scores.parquet")
    (tmp_path / "personal" / "metrics.jsonl").touch()
    ids, groups = [u.id for u in world.users], [u.group for u in world.users]
    won = {"majority": 0, "minority": 1}  # a tie for the majority, a win for the minority
    rate = win_rate([won[g] for g in groups], ids, groups, bootstrap=20)
    ties = win_rate([0] * len(ids), ids, groups, bootstrap=20)
    profiles = {u.name: {"P-DPO": 0.9, "pooled DPO": 0.5} for u in world.users}
    met = world.users[-1]
    newcomers = Newcomers((met,), tables["personal"], rate, met, "And <b>now</b>?", "[blue]Hm.[/]", "<u>Yes.</u>", 0.2)
    return Study(
        world=world,
        config=RunConfig.model_validate(TINY),
        folder=tmp_path,
        metrics=summarise(tables["personal"], 0.5, bootstrap=20),
        pooled=summarise(tables["pooled"], 0.5, bootstrap=20),
        judgement=SimpleNamespace(verdicts={pair: SimpleNamespace(rate=rate) for pair in PAIRS}),
        greedy=SimpleNamespace(verdicts={pair: SimpleNamespace(rate=ties) for pair in PAIRS}),
        examples=Examples("Why <b>me</b>?", "[red]all[/] & <i>sundry</i>", {world.users[0]: "<script>x()</script>"}),
        newcomers=newcomers,
        by_profile=profiles,
        seconds={"P-DPO": 61.4},
    )
