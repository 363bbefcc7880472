"""People who come when training is over."""

import dataclasses

import numpy as np
import torch

from prlhf import PersonalizedLM
from prlhf.data.planted import World
from prlhf.demo.newcomers import VOTES, meet, newcomers_of
from prlhf.demo.page import before_and_after


def test_they_are_none_of_the_world_and_of_all_its_kinds():
    world = World(users=12)
    new = newcomers_of(world, 12)
    assert not {u.id for u in new} & {u.id for u in world.users}
    assert {u.kind for u in new} == {"single", "mixture"} and {u.group for u in new} == {"majority", "minority"}
    assert len(newcomers_of(world, 3)) == 3


def test_a_study_met_them_and_left_its_folder_alone(tiny_study):
    study, _ = tiny_study
    met = study.newcomers
    assert len(met.users) == 12 and set(met.scores.user) == {u.id for u in met.users}
    assert met.scores.seen.all() and len(met.scores) == 24
    before, after = met.accuracy
    assert before == np.mean((met.scores.h_generic > 0) + 0.5 * (met.scores.h_generic == 0))
    assert 0 <= after <= 1 and met.wins.count == 12 and met.seconds > 0
    assert met.shown in met.users and met.question in study.world.test_prompts
    kept = PersonalizedLM.from_pretrained(study.folder / "personal")
    assert not kept.users.known([u.id for u in met.users]).any()


def test_nobody_elses_row_changes(tiny_study):
    study, _ = tiny_study
    lm = PersonalizedLM.from_pretrained(study.folder / "personal")
    rows = lm.user_model.table.weight.detach().clone()
    small = World(users=12, votes=VOTES, test_pairs=1)
    met = meet(small, lm, newcomers_of(small, 2), 1)
    assert torch.equal(lm.user_model.table.weight[: len(rows)], rows) and len(lm.users) == 14
    assert [a.text for a in before_and_after(met).answers] == [met.before, met.after]
    without = dataclasses.replace(met.scores, h_specific=met.scores.h_generic)
    equal = dataclasses.replace(met, scores=without).accuracy
    assert equal[0] == equal[1] == met.accuracy[0]
