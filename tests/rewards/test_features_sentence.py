"""Sentence embeddings through a made-up sentence_transformers, and the cache of computed vectors."""

import sys
from types import ModuleType

import numpy as np
import pytest

from prlhf.config.rewards import Sentence
from prlhf.errors import CheckpointError, ConfigError, DataError
from prlhf.rewards.features import load_features, make_features
from prlhf.rewards.features.computed import VectorCache, key_of
from prlhf.types import Comparison

VOTES = [Comparison(p, "ab", "c", user="u", user_text="told") for p in ("x", "yy")]


class FakeTransformer:
    """A text's length and how many of its letters are `a`."""

    max_seq_length = 6
    encoded: list[str] = []  # noqa: RUF012

    def __init__(self, name, device=None):
        if name.endswith("broken"):
            raise OSError("no weights\nat all")

    def tokenizer(self, texts, truncation, verbose):
        return {"input_ids": [list(text) for text in texts]}

    def encode(self, texts, batch_size, show_progress_bar, convert_to_numpy):
        self.encoded.extend(texts)
        return np.array([[len(t), t.count("a") if t != "bad" else np.nan] for t in texts], np.float64)


@pytest.fixture
def fake(monkeypatch):
    module = ModuleType("sentence_transformers")
    module.SentenceTransformer, module.__version__ = FakeTransformer, "5"
    monkeypatch.setitem(sys.modules, "sentence_transformers", module)
    FakeTransformer.encoded.clear()
    return FakeTransformer


def config(folder, name="model", **options):
    (folder / name).mkdir(exist_ok=True)
    (folder / name / "config.json").write_text("{}")
    return Sentence(model=str(folder / name), surface=False, device="cpu", **options)


def test_vectors_the_product_with_the_prompt_and_users_texts(fake, tmp_path):
    features = make_features(config(tmp_path), VOTES, cache=tmp_path)
    np.testing.assert_array_equal(features(["x", "aa"], ["ab", "aaa"]), [[2, 1, 2], [3, 3, 12]])
    np.testing.assert_array_equal(features.texts(["told", "an a"]), [[4, 0], [4, 2]])
    assert features.describe() == (f"2 sentence embeddings by {tmp_path / 'model'}, inner product with the prompt")
    assert features([], []).shape == (0, 3) and features.texts([]).shape == (0, 2)


def test_each_text_is_computed_once_ever_and_another_model_has_its_own(fake, tmp_path):
    features = make_features(config(tmp_path), VOTES, cache=tmp_path)
    before = features(["x", "x", "x"], ["ab", "c", "ab"])
    features.save(tmp_path / "features")
    assert sorted(fake.encoded) == ["a", "ab", "c", "x"]
    again = load_features(tmp_path / "features", cache=tmp_path)
    np.testing.assert_array_equal(again(["x", "x", "x"], ["ab", "c", "ab"]), before)
    assert len(fake.encoded) == 4
    (tmp_path / "model" / "model.safetensors").write_text("other weights")
    load_features(tmp_path / "features", cache=tmp_path)(["x"], ["ab"])
    assert len(fake.encoded) == 6


def test_long_texts_are_counted(fake, tmp_path, caplog):
    make_features(config(tmp_path), VOTES, cache=tmp_path)(["x", "x"], ["seven letters", "six"])
    assert "reads 6 tokens: 1 of 2 texts are cut" in caplog.text


def test_vectors_that_are_not_finite(fake, tmp_path):
    features = make_features(config(tmp_path), VOTES, cache=tmp_path)
    for _ in range(2):
        with pytest.raises(DataError, match="features of 1 of 2 texts are not finite, the first of them of 'bad'"):
            features(["x", "x"], ["good", "bad"])


def test_without_the_package_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ConfigError, match=r"pip install 'prlhf\[sentence\]'"):
        make_features(config(tmp_path), VOTES)


def test_a_model_that_cannot_be_loaded(fake, tmp_path):
    with pytest.raises(CheckpointError, match=r"broken' cannot be loaded: no weights$"):
        make_features(config(tmp_path, "broken"), VOTES, cache=tmp_path)
    with pytest.raises(CheckpointError, match="no folder no/such, and the hub says"):
        make_features(Sentence(model="no/such"), VOTES, cache=tmp_path)


def test_a_kill_loses_only_the_batch_that_was_being_computed(tmp_path):
    keys = [key_of(bytes([i])) for i in range(6)]
    seen = []

    def compute(batch):
        if seen and batch == [2, 3] and len(seen) < 3:
            raise KeyboardInterrupt
        seen.extend(batch)
        return np.array([[i] for i in batch], np.float32)

    def run():
        batches = lambda places: [places[i : i + 2] for i in range(0, len(places), 2)]  # noqa: E731
        return VectorCache(tmp_path, "test", 1).vectors(keys, batches, compute, lambda steps: steps)

    with pytest.raises(KeyboardInterrupt):
        run()
    assert seen == [0, 1]
    seen.append(-1)
    np.testing.assert_array_equal(run().ravel(), range(6))
    assert seen == [0, 1, -1, 2, 3, 4, 5]
    np.testing.assert_array_equal(run().ravel(), range(6))
    assert len(seen) == 7


def test_a_damaged_file_is_made_again(tmp_path, caplog):
    def run():
        cache = VectorCache(tmp_path, "test", 1)
        return cache.vectors([key_of(b"a")], lambda places: [places], lambda batch: np.ones((1, 2)), iter)

    run()
    (file,) = tmp_path.rglob("*.safetensors")
    file.write_bytes(b"rubbish")
    assert run().tolist() == [[1, 1]] and "is damaged and will be made again" in caplog.text


def test_a_cache_that_cannot_be_written_is_a_warning(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    cache = VectorCache(tmp_path / "file", "test", 1)
    found = cache.vectors([key_of(b"a")], lambda places: [places], lambda batch: np.ones((1, 2)), iter)
    assert found.tolist() == [[1, 1]] and "features are not kept" in caplog.text
