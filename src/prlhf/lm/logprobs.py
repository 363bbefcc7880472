"""What a model makes of the responses of a comparison or thumb, for any number of branches at once: log-probabilities.

A model with a scalar head (`RewardLM`) gives rewards in their place: of a reward model that is the log of what it takes
a response to be worth, so everything that is made of log-probabilities can be made of them, with a reference of 0.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from prlhf.lm.layout import Layout, Rows, packed_rows, plain_rows, shares_prompt
from prlhf.lm.paths import ATTENTION, pays, take_paths
from prlhf.lm.projection import projected_logprobs, token_logprobs
from prlhf.lm.template import Encoded
from prlhf.objectives import PairLogps

if TYPE_CHECKING:
    from prlhf.lm.personalized import PersonalizedLM

__all__ = [
    "AT_ONCE",
    "Layout",
    "choose_layout",
    "decoder_states",
    "pair_logprobs",
    "response_logprobs",
    "tokens_at_once",
]

AT_ONCE = {"cpu": 2048, "cuda": 65_536}
"""Tokens of a batch where no gradient is taken, padding included: what fills a GPU, and what a CPU's caches hold."""
_ROUNDING = 8
"""A difference counts as rounding up to so many times what was measured of it, or what a sum in fp32 may have."""
logger = logging.getLogger(__name__)
_TOLD: set[tuple[str, str]] = set()


def tokens_at_once(device: torch.device) -> int:
    """How many tokens a batch has at most where no gradient is taken."""
    return AT_ONCE.get(device.type, AT_ONCE["cuda"])


def pair_logprobs(
    lm: PersonalizedLM, batch: Sequence[Encoded], branches: Sequence[Sequence[int]], layout: Layout = "plain"
) -> PairLogps:
    """Summed log-probabilities `[b, k]` of chosen and rejected for b comparisons, k branches; of a `RewardLM` rewards.

    A response that is not there (the second one of a thumb) has 0 of 0 tokens.

    Args:
        lm: the personalised LM.
        batch: b encoded comparisons.
        branches: for each, its k rows of the user table (-1 = no user tokens, as the reference sees it).
        layout: `packed` where `choose_layout` allows it, else `plain`.
    """
    return _pairs(lm, batch, branches, layout, lm.response_values)


def _pairs(
    lm: PersonalizedLM,
    batch: Sequence[Encoded],
    branches: Sequence[Sequence[int]],
    layout: Layout,
    values: Callable[[Rows], Tensor],
) -> PairLogps:
    """The `values` `[slots]` of responses, by comparison and branch."""
    b, k = len(batch), len(branches[0])
    if lm.user_model.tokens == 0 and lm.one_prompt:  # without user tokens all branches are the same
        branches = [[-1]] * b
    elif not (lm.one_prompt and shares_prompt(batch)):  # nothing to share between branches: a row for each
        batch = [lm.read_by(row, c) for c, rows in zip(batch, branches, strict=True) for row in rows]
        branches = [[row] for rows in branches for row in rows]
    build = packed_rows if layout == "packed" else plain_rows
    rows = build(batch, branches, lm.user_token_ids, lm.pad_id).to(lm.device)
    sums = values(rows).view(b, -1, 2).expand(b, k, 2)
    lengths = torch.tensor([[len(c.chosen), len(c.rejected)] for c in batch], device=sums.device)
    lengths = lengths.view(b, -1, 2)[:, :1].expand(b, k, 2)
    return PairLogps(sums[..., 0], sums[..., 1], lengths[..., 0], lengths[..., 1])


def response_logprobs(lm: PersonalizedLM, rows: Rows) -> Tensor:
    """Log-probabilities summed over each response: `[slots]`. Only positions that predict one are projected."""
    if lm.splits_head:
        hidden = decoder_states(lm, rows)
        states = hidden[rows.row.to(hidden.device), rows.source.to(hidden.device)]
        token_logps = projected_logprobs(lm.head, states, rows.target)
    else:
        whole = lm.model(**_inputs(lm, rows), use_cache=False).logits
        token_logps = token_logprobs(whole[rows.row.to(whole.device), rows.source.to(whole.device)], rows.target)
    token_logps = token_logps.to(lm.device)
    return torch.zeros(rows.slots, dtype=token_logps.dtype, device=token_logps.device).index_add(
        0, rows.slot, token_logps
    )


