"""The reference: what it sees, and that it is computed once per comparison, ever."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import prlhf.lm.logprobs as logprobs
import prlhf.lm.projection as projection
import prlhf.lm.reference as reference
from prlhf.config import Full, Individual, Lora, ModelConfig, Uniform
from prlhf.errors import CheckpointError
from prlhf.lm import PersonalizedLM, default_cache, pair_logprobs, pair_scores, reference_logprobs
from prlhf.lm.lora import add_lora, lora_config
from prlhf.objectives import dpo_loss
from prlhf.types import Comparison
from tiny_models import make_model, make_tokenizer

LOG = [
    Comparison("why is the sky blue?", "light scatters", "because", user="ann"),
    Comparison("name a colour", "red", "a very long answer that nobody asked for", user="bob"),
    Comparison("", "x", "yy", user_text="likes it short"),
    *(Comparison(f"question {i}", "a" * i, "b" * (9 - i)) for i in range(1, 7)),
]


def fresh(base, user_model=None, **options) -> PersonalizedLM:
    return PersonalizedLM.create(ModelConfig(base=base, **options), user_model or Individual(tokens=2), ["ann", "bob"])


def encode(lm, log=LOG):
    return [lm.template.comparison(c) for c in log]


@torch.no_grad()
def disturb(lm):
    """Move every trained parameter, as training does."""
    torch.manual_seed(5)
    for p in lm.parameters():
        if p.requires_grad:
            p.add_(torch.randn_like(p) * 0.1)


@pytest.fixture
def counted(monkeypatch):
    """The sizes of all forward passes of the reference."""
    sizes: list[int] = []
    original = reference.pair_logprobs

    def count(lm, batch, branches, layout):
        assert all(rows == [-1] for rows in branches)
        sizes.append(len(batch))
        return original(lm, batch, branches, layout)

    monkeypatch.setattr(reference, "pair_logprobs", count)
    return sizes


@torch.no_grad()
def by_hand(model, prompt, response):
    logps = model(torch.tensor([[*prompt, *response]])).logits.double().log_softmax(-1)[0]
    return sum(logps[len(prompt) - 1 + i, token].item() for i, token in enumerate(response))


@pytest.mark.parametrize("place", ["start", "before_response"])
@pytest.mark.parametrize("layout", ["packed", "plain"])
def test_it_is_the_base_without_user_tokens_and_lora(base_folder, place, layout):
    lm = fresh(base_folder(), user_tokens_at=place)
    disturb(lm)
    base = make_model()
    encoded = encode(lm)
    values = reference_logprobs(lm, encoded, layout=layout)
    for c, (chosen, rejected) in zip(encoded, values, strict=True):
        assert max(c.reference_prompt) < lm.vocab_rows
        assert chosen == pytest.approx(by_hand(base, c.reference_prompt, c.chosen), abs=1e-3)
        assert rejected == pytest.approx(by_hand(base, c.reference_prompt, c.rejected), abs=1e-3)
    assert lm.training  # the mode is what it was


def test_the_users_text_is_seen_or_not(base_folder):
    with_text, without = fresh(base_folder()), fresh(base_folder(), reference_user_text=False)
    log = [LOG[2], replace(LOG[2], user_text=None)]
    seen = reference_logprobs(with_text, encode(with_text, log))
    unseen = reference_logprobs(without, encode(without, log))
    assert abs(seen[0, 0] - seen[1, 0]) > 1e-3
    assert unseen[0].tolist() == pytest.approx(unseen[1].tolist(), abs=1e-4)
    assert unseen[1].tolist() == pytest.approx(seen[1].tolist(), abs=1e-4)


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize("layout", ["packed", "plain"])
@pytest.mark.parametrize("tuning", [Lora(), Full()], ids=["lora", "full"])
def test_without_user_tokens_the_loss_at_step_0_is_ln_2(base_folder, layout, tuning, architecture):
    lm = fresh(base_folder(architecture, dtype=torch.float64), Uniform(), tuning=tuning)
    encoded = encode(lm)
    difference = reference_logprobs(lm, encoded, layout=layout, batch_size=2)
    lm.train()  # GPT-2 brings dropout, which must not show here
    with torch.no_grad():
        logps = pair_logprobs(lm, encoded, [[0]] * len(encoded), layout)
    h = logps.chosen[:, 0] - logps.rejected[:, 0] - torch.from_numpy(difference[:, 0] - difference[:, 1])
    tolerance = 1e-12 if architecture == "gpt2" else 1e-6  # Llama's norms compute in fp32
    assert dpo_loss(h, 0.1).numpy() == pytest.approx(np.full(len(LOG), math.log(2)), abs=tolerance)


def test_everybody_starts_generic_and_user_tokens_count(base_folder):
    lm = fresh(base_folder())
    encoded = encode(lm)
    scores = pair_scores(lm, encoded, np.tile([-1, 0, 1, 2], (len(encoded), 1)))
    assert np.array_equal(scores[:, 1], scores[:, 2]) and np.array_equal(scores[:, 1], scores[:, 3])
    assert scores[:, 0] == pytest.approx(reference_logprobs(lm, encoded), abs=1e-4)
    assert np.abs(scores[:, 0] - scores[:, 1]).max() > 1e-3


@pytest.mark.parametrize("layout", ["plain", "packed"])
def test_long_comparisons_come_in_smaller_batches(base_folder, monkeypatch, counted, layout):
    lm = fresh(base_folder())
    encoded = encode(lm)
    rows = np.tile([0, 1], (len(encoded), 1))
    whole = reference_logprobs(lm, encoded, layout=layout), pair_scores(lm, encoded, rows, layout=layout)
    assert counted == [len(encoded)]
    monkeypatch.setitem(logprobs.AT_ONCE, "cpu", 100)
    for limit in ("LOGITS", "FEWEST"):
        monkeypatch.setattr(projection, limit, 7)
    parts = reference_logprobs(lm, encoded, layout=layout), pair_scores(lm, encoded, rows, layout=layout)
    assert sum(counted[1:]) == len(encoded) and len(counted) > 3
    for found, expected in zip(parts, whole, strict=True):
        assert found == pytest.approx(expected, abs=1e-4)


def test_a_hit_costs_no_forward(base_folder, tmp_path, counted):
    lm = fresh(base_folder())
    encoded = encode(lm)
    first = reference_logprobs(lm, [*encoded, encoded[0]], cache=tmp_path, batch_size=4)
    assert counted == [4, 4, 1]  # the repeated one is computed once
    assert np.array_equal(first[0], first[-1])
    disturb(lm)
    assert np.array_equal(reference_logprobs(lm, encoded, cache=tmp_path, batch_size=4), first[:-1])
    other = fresh(base_folder(), Uniform(), user_tokens_at="start", tuning=Full())
    assert np.array_equal(reference_logprobs(other, encode(other), cache=tmp_path), first[:-1])
    assert counted == [4, 4, 1]
    more = encode(lm, [LOG[0], replace(LOG[0], rejected="beca")])
    reference_logprobs(lm, more, cache=tmp_path)
    assert counted == [4, 4, 1, 1]


def test_the_key_is_the_model_and_the_content(base_folder, tmp_path, counted):
    models = [
        fresh(base_folder()),
        fresh(base_folder("gpt2")),
        fresh(base_folder(), reference_user_text=False),
        fresh(base_folder(dtype=torch.float64)),
    ]
    values = [reference_logprobs(lm, encode(lm), cache=tmp_path) for lm in models]
    assert counted == [9, 9, 1, 9]  # of the third only the one with a user text is new
    assert len(list(tmp_path.iterdir())) == 3
    assert not np.allclose(values[0], values[1])


@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
def test_a_damaged_file_is_made_again(base_folder, tmp_path, counted, caplog, damage):
    lm = fresh(base_folder())
    first = reference_logprobs(lm, encode(lm), cache=tmp_path)
    [file] = tmp_path.glob("*/*")
    file.write_bytes(file.read_bytes()[:-7] if damage is None else damage)
    assert np.array_equal(reference_logprobs(lm, encode(lm), cache=tmp_path), first)
    assert counted == [9, 9] and "damaged" in caplog.text
    assert len(load_file(str(file))["keys"]) == 9


def test_a_killed_pass_goes_on_with_the_same_batches(base_folder, tmp_path, counted):
    lm = fresh(base_folder())
    whole = reference_logprobs(lm, encode(lm), cache=tmp_path / "whole", batch_size=2, flush_every=1)

    def killed(batches, what):
        for i, start in enumerate(batches):
            if i == 3:
                raise KeyboardInterrupt
            yield start

    with pytest.raises(KeyboardInterrupt):
        reference_logprobs(lm, encode(lm), cache=tmp_path / "cut", batch_size=2, flush_every=2, progress=killed)
    assert lm.training and torch.is_grad_enabled()
    assert counted == [2, 2, 2, 2, 1, 2, 2, 2]
    again = reference_logprobs(lm, encode(lm), cache=tmp_path / "cut", batch_size=2, flush_every=2)
    assert np.array_equal(again, whole)
    assert counted[8:] == [2, 2, 1]  # two batches had been kept
    held = [reference.ReferenceCache(tmp_path / name, f"{lm.base_fingerprint}-plain") for name in ("whole", "cut")]
    assert np.array_equal(held[0].keys, held[1].keys) and np.array_equal(held[0].values, held[1].values)
    assert len(held[0]) == 9


def test_two_runs_share_a_cache(base_folder, tmp_path):
    lm = fresh(base_folder())
    encoded = encode(lm)
    first = reference.ReferenceCache(tmp_path, f"{lm.base_fingerprint}-plain")
    reference_logprobs(lm, encoded[:4], cache=tmp_path)
    first.add(np.array([b"1" * 16]), np.array([[1.0, 2.0]]))
    both = reference.ReferenceCache(tmp_path, f"{lm.base_fingerprint}-plain")
    assert len(both) == 5
    assert both.find(np.array([b"1" * 16, b"2" * 16]))[0].tolist() == [1, 2]


def test_many_files_become_one(tmp_path):
    """What runs add is a file each; merging keeps every pair, and what another run adds or merges meanwhile."""
    a, b = reference.ReferenceCache(tmp_path, "x"), reference.ReferenceCache(tmp_path, "x")
    keys = np.array([i.to_bytes(16, "little") for i in range(24)], reference.KEY)  # most of them end with zeros
    values = np.arange(48.0).reshape(24, 2)
    for i in range(12):
        a.add(keys[i : i + 1], values[i : i + 1])
    for i in range(12, 24):
        b.add(keys[i : i + 1], values[i : i + 1])
    assert len(list(a.path.iterdir())) == 24
    c = reference.ReferenceCache(tmp_path, "x")
    a.merge()
    assert len(list(a.path.iterdir())) == 13  # those of b are not its own
    c.merge()  # finds that files are gone, and leaves the rest alone
    reference.ReferenceCache(tmp_path, "x").merge()
    assert len(list(a.path.iterdir())) == 1
    found = reference.ReferenceCache(tmp_path, "x")
    assert len(found) == 24 and np.array_equal(found.find(keys), values)
    assert np.isnan(found.find(np.array([b"\xff" * 16, b"z"], reference.KEY))).all()


def test_what_is_not_finite_is_not_remembered(base_folder, tmp_path):
    cache = reference.ReferenceCache(tmp_path, "x")
    cache.add(np.array([b"0" * 16, b"1" * 16]), np.array([[1.0, math.nan], [1.0, 2.0]]))
    held = reference.ReferenceCache(tmp_path, "x")
    assert held.keys.tolist() == [b"1" * 16] and held.values.tolist() == [[1.0, 2.0]]


def test_a_cache_without_room_loses_nothing(base_folder, tmp_path, caplog):
    (tmp_path / "cache").write_text("not a folder", encoding="utf8")
    lm = fresh(base_folder())
    encoded = encode(lm)
    found = reference_logprobs(lm, encoded, cache=tmp_path / "cache", batch_size=2, flush_every=1)
    assert np.array_equal(found, reference_logprobs(lm, encoded, batch_size=2))
    assert caplog.text.count("reference log-probabilities are not kept") == 1  # not once a batch


def test_after_full_fine_tuning_the_base_is_loaded_again(base_folder, tmp_path):
    lm = fresh(base_folder(), tuning=Full())
    before = reference_logprobs(lm, encode(lm))
    disturb(lm)
    own = lm.model
    assert np.array_equal(reference_logprobs(lm, encode(lm)), before)
    assert lm.model is own
    again = PersonalizedLM.from_pretrained(lm.save_pretrained(tmp_path / "model"))
    assert np.array_equal(reference_logprobs(again, encode(again)), before)


def test_a_base_that_has_changed_meanwhile_is_refused(tmp_path):
    base = tmp_path / "base"
    make_model().save_pretrained(base)
    make_tokenizer().save_pretrained(base)
    lm = fresh(str(base), tuning=Full())
    disturb(lm)
    changed = make_model()
    with torch.no_grad():
        changed.get_input_embeddings().weight.mul_(1.01)
    changed.save_pretrained(base)
    with pytest.raises(CheckpointError, match="no longer the model that training started from"):
        reference_logprobs(lm, encode(lm), cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("PRLHF_CACHE", str(tmp_path))
    assert default_cache() == tmp_path
    monkeypatch.delenv("PRLHF_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "prlhf"


def test_autocast_has_a_cache_of_its_own(base_folder, tmp_path, counted):
    lm = fresh(base_folder())
    few = encode(lm, LOG[:2])
    full = reference_logprobs(lm, few, cache=tmp_path)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = reference_logprobs(lm, few, cache=tmp_path)
    assert counted == [2, 2]
    assert not np.array_equal(full, rounded)
    assert np.array_equal(reference_logprobs(lm, few, cache=tmp_path), full)
    assert counted == [2, 2]
    assert {f.name for f in tmp_path.iterdir()} == {
        f"reference-{lm.base_fingerprint}-plain{kind}" for kind in ("", "-bfloat16")
    }


def test_each_layout_has_a_cache_of_its_own(base_folder, tmp_path, counted):
    lm = fresh(base_folder())
    few = encode(lm, LOG[:2])
    for layout in ("plain", "packed", "packed"):
        reference_logprobs(lm, few, layout=layout, cache=tmp_path)
    assert counted == [2, 2]


def test_orders_and_growing_data_cost_only_what_is_new(base_folder, tmp_path, counted):
    lm = fresh(base_folder())
    encoded = encode(lm)
    first = reference_logprobs(lm, encoded[:6], cache=tmp_path)
    grown = reference_logprobs(lm, encoded[::-1], cache=tmp_path)
    assert counted == [6, 3]
    assert np.array_equal(grown[::-1][:6], first)
    assert np.array_equal(reference_logprobs(lm, [*encoded, *encoded], cache=tmp_path), np.tile(grown[::-1], (2, 1)))
    assert counted == [6, 3]


def test_another_tokenizer_template_or_adapter_is_computed_anew(base_folder, tmp_path, counted):
    """Tokenizer and template are in the token ids; an adapter is in the weights by which the cache is named."""
    lm = fresh(base_folder())
    encoded = encode(lm, LOG[:2])
    plain = reference_logprobs(lm, encoded, cache=tmp_path)
    with_bos, chat = fresh(base_folder(bos=False)), fresh(base_folder(chat=True))
    for other in (with_bos, chat):
        assert other.base_fingerprint == lm.base_fingerprint  # the same weights
        assert not np.array_equal(reference_logprobs(other, encode(other, LOG[:2]), cache=tmp_path), plain)
    assert counted == [2, 2, 2]
    peft = add_lora(make_model(), lora_config(Lora()))
    with torch.no_grad():
        for name, p in peft.named_parameters():
            if "lora_B" in name:
                p.add_(0.3)
    peft.save_pretrained(tmp_path / "adapter")
    adapted = fresh(base_folder(), adapter=str(tmp_path / "adapter"))
    assert adapted.base_fingerprint != lm.base_fingerprint
    found = reference_logprobs(adapted, encode(adapted, LOG[:2]), cache=tmp_path)
    assert counted == [2, 2, 2, 2] and not np.allclose(found, plain, atol=1e-4)
