"""By what a question is chosen: a number for every pair of the pool, the largest of which is asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from prlhf.rewards.asking.belief import Belief

__all__ = ["DEFAULT", "RULES", "Rule", "d_optimal", "information", "pref", "variance"]

Floats = npt.NDArray[np.float64]
Rule = Literal["information", "variance", "d_optimal", "pref", "random"]
DEFAULT: Rule = "information"


def information(belief: Belief) -> Floats:
    """BALD: the mutual information of the answer and the person's state (Houlsby et al., arXiv 1112.5745) `[m]`."""
    return belief.information


def variance(belief: Belief) -> Floats:
    """How much of the pool's personal variance an answer takes away (Cohn, Ghahramani and Jordan 1996) `[m]`."""
    return belief.relief


def d_optimal(belief: Belief) -> Floats:
    """The increase of the precision's log determinant, `log(1 + F phi' S phi)` `[m]`."""
    return np.log1p(belief.fisher * belief.personal)


def pref(belief: Belief) -> Floats:
    """PReF's: `sigma'(<l, v>)² v' H^-1 v` (Shenfeld et al., arXiv 2503.06358, and their code) `[m]`."""
    p = expit(belief.margin)
    return np.asarray((p * (1 - p)) ** 2 * belief.personal)


RULES: dict[str, Callable[[Belief], Floats]] = {
    "information": information,
    "variance": variance,
    "d_optimal": d_optimal,
    "pref": pref,
}
"""All but `random`, which looks at nothing."""
assert {*RULES, "random"} == {*get_args(Rule)}
