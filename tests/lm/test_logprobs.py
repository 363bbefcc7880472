"""Pair log-probabilities: packed equals plain equals one response at a time; and TRL's numbers."""

from dataclasses import replace

import pytest
import torch
from test_personalized import personalised
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from families import FAMILIES, FIRST
from prlhf.config import Individual, ModelConfig, Uniform
from prlhf.lm import PersonalizedLM, choose_layout, pair_logprobs
from prlhf.lm.paths import ATTENTION, attend
from prlhf.types import Comparison

LOG = [
    Comparison("why is the sky blue?", "light scatters", "because"),
    Comparison("name a colour", "red", "a very long answer that nobody asked for"),
    Comparison("", "x", "yy", user_text="likes it short"),
]


def one_by_one(lm: PersonalizedLM, prompt: list[int], response: tuple[int, ...]) -> torch.Tensor:
    ids = torch.tensor([prompt + list(response)])
    logps = lm(ids).logits.double().log_softmax(-1)[0]
    return sum(logps[len(prompt) - 1 + i, token] for i, token in enumerate(response))


# every place for the first families; for the others the paper's, in the layouts that are right for them
CASES = [(kind, place, layout) for kind in FIRST for place in ("start", "after_system", "before_response")
         for layout in ("packed", "plain")]  # fmt: skip
CASES += [(f.type, "start", layout) for f in FAMILIES[len(FIRST) :] for layout in {f.layout, "plain"}]


@pytest.mark.parametrize(("architecture", "place", "layout"), sorted(CASES))
@torch.no_grad()
def test_equals_one_response_at_a_time(base_folder, architecture, place, layout):
    lm = personalised(base_folder(architecture), user_tokens_at=place)
    batch = [lm.template.comparison(c) for c in LOG]
    branches = [[1, 0], [2, 0], [1, 2]]
    logps = pair_logprobs(lm, batch, branches, layout)
    for i, (c, rows) in enumerate(zip(LOG, branches, strict=True)):
        for j, row in enumerate(rows):
            prompt = lm.encode_prompt(c.prompt, row, c.user_text)
            assert logps.chosen[i, j].item() == pytest.approx(one_by_one(lm, prompt, batch[i].chosen).item(), abs=1e-3)
            assert logps.rejected[i, j].item() == pytest.approx(
                one_by_one(lm, prompt, batch[i].rejected).item(), abs=1e-3
            )
            assert logps.chosen_tokens[i, j] == len(batch[i].chosen)


@pytest.mark.parametrize("place", ["start", "before_response"])
@pytest.mark.parametrize(("architecture", "tolerance"), [("gpt2", 1e-9), ("llama", 1e-4)])  # Llama's norms are in fp32
def test_gradients_of_packed_and_plain_agree_in_fp64(base_folder, architecture, tolerance, place):
    folder = base_folder(architecture, dtype=torch.float64)
    lm = personalised(folder, user_tokens_at=place, dtype="float64").double()
    batch = [lm.template.comparison(c) for c in LOG]
    gradients = []
    for layout in ("packed", "plain"):
        lm.zero_grad()
        logps = pair_logprobs(lm, batch, [[1, 0], [2, 0], [1, 0]], layout)
        (logps.chosen - 0.7 * logps.rejected).square().sum().backward()
        dense = [p.grad.clone() for n, p in lm.named_parameters() if p.grad is not None and "table" not in n]
        gradients.append([*dense, lm.user_model.table.weight.grad.to_dense()])
    assert len(gradients[0]) > 10
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("place", ["start", "before_response"])
@pytest.mark.parametrize(("architecture", "tolerance"), [("gpt2", 1e-9), ("llama", 1e-4), ("qwen3", 1e-4)])
def test_attention_by_paths_is_that_with_a_mask(base_folder, monkeypatch, architecture, tolerance, place):
    """Comparisons, a thumb, an empty prompt, an empty response; values and gradients of prompts, users and weights."""
    shapes = []

    def note(module, query, key, *rest, **kwargs):
        shapes.append((query.shape[2], key.shape[2]))
        return sdpa_attention_forward(module, query, key, *rest, **kwargs)

    monkeypatch.setattr("prlhf.lm.paths.sdpa_attention_forward", note)
    folder = base_folder(architecture, dtype=torch.float64)
    batch, found = None, []
    for attention in ("sdpa", "paths"):
        lm = personalised(folder, user_tokens_at=place, dtype="float64", attention=attention).double()
        if batch is None:
            batch = [lm.template.comparison(c) for c in LOG]
            batch += [replace(batch[0], rejected=()), replace(batch[1], chosen=(5,), rejected=())]
        logps = pair_logprobs(lm, batch, [[1, 0], [2, 0], [1, 0], [0, 2], [1, 2]], "packed")
        (logps.chosen - 0.7 * logps.rejected).square().sum().backward()
        dense = [p.grad for n, p in lm.named_parameters() if p.grad is not None and "table" not in n]
        found.append([logps.chosen, logps.rejected, *dense, lm.user_model.table.weight.grad.to_dense()])
    assert any(q < k for q, k in shapes)
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def test_attention_goes_by_paths_where_rows_are_long(base_folder):
    seen = []

    def note(*args, paths=None, **kwargs):
        seen.append(paths)
        return sdpa_attention_forward(*args, **kwargs)

    long = Comparison("why? " * 80, "light scatters", "because")
    try:
        AttentionInterface.register(ATTENTION, note)
        for attention, comparison, by_paths in (
            ("auto", long, True), ("auto", LOG[0], False), ("paths", LOG[0], True), ("sdpa", long, False),
            ("eager", long, False),
        ):  # fmt: skip
            lm = personalised(base_folder(), attention=attention)
            encoded = [lm.template.comparison(comparison)]
            assert choose_layout(lm, encoded) == ("plain" if attention == "eager" else "packed")
            seen.clear()
            pair_logprobs(lm, encoded, [[1, 0]], "packed")
            assert any(paths is not None for paths in seen) == by_paths, (attention, by_paths)
            seen.clear()
            pair_logprobs(lm, [lm.template.comparison(comparison)], [[1, 0]], "plain")
            assert not any(paths is not None for paths in seen)
    finally:
        AttentionInterface.register(ATTENTION, attend)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.type)
