"""The estimate of memory against what training has: counted where it is counted, measured where it is estimated."""

import pytest
import torch
from made_up import comparisons, dataset, model, trainer

from prlhf.lm import PersonalizedLM, choose_layout, pair_logprobs
from prlhf.training.memory import Memory, Pass, estimate_memory
from prlhf.types import Comparison

WITHIN = 1.4
"""The factor that docs/training.md states."""


def test_memory_of_gradients_and_moments_is_what_a_step_has(base_folder, tmp_path):
    lm = model(base_folder())
    made = trainer(lm, dataset(lm, comparisons(4)), tmp_path, lr=1e-4)
    made.train()
    state = made.user_optimizer.state
    moments = lambda p: sum(t.numel() * t.element_size() for t in state[p].values() if t.ndim)  # noqa: E731
    trained = [p for p in lm.model.parameters() if p.requires_grad]
    estimate = estimate_memory(lm.model, lm.user_model, Pass(1, 1, 1, "plain"))
    assert estimate.training == sum(p.numel() * p.element_size() + moments(p) for p in trained)
    users = list(lm.user_model.parameters())
    gradients = sum(p.numel() * p.element_size() for p in users if p is not lm.user_model.table.weight)
    assert estimate.users == sum(p.numel() * p.element_size() + moments(p) for p in users) + gradients


def kept(lm: PersonalizedLM, encoded, layout: str, bf16: bool = False) -> int:
    """Bytes that a forward pass keeps for its backward pass, the weights themselves aside."""
    sizes: dict[int, int] = {}
    held = []  # so that no place is used twice

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        held.append(tensor)
        return tensor

    weights = {p.untyped_storage().data_ptr() for p in lm.parameters()}
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=bf16)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), autocast:
        pair_logprobs(lm, [encoded], [[1, 0]], layout).chosen.sum()
    return sum(size for place, size in sizes.items() if place not in weights)


def estimate(lm: PersonalizedLM, encoded, layout: str, bf16: bool = False, **options) -> Memory:
    one = Pass.of(encoded, branches=2, user_tokens=lm.user_model.tokens, layout=layout, bf16=bf16)
    return estimate_memory(lm.model, lm.user_model, one, **options)


@pytest.mark.parametrize("length", [20, 150])  # attention scores grow with its square
@pytest.mark.parametrize(
    ("architecture", "layout"), [("llama", "packed"), ("llama", "plain"), ("gpt2", "packed"), ("gptj", "plain")]
)
def test_a_step_keeps_what_is_estimated(base_folder, architecture, layout, length):
    lm = model(base_folder(architecture))
    encoded = lm.template.comparison(Comparison("q" * length, "a" * length, "b" * length, user="ann"))
    choose_layout(lm, [encoded], layout)  # as a run does, which may take up attention by paths
    measured = kept(lm, encoded, layout)
    assert measured / WITHIN < estimate(lm, encoded, layout).step < WITHIN * measured


def test_autocast_keeps_copies_of_the_weights(base_folder):
    lm = model(base_folder("llama"))
    encoded = lm.template.comparison(Comparison("q", "a", "b", user="ann"))
    found = estimate(lm, encoded, "packed", bf16=True)
    matrices = [m.weight.numel() for m in lm.model.modules() if isinstance(m, torch.nn.Linear)]
    assert found.copies == 2 * sum(matrices)  # the output projection, which is the embedding, among them
    measured = kept(lm, encoded, "packed", bf16=True)
    assert measured / WITHIN < found.copies + found.step < WITHIN * measured
    assert estimate(lm, encoded, "packed", bf16=True, checkpointing=True).copies < 0.7 * found.copies


def test_what_changes_the_estimate(base_folder):
    lm = model(base_folder("llama"))
    encoded = lm.template.comparison(Comparison("q" * 50, "a" * 50, "b" * 50, user="ann"))
    found = estimate(lm, encoded, "plain")
    assert estimate(lm, encoded, "plain", checkpointing=True).step < found.step
    assert estimate(lm, encoded, "plain", splits_head=False).step > found.step  # logits of every position
    assert found.copies == found.forward == 0
    wide = Pass.of(encoded, branches=3, user_tokens=2, layout="plain").times(64)
    evaluated = estimate(lm, encoded, "plain", forward=[wide])
    assert evaluated.forward > found.step and evaluated.total == found.total - found.step + evaluated.forward


def test_a_pass_has_the_rows_that_are_computed(base_folder):
    for place in ("start", "before_response"):
        lm = model(base_folder("llama"), user_tokens_at=place)
        for c in lm.template.comparison(comparisons(1)[0]), lm.template.comparison(comparisons(5)[4]):
            for layout in ("plain", "packed"):
                with torch.no_grad():
                    seen = record(lm, c, layout)
                found = Pass.of(c, branches=2, user_tokens=2, layout=layout)
                assert (found.rows, found.length) == seen


def record(lm: PersonalizedLM, encoded, layout: str) -> tuple[int, ...]:
    """The shape of the ids that the decoder is given."""
    shapes = []
    hook = lm.decoder.register_forward_pre_hook(
        lambda module, args, options: shapes.append(tuple(options["input_ids"].shape)), with_kwargs=True
    )
    pair_logprobs(lm, [encoded], [[1, 0]], layout)
    hook.remove()
    return shapes[-1]
