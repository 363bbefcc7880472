"""Hidden states of a tiny model: against a second implementation, in batches and alone, cached, and what is refused."""

import numpy as np
import pytest
import torch

from prlhf.config.rewards import Hidden
from prlhf.errors import CheckpointError, ConfigError, DataError, UnsupportedModelError
from prlhf.rewards.features import hidden, load_features, make_features
from prlhf.types import Comparison, Message
from tiny_models import make_model, make_tokenizer

TALK = (Message("system", "Be brief."), Message("user", "Hi"))
VOTES = [Comparison("why?", "because", "no", user="u"), Comparison("who?", "me", "you", user="u")]
PROMPTS = ["why?", "why?", TALK, "", "who goes there?"]
RESPONSES = ["because", "no", "ok", "", "it is I, and I am rather long-winded about it"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {}
    for name in ("plain", "chat"):
        made[name] = tmp_path_factory.mktemp(name)
        make_model().save_pretrained(made[name])
        make_tokenizer(chat=name == "chat").save_pretrained(made[name])
    return made


def made(folder, cache, **options):
    return make_features(Hidden(model=str(folder), surface=False, device="cpu", **options), VOTES, cache=cache)


def states(ids, layer=-1):
    with torch.no_grad():
        return make_model()(torch.tensor([ids]), output_hidden_states=True).hidden_states[layer][0].numpy()


def test_the_state_at_the_last_token_of_prompt_and_response(folders, tmp_path):
    found = made(folders["plain"], tmp_path)(["why?"], ["because"])
    ids = make_tokenizer()("why?because")["input_ids"]  # with <s>, and no </s>
    np.testing.assert_allclose(found, states(ids)[-1:], atol=1e-5)
    assert found.dtype == np.float32
    first = made(folders["plain"], tmp_path, layer=1)(["why?"], ["because"])
    np.testing.assert_allclose(first, states(ids, 1)[-1:], atol=1e-5)


def test_the_mean_is_over_the_response(folders, tmp_path):
    found = made(folders["plain"], tmp_path, pool="mean")(["why?"] * 2, ["because", "no"])
    for row, text in zip(found, ["because", "no"], strict=True):
        whole = states(make_tokenizer()("why?" + text)["input_ids"])
        np.testing.assert_allclose(row, whole[-len(text) :].mean(0), atol=1e-5)


def test_a_chat_template_writes_the_response_as_it_is_whichever_side_it_stands_on(folders, tmp_path):
    features = made(folders["chat"], tmp_path)
    tokenizer = make_tokenizer(chat=True)
    talk = [{"role": "user", "content": "why?"}, {"role": "assistant", "content": "because"}]
    text = tokenizer.apply_chat_template(talk, tokenize=False).removesuffix("\n")
    assert text.endswith("because</s>")
    expected = states(tokenizer(text, add_special_tokens=False)["input_ids"])[-1]
    np.testing.assert_allclose(features(["why?"], ["because"])[0], expected, atol=1e-5)
    never = made(folders["chat"], tmp_path, chat_template="never")(["why?"], ["because"])
    np.testing.assert_allclose(never, made(folders["plain"], tmp_path)(["why?"], ["because"]), atol=1e-6)


@pytest.mark.parametrize("pool", ["last", "mean"])
@pytest.mark.parametrize("name", ["plain", "chat"])
def test_a_batch_gives_what_each_alone_gives(folders, tmp_path, name, pool):
    batch = made(folders[name], tmp_path / "a", pool=pool)(PROMPTS, RESPONSES)
    alone = made(folders[name], tmp_path / "b", pool=pool, batch_size=1)(PROMPTS, RESPONSES)
    np.testing.assert_allclose(batch, alone, atol=1e-5)
    assert len(np.unique(batch.round(4), axis=0)) == len(batch)


def test_texts_about_users_are_read_by_themselves(folders, tmp_path):
    found = made(folders["chat"], tmp_path).texts(["likes cats", ""])
    np.testing.assert_allclose(found[0], states(make_tokenizer()("likes cats")["input_ids"])[-1], atol=1e-5)
    assert found.shape == (2, 32)


def test_long_prompts_lose_tokens_at_their_left_and_it_is_said(folders, tmp_path, caplog):
    features = made(folders["plain"], tmp_path, max_tokens=12)
    found = features(["a long prompt", "hm"], ["because", "a far too long response"])
    assert "of 2 prompts with a response 2 are cut at their left, and 1 responses at their right" in caplog.text
    ids = make_tokenizer()("mptbecause")["input_ids"]  # 11 with <s>: the template keeps one for the end of sequence
    np.testing.assert_allclose(found[0], states(ids)[-1], atol=1e-5)
    assert features([], []).shape == (0, 32)
    caplog.clear()
    features.texts(["a text that is too long"])
    assert "1 of 1 texts are cut at their left to 12 tokens" in caplog.text


def test_what_was_computed_is_not_computed_again_and_the_model_not_loaded(folders, tmp_path, monkeypatch):
    features = made(folders["plain"], tmp_path)
    found = features(PROMPTS, RESPONSES)
    features.save(tmp_path / "features")
    monkeypatch.setattr(hidden, "load_base", lambda config: pytest.fail("loaded"))
    loaded = load_features(tmp_path / "features", cache=tmp_path)
    np.testing.assert_array_equal(loaded(PROMPTS[::-1], RESPONSES[::-1]), found[::-1])
    assert loaded.describe() == features.describe() and loaded.describe().startswith("32 hidden states of ")


def test_other_weights_have_a_cache_of_their_own(folders, tmp_path):
    before = made(folders["plain"], tmp_path / "cache")(["why?"], ["no"])
    model = make_model()
    torch.nn.init.normal_(model.get_input_embeddings().weight)
    model.save_pretrained(tmp_path / "model")
    make_tokenizer().save_pretrained(tmp_path / "model")
    first = made(tmp_path / "model", tmp_path / "cache")(["why?"], ["no"])
    assert np.abs(first - before).max() > 0.1
    make_model().save_pretrained(tmp_path / "model")
    np.testing.assert_allclose(made(tmp_path / "model", tmp_path / "cache")(["why?"], ["no"]), before, atol=1e-6)


def test_states_that_are_not_finite_are_refused_by_text_and_not_kept(folders, tmp_path):
    model = make_model()
    with torch.no_grad():
        model.get_input_embeddings().weight[make_tokenizer()("z")["input_ids"][-1]] = float("nan")
    model.save_pretrained(tmp_path / "model")
    make_tokenizer().save_pretrained(tmp_path / "model")
    features = made(tmp_path / "model", tmp_path / "cache")
    for _ in range(2):
        with pytest.raises(DataError, match="of 1 of 2 texts are not finite, the first of them of 'zoo'"):
            features(["why?", "why?"], ["no", "zoo"])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"layer": 3}, ConfigError, r"features.layer: found 3, but .* has the layers 0 to 2 \(or -3 to -1\)"),
        ({"model": "/no/such/model"}, CheckpointError, "features.model: no folder /no/such/model"),
    ],
)
def test_what_is_not_there(folders, tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        make_features(Hidden(**{"model": str(folders["plain"]), "device": "cpu", **options}), VOTES, cache=tmp_path)


def test_a_folder_without_a_model_or_with_another_kind(tmp_path):
    with pytest.raises(CheckpointError, match=r"features.model: .* cannot be loaded"):
        made(tmp_path, tmp_path / "cache")
    make_tokenizer().save_pretrained(tmp_path / "t5")
    (tmp_path / "t5" / "config.json").write_text('{"model_type": "t5", "vocab_size": 272}')
    with pytest.raises(UnsupportedModelError, match="t5 is an encoder-decoder model"):
        made(tmp_path / "t5", tmp_path / "cache")
