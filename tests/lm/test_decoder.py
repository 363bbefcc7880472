"""However the work is done, the answers are the same: common beginnings, rows that leave, a LoRA folded in."""

import pytest
import torch
from peft.tuners.lora import LoraLayer
from test_generate import personalised

from families import TYPES
from prlhf.errors import ConfigError, DataError
from prlhf.lm import PersonalizedLM
from prlhf.lm.batching import Batch
from prlhf.lm.caches import keeps_rows, window
from prlhf.lm.decoder import Decoder, shares_beginnings
from prlhf.lm.merging import folded
from prlhf.lm.requests import GenerationOptions
from prlhf.types import Message
from tiny_models import make_model

HEAD = "What follows is asked by somebody who has read this before: "
PROMPTS = [HEAD + end for end in ("hi", "why is the sea blue?", "hi", "no")]
USERS = ["ann", "bob", None, "bob"]


@pytest.fixture
def lm(base_folder) -> PersonalizedLM:
    return personalised(base_folder(), user_tokens_at="before_response")


@pytest.fixture
def passed(monkeypatch):
    """`passed(lm)`: the shapes that a model's forward is given from then on."""

    def watch(lm: PersonalizedLM) -> list[tuple[int, int]]:
        shapes: list[tuple[int, int]] = []

        def note(module, args, kwargs):
            shapes.append(tuple(kwargs["input_ids"].shape))

        lm.causal_lm.register_forward_pre_hook(note, with_kwargs=True)
        return shapes

    return watch


@pytest.mark.parametrize("architecture", TYPES)
def test_a_common_beginning_changes_no_answer(base_folder, passed, architecture):
    lm = personalised(base_folder(architecture), user_tokens_at="before_response")
    options = {"users": USERS, "max_new_tokens": 6, "details": True}
    apart = lm.generate(PROMPTS, share_prefix="off", **options)
    assert shares_beginnings(lm)
    shapes = passed(lm)
    assert lm.generate(PROMPTS, **options) == apart
    narrow = architecture == "mistral"  # rests of several lengths, and a window shorter than the prompts
    beginning = len(lm.tokenizer(HEAD)["input_ids"])
    assert ((1, beginning) in shapes) is not narrow
    assert apart[0].tokens != apart[2].tokens or architecture == "gemma3_text"  # the same question of two users


@pytest.mark.parametrize(("length", "options"), [(16, {}), (512, {}), (16, {"bos": False})])
def test_sliding_windows(base_folder, passed, length, options):
    lm = personalised(
        base_folder("mistral", sliding_window=length, **options), user_tokens_at="before_response", max_prompt_tokens=99
    )
    assert window(lm.causal_lm) == length
    shapes = passed(lm)
    for ends in (("a", "b", "c"), ("a", "bcd", "cd")):
        wanted = {"users": ["ann", "bob", None], "max_new_tokens": 8, "details": True}
        prompts = [HEAD + end for end in ends]
        apart = lm.generate(prompts, share_prefix="off", **wanted)
        shapes.clear()
        assert lm.generate(prompts, **wanted) == apart
        even = len({len(end) for end in ends}) == 1
        assert any(rows == 1 and columns > 1 for rows, columns in shapes) is (even or length == 512)


@pytest.mark.parametrize("place", ["start", "after_system", "before_response"])
def test_what_users_share_ends_where_their_tokens_stand(base_folder, passed, place):
    lm = personalised(base_folder("llama", chat=True), user_tokens_at=place)
    system = Message("system", "be brief and polite, as one is when many are waiting for an answer " * 3)
    prompts = [(system, Message("user", "why is it so?"))] * 8
    options = {"users": ["ann", "bob"] * 4, "max_new_tokens": 3, "details": True, "batch_size": 4}
    apart = lm.generate(prompts, share_prefix="off", **options)
    shares_beginnings(lm)
    shapes = passed(lm)
    assert lm.generate(prompts, **options) == apart
    rendered = lm.template.prompt(prompts[0])
    first = sum(columns * rows for rows, columns in shapes if columns > 1)
    rest = len(rendered.ids) - rendered.cut + 3
    whole = rendered.cut + rest - 1  # user tokens first: the four rows of a batch are one user's
    assert first == (2 * whole if place == "start" else rendered.cut + 8 * rest)


def test_a_beginning_is_computed_once_for_all_batches(lm, passed):
    shares_beginnings(lm)
    shapes = passed(lm)
    answers = lm.generate([HEAD] * 6, "ann", num_samples=2, max_new_tokens=2, temperature=1.0, seed=1, batch_size=4)
    assert [s for s in shapes if s[1] > 1] == [(1, len(lm.encode_prompt(HEAD, 1)) - 1)]
    options = {"num_samples": 2, "max_new_tokens": 2, "temperature": 1.0, "seed": 1, "batch_size": 4}
    assert answers == lm.generate([HEAD] * 6, "ann", share_prefix="off", **options)


