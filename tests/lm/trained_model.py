"""A personalised model that is away from step 0 everywhere, as what is saved and exported has to be tested on."""

import torch

from prlhf.config import Individual, Lora, ModelConfig
from prlhf.lm import PersonalizedLM

USERS = ["ann", "bob", "zoë"]


@torch.no_grad()
def trained(base: str, user_model=None, tuning=None, **options) -> PersonalizedLM:
    """A model whose every trained parameter is away from its start."""
    config = ModelConfig(base=base, tuning=tuning or Lora(), **options)
    lm = PersonalizedLM.create(config, user_model or Individual(tokens=3), USERS, seed=1)
    torch.manual_seed(2)
    for p in lm.parameters():
        if p.requires_grad:
            p.add_(torch.randn_like(p) * 0.1)
    return lm.eval()
