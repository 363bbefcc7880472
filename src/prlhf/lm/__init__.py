"""The personalised language model: base model, user tokens, log-probabilities, reference, checkpoint."""

from prlhf.data.cache import default_cache
from prlhf.lm.checkpoint import is_checkpoint
from prlhf.lm.logprobs import choose_layout, pair_logprobs
from prlhf.lm.personalized import PersonalizedLM
from prlhf.lm.reference import reference_logprobs
from prlhf.lm.reward import RewardLM
from prlhf.lm.scoring import pair_scores
from prlhf.lm.template import Encoded, Rendered, Template
from prlhf.lm.tokens import TokenIds, tokenise

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