def test_layout_is_chosen_by_numbers(base_folder, family):
    lm = personalised(base_folder(family.type))
    assert choose_layout(lm, [lm.template.comparison(c) for c in LOG]) == family.layout
    assert choose_layout(lm, [lm.template.comparison(LOG[0])], "plain") == "plain"


def test_a_model_that_ignores_the_mask_is_not_packed(base_folder):
    lm = personalised(base_folder("llama"))
    lm.decoder.register_forward_pre_hook(
        lambda m, args, kwargs: (args, {**kwargs, "attention_mask": None}), with_kwargs=True
    )
    assert choose_layout(lm, [lm.template.comparison(c) for c in LOG]) == "plain"


@pytest.mark.parametrize("architecture", ["gemma3_text", "mistral"])
def test_a_sliding_window_shows_itself_on_long_paths_only(base_folder, architecture):
    """The window is counted in positions; packed rows stand further apart than the same tokens in plain ones."""
    heads = {"num_key_value_heads": 2} if architecture == "mistral" else {}
    lm = personalised(base_folder(architecture, sliding_window=24, **heads))
    short = [Comparison("a?", "yes", "no", user="ann")] * 3
    # the sum of its parts is not the longest, its longer response is
    long = [Comparison("a?", "yes " * 12, "no", user="ann"), *[Comparison("b?", "y" * 30, "n" * 30)] * 4]
    assert choose_layout(lm, [lm.template.comparison(c) for c in short]) == "packed"
    assert choose_layout(lm, [lm.template.comparison(c) for c in [*short, *long]]) == "plain"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("architecture", "options", "layout"),
    [
        ("llama", {}, "packed"),
        ("qwen3", {}, "packed"),
        ("gpt2", {}, "packed"),
        ("llama", {"attention": "eager"}, "plain"),
        ("gemma3_text", {"sliding_window": 16}, "plain"),
        ("mistral", {"sliding_window": 24}, "plain"),
        ("gptj", {}, "plain"),
    ],
)
def test_few_digits_hide_no_wrong_layout(base_folder, architecture, options, layout, dtype):
    """Rounding is measured, not guessed: in 16 bit a hundred times its unit would be all of a log-probability."""
    attention = {name: options[name] for name in options if name == "attention"}
    sizes = {name: options[name] for name in options if name != "attention"}
    heads = {"num_key_value_heads": 2} if architecture == "mistral" else {}
    folder = base_folder(architecture, dtype=getattr(torch, dtype), **sizes, **(heads if sizes else {}))
    lm = personalised(folder, dtype=dtype, **attention)
    log = [Comparison(f"why is the sky blue, {i}?" * 3, "light scatters " * (2 + i), "because") for i in range(4)]
    assert choose_layout(lm, [lm.template.comparison(c) for c in log]) == layout


def test_the_layout_is_told_once_for_a_base(base_folder, caplog):
    lms = [personalised(base_folder("qwen3")) for _ in range(2)]
    with caplog.at_level("INFO", logger="prlhf"):
        for lm in (*lms, *lms):
            choose_layout(lm, [lm.template.comparison(c) for c in LOG])
    assert caplog.text.count("layout: ") <= 1  # 0 where another test was told
    caplog.clear()
    lms[0].base_fingerprint = "another"
    with caplog.at_level("INFO", logger="prlhf"):
        choose_layout(lms[0], [lms[0].template.comparison(c) for c in LOG])
    assert caplog.text.count("layout: packed (packed and plain differ by") == 1


def test_without_user_tokens_branches_are_one(base_folder):
    lm = PersonalizedLM.create(ModelConfig(base=base_folder()), Uniform(), ["ann"])
    logps = pair_logprobs(lm, [lm.template.comparison(LOG[0])], [[1, 0]], "packed")
    assert logps.chosen.shape == (1, 2)
    assert torch.equal(logps.chosen[:, 0], logps.chosen[:, 1])


def test_individual_tokens_count_once(base_folder):
    lm = PersonalizedLM.create(
        ModelConfig(base=base_folder(), user_tokens_at="before_response"), Individual(tokens=2), ["ann"]
    )
    assert lm.user_token_ids(1) == (274, 275)
    assert lm.encode_prompt("a", 1)[-2:] == [274, 275]
    assert lm.encode_prompt("a", -1) == lm.encode_prompt("a", 1)[:-2]