def test_beginnings_of_several_lengths_and_none_in_one_batch(lm):
    prompts = [*PROMPTS, *(f"Another beginning, and a short one: {i}" for i in range(4)), "alone"]
    found = {
        share: lm.generate(prompts, ["ann", "bob", None] * 3, share_prefix=share, max_new_tokens=6, details=True)
        for share in ("auto", "off")
    }
    assert found["auto"] == found["off"]
    ids = [lm.encode_prompt(p, 1) for p in prompts]
    decoder = Decoder(lm, GenerationOptions(), ids, [4] * 9, [0] * 9)
    shared = tuple(len(lm.tokenizer(HEAD)["input_ids"]) if i < 4 else 20 if i < 8 else 0 for i in range(9))
    assert decoder.answer(Batch(tuple(range(9)), shared)) == decoder.answer(Batch(tuple(range(9))))


def test_penalties_and_stop_texts_see_the_same_after_a_common_beginning(lm):
    for more in (
        {"repetition_penalty": 1.5},
        {"no_repeat_ngram_size": 1},
        {"temperature": 1.3, "top_p": 0.9, "seed": 4},
        {"stop": ["a", "e", "é"]},
    ):
        options = {"users": USERS, "max_new_tokens": 20, "details": True, **more}
        assert lm.generate(PROMPTS, **options) == lm.generate(PROMPTS, share_prefix="off", batch_size=1, **options)


def test_a_model_whose_answers_would_change_computes_each_row_whole(lm, passed, monkeypatch):
    wanted = lm.generate(PROMPTS, USERS, share_prefix="off", max_new_tokens=4)
    noise = iter(range(1, 100))
    handle = lm.head.register_forward_hook(lambda module, args, out: out.roll(next(noise), -1))
    assert not shares_beginnings(lm)
    handle.remove()
    shapes = passed(lm)
    assert lm.generate(PROMPTS, USERS, max_new_tokens=4) == wanted
    assert shapes[0][0] == 4


def test_tokens_that_a_model_rules_out_do_not_hinder(lm):
    lm.head.register_forward_hook(lambda module, args, out: out.index_fill(-1, torch.tensor([2]), -torch.inf))
    assert shares_beginnings(lm)


def test_states_that_are_no_keys_and_values_are_not_shared():
    assert keeps_rows(make_model("llama")) and window(make_model("llama")) is None
    mixed = make_model("lfm2", layer_types=["conv", "full_attention"], num_key_value_heads=2)
    assert not keeps_rows(mixed)


def test_each_request_has_its_own_limit(lm):
    limits = [9, 2, 30, 5]
    found = lm.generate(PROMPTS, USERS, max_new_tokens=limits, details=True)
    alone = [
        lm.generate([p], u, max_new_tokens=n, details=True)[0] for p, u, n in zip(PROMPTS, USERS, limits, strict=True)
    ]
    assert found == alone and [len(g.tokens) for g in found] == limits
    twice = lm.generate(PROMPTS, USERS, max_new_tokens=limits, num_samples=2, batch_size=3, details=True)
    assert twice[::2] == twice[1::2] == alone
    for wrong in ([9, 2, 0, 5], [9, 2.5, 3, 5], [9, True, 3, 5]):
        with pytest.raises(ConfigError, match="max_new_tokens: found"):
            lm.generate(PROMPTS, USERS, max_new_tokens=wrong)
    with pytest.raises(DataError, match="max_new_tokens: found 2 for 4"):
        lm.generate(PROMPTS, USERS, max_new_tokens=[1, 2])


@pytest.mark.parametrize("architecture", ["llama", "mistral", "gpt2"])
@pytest.mark.parametrize("more", [{}, {"temperature": 1.2, "seed": 2}, {"no_repeat_ngram_size": 2}, {"stop": ["a"]}])
def test_rows_that_are_done_leave_the_batch(base_folder, passed, architecture, more):
    lm = personalised(base_folder(architecture))
    limits = [12, 3, 3, 12, 7, 12]
    prompts, users = ["hi", "why?", "a longer one", "no", "hi", "hm"], ["ann", "bob", None, "bob", "bob", "ann"]
    alone = lm.generate(prompts, users, max_new_tokens=limits, batch_size=1, details=True, **more)
    shapes = passed(lm)
    assert lm.generate(prompts, users, max_new_tokens=limits, details=True, **more) == alone
    rows = [rows for rows, columns in shapes if columns == 1]
    if not more:
        assert rows == [6] * 2 + [4] * 4 + [3] * 5
    assert sum(rows) < 6 * 11


def test_an_end_of_sequence_lets_a_row_leave(lm, passed):
    free = lm.generate(PROMPTS, USERS, max_new_tokens=20, details=True)
    lm.causal_lm.generation_config.eos_token_id = [2, free[0].tokens[4]]
    alone = lm.generate(PROMPTS, USERS, max_new_tokens=20, batch_size=1, details=True)
    shapes = passed(lm)
    assert lm.generate(PROMPTS, USERS, max_new_tokens=20, details=True) == alone
    assert alone[0].finished and len({rows for rows, columns in shapes if columns == 1}) > 1


