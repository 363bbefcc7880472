"""The strength of few votes, learned on trained users who are met anew."""

from dataclasses import replace

import numpy as np
import torch
from test_fold_in import DPO, USERS, WORDS, model

from prlhf.lm.adapting import tuning
from prlhf.lm.adapting.tuning import STRENGTHS, tuned
from prlhf.types import Comparison


def votes(user: str, count: int) -> list[Comparison]:
    return [Comparison(f"{i}?", WORDS[i % 6], WORDS[(i + 1) % 6] + "!", user=user) for i in range(count)]


def test_users_who_are_measured_are_left_out_of_the_prior(base_folder, monkeypatch):
    monkeypatch.setattr(tuning, "_VOTES", 2)
    monkeypatch.setattr(tuning, "_PASSES", 1)
    lm, seen = model(base_folder()), []
    directions_of = tuning.directions_of
    monkeypatch.setattr(tuning, "directions_of", lambda *a: seen.append(a[2]) or directions_of(*a))
    log = [v for user in USERS[:5] for v in votes(user, 4)] + votes(USERS[5], 3) + votes("a stranger", 9)
    log += [replace(log[0], user=None)]
    found = tuned(lm, log, DPO)
    assert found.users == 5 and STRENGTHS[0] <= found.strength <= STRENGTHS[-1]
    assert [len(rows) for rows in seen] == [3, 4] and set(seen[0]) & set(seen[1]) == {6}
    assert tuned(lm, log[:8], DPO).users == 0 and tuned(lm, [], DPO).strength == 1.0
    again = tuned(lm, log, DPO)
    assert again.strength == found.strength and torch.equal(again.directions, found.directions)


def test_the_strength_of_least_loss():
    x = np.log2(STRENGTHS)
    assert abs(tuning._least((x - 0.5) ** 2) - 2**0.5) < 0.05
    assert tuning._least(-x) == STRENGTHS[-1] and tuning._least(x) == STRENGTHS[0]
    assert tuning._least(-(x**2) - 0.1 * x) in (STRENGTHS[0], STRENGTHS[-1])


def test_each_strength_is_measured_on_the_other_votes(base_folder):
    lm = model(base_folder())
    asked = votes("user 1", 12)
    directions = tuning.directions_of(lm.user_model.table.weight.detach())

    def found(tests):
        return tuning._losses(lm, directions, [asked, tests], ["user 1"], DPO, None)

    same = found(asked)
    turned = found([replace(v, chosen=v.rejected, rejected=v.chosen) for v in asked])
    nothing = 12 * np.log(2)
    assert (same < nothing).all() and (turned > nothing).all()
