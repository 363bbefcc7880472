"""TF-IDF features: against hand arithmetic, few words, many words, none."""

import json
import math

import numpy as np
import pytest

from prlhf.config.rewards import TfIdf
from prlhf.errors import CheckpointError, DataError
from prlhf.rewards.features import load_features, make_features
from prlhf.types import Comparison

PLAIN = TfIdf(surface=False)


def vote(a, b, prompt="p"):
    return Comparison(prompt, a, b, user="u")


def many(n=60):
    """Texts of two topics, numbered, so that there are words of one text alone."""
    topics = ["red green blue colours", "one two three numbers"]
    return [vote(f"{topics[0]} a{i} same", f"{topics[1]} b{i} same", f"ask {i % 2}") for i in range(n)]


def test_against_hand_arithmetic():
    features = make_features(PLAIN, [vote("cat cat", "cat dog")])
    assert features.describe() == "4 TF-IDF features of 4 words and pairs of words"
    found = features(["p"], ["cat cat"])[0]
    once = math.log(3 / 2) + 1  # idf of what one text of two has; "cat" is in both
    weights = np.array([1 + math.log(2), once, 0, 0])  # cat, cat cat, cat dog, dog
    np.testing.assert_allclose(found, weights / np.linalg.norm(weights), rtol=1e-6)


def test_a_wide_vocabulary_is_projected_the_same_way_each_time_and_after_loading(tmp_path):
    config = TfIdf(width=5, surface=False)
    features = make_features(config, many())
    texts = ["red blue same", "one two same", "never seen", "", "…"]
    found = features(["ask 0"] * 5, texts)
    assert found.shape == (5, 3) and found.dtype == np.float32
    assert features.describe().startswith("2 components of TF-IDF of ")  # there are no more
    np.testing.assert_array_equal(found, make_features(config, many())(["ask 0"] * 5, texts))
    features.save(tmp_path / "features")
    assert {p.suffix for p in (tmp_path / "features").iterdir()} == {".json", ".safetensors"}
    loaded = load_features(tmp_path / "features")
    np.testing.assert_array_equal(found, loaded(["ask 0"] * 5, texts))
    np.testing.assert_array_equal(loaded.texts(["red"]), features.texts(["red"]))
    assert found[:2].any(axis=1).all() and not found[2:].any()
    singles = np.concatenate([features(["ask 0"], [text]) for text in texts])
    np.testing.assert_allclose(found, singles, atol=1e-6)


def test_projected_texts_of_one_topic_are_near_and_of_two_are_far():
    x = make_features(TfIdf(width=4, surface=False, prompt_product=False), many())(
        ["p"] * 3, ["red green", "blue colours", "three numbers"]
    )
    assert x[0] @ x[1] > 0.1 > 5 * abs(x[0] @ x[2])


def test_of_many_texts_words_of_one_alone_are_left_out(tmp_path):
    make_features(PLAIN, many()).save(tmp_path / "features")
    words = json.loads((tmp_path / "features" / "words.json").read_text())
    assert "same" in words and "red green" in words and not {"a1", "b7"} & set(words)
    strangers = [vote(f"a{i}", f"b{i}") for i in range(40)]  # no word is in two texts: all count
    assert make_features(TfIdf(surface=False, width=100), strangers)(["p"], ["a3"]).sum() == 1


def test_texts_of_unknown_words_are_told_once(caplog):
    features = make_features(PLAIN, [vote("red green", "one two")])
    assert features.embedder.known(["red red blue", "Two!", "…"]) == 3 / 4  # pairs of words do not count
    assert features.embedder.known(["", "…"]) == 1
    features(["p"] * 2, ["red red three", "four one five"])  # 3 of 6
    assert not caplog.messages
    features(["p"], ["red three four"])
    features(["p"], ["nothing that is known"])
    (told,) = caplog.messages
    assert told.startswith("of the words in these texts the reward model knows 33 %")
    empty = make_features(TfIdf(), [vote("…", "!")])
    assert empty.embedder.known(["red"]) == 0


def test_more_dimensions_than_texts():
    features = make_features(TfIdf(width=10, surface=False), [vote("one two three four five six seven", "eight")])
    assert features(["p"], ["one eight"]).shape == (1, 2)


def test_the_product_with_the_prompt_is_of_shared_words():
    votes = [vote("cats sleep", "dogs bark", "do cats sleep"), vote("cats sleep", "dogs bark", "what now")]
    x = make_features(PLAIN, votes)(["do cats sleep"] * 2, ["cats sleep", "dogs bark"])
    np.testing.assert_allclose(x[:, -1], [1, 0], atol=1e-6)


def test_only_the_votes_given_are_seen_and_texts_of_users_too():
    told = Comparison("p", "a", "b", user="u", user_text="gardener")
    features = make_features(PLAIN, [told])
    assert features.texts(["gardener"]).any() and not features.texts(["plumber"]).any()


def test_texts_without_any_word():
    votes = [vote("…", "!!"), vote("", "?", "q")]
    features = make_features(TfIdf(), votes)
    assert features(["p"], ["!!"]).shape == (1, 13) and features.texts(["?"]).shape == (1, 0)
    with pytest.raises(DataError, match=r"features.type=tfidf: no feature at all; take features.surface=true"):
        make_features(PLAIN, votes)
    assert make_features(PLAIN, many())([], []).shape[0] == 0


def test_a_saved_map_that_is_damaged(tmp_path):
    make_features(PLAIN, many()).save(tmp_path)
    (tmp_path / "words.json").write_text("[")
    with pytest.raises(CheckpointError, match=r"words.json and tfidf.safetensors are missing or damaged"):
        load_features(tmp_path)