def weights(lm: PersonalizedLM) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in lm.model.named_parameters()}


@pytest.mark.parametrize(
    ("architecture", "peft"),
    [("llama", {}), ("gpt2", {}), ("mixtral", {}), ("llama", {"use_dora": True}), ("gpt2", {"lora_bias": True})],
)
def test_a_lora_is_folded_in_meanwhile_and_comes_out_to_the_bit(base_folder, architecture, peft):
    lm = personalised(base_folder(architecture), tuning={"type": "lora", "dropout": 0.0, "peft": peft})
    before, ids = weights(lm), torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        logits = lm(ids).logits
        with folded(lm, "on", 1):
            inside = lm(ids).logits
            left = [m for m in lm.model.modules() if isinstance(m, LoraLayer)]
        after = lm(ids).logits
    assert bool(left) is bool(peft or architecture == "mixtral")  # those are no plain LoRA on a linear layer
    assert torch.equal(inside, logits) is bool(peft)
    torch.testing.assert_close(inside, logits, rtol=1e-4, atol=1e-4 * float(logits.abs().max()))
    assert torch.equal(after, logits)
    assert all(torch.equal(p, before[name]) for name, p in weights(lm).items())
    assert lm.generate(PROMPTS, max_new_tokens=6, merge_lora="on") == lm.generate(
        PROMPTS, max_new_tokens=6, merge_lora="off"
    )


def test_when_a_lora_is_folded_in(base_folder):
    def count(lm: PersonalizedLM, how: str, steps: int) -> int:
        layers = [m for m in lm.model.modules() if isinstance(m, LoraLayer)]
        with folded(lm, how, steps):
            left = [m for m in lm.model.modules() if isinstance(m, LoraLayer)]
        assert layers == [m for m in lm.model.modules() if isinstance(m, LoraLayer)]
        return len(layers) - len(left)

    lm = personalised(base_folder())
    assert [count(lm, how, 10) for how in ("auto", "on", "off")] == [14, 14, 0]
    assert count(lm, "on", 0) == 0
    half = personalised(base_folder(dtype=torch.bfloat16), dtype="bfloat16")
    assert [count(half, how, 10) for how in ("auto", "on")] == [0, 14]
    with lm.adapter_off():
        assert count(lm, "on", 10) == 0  # a LoRA that is off stays off
    full = personalised(base_folder(), tuning={"type": "full"})
    assert count(full, "on", 10) == 0


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`")
def test_a_lora_on_a_tied_output_layer_stays(base_folder):
    lm = personalised(base_folder(), tuning={"type": "lora", "target_modules": ["lm_head", "q_proj"]})
    before = weights(lm)
    with folded(lm, "on", 1):
        assert [name for name, m in lm.model.named_modules() if isinstance(m, LoraLayer)] == [
            "base_model.model.lm_head"
        ]
    assert all(torch.equal(p, before[name]) for name, p in weights(lm).items())


@torch.no_grad()
@pytest.mark.parametrize("shared", ["layer", "weight"])
def test_a_lora_on_weights_that_two_layers_share_stays(base_folder, shared):
    lm = personalised(base_folder())
    one, other = (m for m in lm.model.modules() if hasattr(m, "q_proj") and m is not lm.model)
    if shared == "layer":
        other.q_proj = one.q_proj
    else:
        other.q_proj.base_layer.weight = one.q_proj.base_layer.weight
    ids = torch.tensor([[5, 6, 7]])
    logits = lm(ids).logits
    with folded(lm, "on", 1):
        torch.testing.assert_close(lm(ids).logits, logits, rtol=1e-4, atol=1e-4 * float(logits.abs().max()))
        assert isinstance(one.q_proj, LoraLayer) and isinstance(other.q_proj, LoraLayer)
    assert torch.equal(lm(ids).logits, logits)


def test_an_error_inside_leaves_the_weights_as_they_were(lm, monkeypatch):
    before = weights(lm)
    monkeypatch.setattr(lm.causal_lm, "generate", lambda **_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        lm.generate(["hi"], "ann", merge_lora="on")
    assert all(torch.equal(p, before[name]) for name, p in weights(lm).items())


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"batch_size": 0}, "batch_size: found 0, expected at least 1"),
        ({"share_prefix": "on"}, "share_prefix: found 'on', expected 'auto' or 'off'"),
        ({"merge_lora": True}, "merge_lora: found True, expected 'auto' or 'on' or 'off'"),
    ],
)
def test_options_of_the_work_are_checked(lm, wrong, told):
    with pytest.raises(ConfigError, match=told):
        lm.generate(["hi"], **wrong)
