"""The personalised language model: base model, user tokens, log-probabilities, reference, checkpoint. Names load on
first use, so that modules without torch stay light."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prlhf.data.cache import default_cache
    from prlhf.lm.checkpoint import is_checkpoint
    from prlhf.lm.logprobs import choose_layout, pair_logprobs
    from prlhf.lm.personalized import PersonalizedLM
    from prlhf.lm.reference import reference_logprobs
    from prlhf.lm.reward import RewardLM
    from prlhf.lm.scoring import pair_scores
    from prlhf.lm.template import Encoded, Rendered, Template
    from prlhf.lm.tokens import TokenIds, tokenise

_PUBLIC = {
    "Encoded": "prlhf.lm.template",
    "PersonalizedLM": "prlhf.lm.personalized",
    "Rendered": "prlhf.lm.template",
    "RewardLM": "prlhf.lm.reward",
    "Template": "prlhf.lm.template",
    "TokenIds": "prlhf.lm.tokens",
    "choose_layout": "prlhf.lm.logprobs",
    "default_cache": "prlhf.data.cache",
    "is_checkpoint": "prlhf.lm.checkpoint",
    "pair_logprobs": "prlhf.lm.logprobs",
    "pair_scores": "prlhf.lm.scoring",
    "reference_logprobs": "prlhf.lm.reference",
    "tokenise": "prlhf.lm.tokens",
}

__all__ = [
    "Encoded",
    "PersonalizedLM",
    "Rendered",
    "RewardLM",
    "Template",
    "TokenIds",
    "choose_layout",
    "default_cache",
    "is_checkpoint",
    "pair_logprobs",
    "pair_scores",
    "reference_logprobs",
    "tokenise",
]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'prlhf.lm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
