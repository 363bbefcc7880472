"""torch.compile in training steps: the same steps, no user token inside of it, and nothing left of it after."""

from contextlib import contextmanager

import pytest
import torch
from test_resume import LOG

from prlhf.config import Individual, ModelConfig, RunConfig, TrainingConfig, load_config
from prlhf.errors import ConfigError, TrainingError, UnsupportedModelError
from prlhf.lm import PersonalizedLM, pair_logprobs
from prlhf.training.compiled import Compiled, blocks
from prlhf.training.train import train


@pytest.fixture(autouse=True)
def forgetful():
    yield
    torch.compiler.reset()


def weights(base: str, folder, **options) -> dict[str, torch.Tensor]:
    training = TrainingConfig(
        max_steps=2, batch_size=4, learning_rate=1e-3, eval_steps=0, save_steps=0, device="cpu", **options
    )  # fmt: skip
    config = RunConfig(model=ModelConfig(base=base), user_model=Individual(tokens=2), training=training)
    lm = train(config, folder, log=LOG).lm
    assert not any("forward" in vars(block) for block in blocks(lm.decoder))
    return {name: p.detach() for name, p in lm.named_parameters() if p.requires_grad}


@pytest.mark.slow
@pytest.mark.parametrize("checkpointing", [True, False])
def test_a_compiled_run_takes_the_same_steps(base_folder, tmp_path, checkpointing):
    base = base_folder(num_hidden_layers=1)
    plain = weights(base, tmp_path / "plain", gradient_checkpointing=checkpointing)
    compiled = weights(base, tmp_path / "eager", gradient_checkpointing=checkpointing, compile="eager")
    assert plain.keys() == compiled.keys() and len(plain) > 10
    for name, expected in plain.items():
        torch.testing.assert_close(compiled[name], expected, rtol=1e-4, atol=1e-6)


def test_a_run_compiles_its_training_steps_and_nothing_else(base_folder, tmp_path, monkeypatch):
    made = []

    class Recorded(Compiled):
        def __init__(self, decoder, backend):
            super().__init__(decoder, backend)
            self.count = 0
            made.append(self)

        @contextmanager
        def on(self):
            self.count += 1
            yield

    monkeypatch.setattr("prlhf.training.train.Compiled", Recorded)
    weights(base_folder(num_hidden_layers=1), tmp_path, compile="eager", gradient_accumulation_steps=2)
    assert [(one.backend, one.count) for one in made] == [("eager", 4)]  # two steps of two batches


def test_user_tokens_stay_outside_and_no_graph_breaks(base_folder):
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    def gradients() -> list[torch.Tensor]:
        lm.zero_grad()
        pair_logprobs(lm, encoded, [[1, 0]] * 2, "packed").chosen.sum().backward()
        return [p.grad.to_dense().clone() for p in lm.parameters() if p.grad is not None]

    lm = PersonalizedLM.create(ModelConfig(base=base_folder()), Individual(tokens=2), ["ann"])
    encoded = [lm.template.comparison(c) for c in LOG.comparisons[:2]]
    wanted = gradients()
    compiled = Compiled(lm.decoder, backend)
    with compiled.on():
        found = gradients()
    assert len(found) > 10
    torch.testing.assert_close(found, wanted)
    assert 1 <= len(graphs) <= len(blocks(lm.decoder)) == 2  # one whole graph a layer, or one for all
    count = len(graphs)
    pair_logprobs(lm, encoded[:1], [[1]], "plain")  # another shape, and not compiled
    assert len(graphs) == count


def test_a_backend_that_fails_is_named(base_folder):
    def backend(graph, inputs):
        raise RuntimeError("no compiler here")

    lm = PersonalizedLM.create(ModelConfig(base=base_folder()), Individual(tokens=2), ["ann"])
    ids = torch.tensor([lm.encode_prompt("hi", 1)])
    told = r"training\.compile=.* does not work here: .*take training\.compile=off"
    with pytest.raises(TrainingError, match=told), Compiled(lm.decoder, backend).on():
        lm(ids)
    assert lm(ids).logits.isfinite().all()
    with pytest.raises(ValueError, match="mine"), Compiled(lm.decoder, "eager").on():
        raise ValueError("mine")


def test_what_cannot_be_compiled():
    with pytest.raises(UnsupportedModelError, match="Linear has no list of layers to compile"):
        blocks(torch.nn.Linear(2, 2))
    with pytest.raises(ConfigError, match=r"training\.compile: found true, expected 'off', 'inductor'"):
        load_config(RunConfig, overrides=["training.compile=true"])
