"""A small personalised model whose users answer differently."""

import pytest
import torch

from prlhf.config import Individual, ModelConfig
from prlhf.lm import PersonalizedLM


@pytest.fixture
def make_lm(base_folder):
    def make(*, chat: bool = False) -> PersonalizedLM:
        config = ModelConfig(base=base_folder("llama", chat=chat))
        lm = PersonalizedLM.create(config, Individual(tokens=3), ["ann", "bob"], seed=1)
        torch.manual_seed(5)
        with torch.no_grad():
            lm.user_model.table.weight[1:] = torch.randn(2, lm.user_model.table.weight.shape[1])
            for name, p in lm.model.named_parameters():
                p.mul_(1.0 if "norm" in name else 6.0)
        return lm.eval()

    return make


@pytest.fixture
def lm(make_lm) -> PersonalizedLM:
    return make_lm()