def decoder_states(lm: PersonalizedLM, rows: Rows) -> Tensor:
    """The last hidden states of every position `[r, s, d]`."""
    found: Tensor = lm.decoder(**_inputs(lm, rows), use_cache=False).last_hidden_state
    return found


def _inputs(lm: PersonalizedLM, rows: Rows) -> dict[str, Any]:
    inputs: dict[str, Any] = {
        "input_ids": rows.input_ids,
        "attention_mask": rows.attention_mask,
        "position_ids": rows.position_ids,
    }
    return inputs | ({"paths": rows.paths} if _along_paths(lm, rows) else {})


def _along_paths(lm: PersonalizedLM, rows: Rows) -> bool:
    """Whether attention goes along the paths of these rows."""
    if rows.paths is None or lm.causal_lm.config._attn_implementation != ATTENTION:
        return False
    return pays(lm.config.attention, lm.device, rows.input_ids.shape[1])


@torch.no_grad()
def choose_layout(lm: PersonalizedLM, sample: Sequence[Encoded], wanted: str = "auto") -> Layout:
    """`packed` if the model gives the same log-probabilities packed and plain on the first and the longest of `sample`,
    else `plain`.

    A choice holds for the comparisons that it was made on: a sliding window matters from a length on.

    Sliding windows, ALiBi, recurrent layers and attention code that ignores a 4-D mask show themselves here. What is
    rounding is measured: the longest comparison in plain rows, among others and for itself.
    """
    if wanted != "plain" and lm.config.attention == "auto" and lm.device.type == "cpu":
        take_paths(lm.causal_lm)
    if wanted != "auto":
        return "packed" if wanted == "packed" else "plain"
    indices = range(len(sample))
    longest = max(indices, key=lambda i: sample[i].path)
    found = {0, longest, max(indices, key=lambda i: sample[i].length)}
    tried = [sample[longest], *(sample[i] for i in sorted(found - {longest}))]
    training = lm.training
    lm.eval()
    try:
        plain, packed = (_looked_at(lm, tried, layout) for layout in ("plain", "packed"))
        alone = _looked_at(lm, tried[:1], "plain")
    except (RuntimeError, ValueError, TypeError) as e:
        _tell(lm, "plain", f"the model does not take a 4-D mask: {e}")
        return "plain"
    finally:
        lm.train(training)
    error, noise = (plain - packed).abs().max().item(), (plain[:1] - alone).abs().max().item()
    scale = max(plain.abs().max().item(), 1.0)
    unit = torch.finfo(lm.dtype).eps * max(len(r) for c in tried for r in c.responses) ** 0.5  # of a sum of logits
    rounding = _ROUNDING * (noise + torch.finfo(torch.float32).eps * scale) + unit
    layout: Layout = "packed" if error <= rounding else "plain"
    words = f"packed and plain differ by {error:.1e} on log-probabilities up to {scale:.0f}"
    _tell(lm, layout, words)
    return layout


def _looked_at(lm: PersonalizedLM, comparisons: Sequence[Encoded], layout: Layout) -> Tensor:
    """Log-probabilities of both responses by the generic user and by the last one `[b, 2, 2]`, whatever the model makes
    of its states: a head of zeros would see no difference between any two layouts."""
    branches = [[0, lm.user_model.n - 1]] * len(comparisons)
    logps = _pairs(lm, comparisons, branches, layout, partial(response_logprobs, lm))
    return torch.stack([logps.chosen, logps.rejected]).transpose(0, 1).double()


def _tell(lm: PersonalizedLM, layout: Layout, why: str) -> None:
    """Log the layout; only once for a base model, which is asked about each set of comparisons anew."""
    if (lm.base_fingerprint, layout) not in _TOLD:
        _TOLD.add((lm.base_fingerprint, layout))
        logger.info("layout: %s (%s)", layout, why)
