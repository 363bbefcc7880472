"""Features from a file of embeddings: what is looked up, what is added, what is refused."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from prlhf.config.rewards import Stored
from prlhf.errors import CheckpointError, ConfigError, DataError
from prlhf.rewards.features import load_features, make_features
from prlhf.rewards.features.surface import NAMES, surface_vectors
from prlhf.rewards.votes import Votes
from prlhf.types import Comparison, Message

TALK = (Message("user", "Hi"), Message("assistant", "Hello"), Message("user", "And now?"))
VOTES = [Comparison("why?", "because", "no idea", user="u"), Comparison(TALK, "then", "because", user="v")]
VECTORS = {
    ("response", "because"): [1, 2],
    ("response", "no idea"): [0, 1],
    ("response", "then"): [-1, 0.5],
    ("prompt", "why?"): [1, 0],
    ("prompt", "user: Hi\nassistant: Hello\nuser: And now?"): [2, 4],
    ("user", "likes brevity"): [7, 7],
}


def write(path, vectors=VECTORS, kinds=True, type=None):
    type = type or pa.list_(pa.float32())
    columns = {"text": [text for _, text in vectors], "embedding": pa.array(list(vectors.values()), type)}
    if kinds:
        columns["kind"] = [kind for kind, _ in vectors]
    pq.write_table(pa.table(columns), path)
    return Stored(path=str(path), surface=False)


@pytest.mark.parametrize("kinds", [True, False])
@pytest.mark.parametrize(
    "type", [pa.list_(pa.float16()), pa.list_(pa.float64(), 2), pa.large_list(pa.float32())], ids=str
)
def test_vectors_are_looked_up_and_the_product_with_the_prompt_is_added(tmp_path, kinds, type):
    features = make_features(write(tmp_path / "e.parquet", kinds=kinds, type=type), VOTES)
    found = features(["why?", TALK, TALK], ["because", "because", "then"])
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [[1, 2, 1], [1, 2, 10], [-1, 0.5, 0]])
    assert features.describe() == "2 embeddings of e.parquet, inner product with the prompt"


def test_no_product_for_one_prompt_nor_without_embeddings_of_prompts_nor_where_it_is_not_wanted(tmp_path, caplog):
    config = write(tmp_path / "e.parquet")
    assert make_features(config, VOTES[:1])(["why?"], ["then"]).tolist() == [[-1, 0.5]]
    off = config.model_copy(update={"prompt_product": False})
    assert make_features(off, VOTES)(["why?"], ["then"]).shape == (1, 2)
    config = write(tmp_path / "r.parquet", {key: v for key, v in VECTORS.items() if key[0] == "response"})
    assert make_features(config, VOTES)(["why?"], ["then"]).shape == (1, 2) and not caplog.records
    config = write(tmp_path / "p.parquet", {key: v for key, v in VECTORS.items() if "Hello" not in key[1]})
    assert make_features(config, VOTES)(["why?"], ["then"]).shape == (1, 2)
    assert "embeddings of 1 of 2 prompts" in caplog.text


def test_surface_features_come_last(tmp_path):
    config = write(tmp_path / "e.parquet").model_copy(update={"surface": True})
    features = make_features(config, VOTES)
    found = features(["why?"], ["no idea"])
    assert found.shape == (1, 3 + len(NAMES)) and features.describe().endswith(f", {len(NAMES)} surface features")
    np.testing.assert_array_equal(found[:, 3:], surface_vectors(["no idea"]))


def test_surface_features_by_hand():
    text = "- Aha, 12 cats.\nAha!"
    found = dict(zip(NAMES, surface_vectors([text])[0].tolist(), strict=True))
    expected = {
        "log length": np.log1p(20),
        "line breaks": np.log(2),
        "list items": np.log(2),
        "digits": np.log(3),
        "punctuation": np.log(5),
        "markdown": 0,
        "capitals": np.log(3),
        "log words": np.log(5),
        "log sentences": np.log(3),
        "log letters a word": np.log(4),
        "log words a sentence": np.log(3),
        "different words": 3 / 4,
        "punctuation share": 4 / 20,
    }
    assert found == pytest.approx(expected)
    assert np.isfinite(surface_vectors(["", " ", "…", "你好。再见。"])).all() and not surface_vectors([""]).any()


def test_texts_of_users(tmp_path, caplog):
    told = [Comparison("why?", "then", "because", user="u", user_text="likes brevity")]
    features = make_features(write(tmp_path / "e.parquet"), told)
    assert features.texts(["likes brevity"]).tolist() == [[7, 7]] and not caplog.records
    assert Votes.of(told, features).told.tolist() == [[7, 7]]
    with pytest.raises(DataError, match="no embedding of 1 of 1 texts of kind user, the first of them 'rambles'"):
        features.texts(["rambles"])
    for kinds in (True, False):
        config = write(tmp_path / "r.parquet", {k: v for k, v in VECTORS.items() if k[0] == "response"}, kinds=kinds)
        features = make_features(config, told)
        assert features.texts(["likes brevity"]).shape == (1, 0) and Votes.of(told, features).told is None
        assert "no embeddings of users' texts" in caplog.text


def test_saved_and_loaded_it_is_the_same(tmp_path):
    config = write(tmp_path / "e.parquet").model_copy(update={"surface": True})
    features = make_features(config, VOTES)
    features.save(tmp_path / "features")
    assert sorted(p.name for p in (tmp_path / "features").iterdir()) == ["config.json"]
    loaded = load_features(tmp_path / "features")
    assert loaded.config == config and loaded.describe() == features.describe()
    asked = [TALK, "why?"], ["because", "then"]
    np.testing.assert_array_equal(loaded(*asked), features(*asked))
    assert loaded.texts(["likes brevity"]).tolist() == [[7, 7]]


def test_a_file_that_is_gone_or_has_changed_is_told_when_it_is_needed(tmp_path):
    path = tmp_path / "e.parquet"
    make_features(write(path), VOTES).save(tmp_path / "features")
    longer = {**VECTORS, ("response", "new"): [3, 3]}
    write(tmp_path / "more.parquet", longer)
    more = load_features(tmp_path / "features", embeddings=tmp_path / "more.parquet")
    assert more(["why?"], ["new"]).tolist() == [[3, 3, 3]]
    write(path, longer)
    changed = load_features(tmp_path / "features")
    assert changed.describe().startswith("2 embeddings")
    with pytest.raises(DataError, match="this file has changed"):
        changed(["why?"], ["then"])
    path.unlink()
    with pytest.raises(DataError, match="are gone; put them back, or name another file"):
        load_features(tmp_path / "features")(["why?"], ["then"])
    write(path, {key: [*v, 0] for key, v in VECTORS.items()})
    with pytest.raises(DataError, match="vectors of length 3, expected 2 as in training"):
        load_features(tmp_path / "features", embeddings=path)(["why?"], ["then"])


def test_a_folder_that_is_none(tmp_path):
    with pytest.raises(CheckpointError, match="no features; expected a folder"):
        load_features(tmp_path)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"texts": ["a"], "embedding": [[1.0]]}, "no column text; found texts, embedding"),
        ({"kind": ["prompt"]}, "no column text and no column embedding; found kind"),
        ({"text": ["a", "b"], "embedding": [[1.0], [1.0, 2.0]]}, "row 2, column embedding: found 2 numbers"),
        ({"text": ["a", "b"], "embedding": [[1.0], None]}, "row 2, column embedding: found 0 numbers, expected 1"),
        ({"text": ["a"], "embedding": [[1.0, float("inf")]]}, "row 1, column embedding: found inf"),
        ({"text": ["a", "b"], "embedding": [[1.0], [None]]}, "row 2, column embedding: found nan"),
        ({"text": ["a", "b"], "embedding": [[1.0], [1e300]]}, "row 2, column embedding: found inf"),
        ({"text": ["a"], "embedding": ["[1.0]"]}, "column embedding: found string, expected lists"),
        ({"text": ["a"], "embedding": [[1]]}, "column embedding: found list<element: int64>, expected lists"),
        ({"text": ["a", None], "embedding": [[1.0], [1.0]]}, "row 2, column text: found None"),
        ({"text": ["a", "b", "a"], "embedding": [[1.0], [1.0], [2.0]]}, "rows 1 and 3: two embeddings of one text"),
        ({"text": ["a"], "embedding": [[1.0]], "kind": ["answer"]}, "row 1, column kind: found 'answer', expected"),
        ({"text": pa.array([], pa.string()), "embedding": pa.array([], pa.list_(pa.float32()))}, "no rows"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used_is_refused_by_row(tmp_path, columns, message):
    pq.write_table(pa.table(columns), tmp_path / "e.parquet")
    with pytest.raises(DataError) as e:
        make_features(Stored(path=str(tmp_path / "e.parquet")), VOTES)
    assert str(e.value).startswith(str(tmp_path / "e.parquet")) and message in str(e.value)


def test_the_same_embedding_twice_is_no_contradiction_nor_are_two_kinds(tmp_path):
    columns = {"text": ["a", "a", "a"], "embedding": [[1.0], [1.0], [5.0]], "kind": ["response", "response", "prompt"]}
    pq.write_table(pa.table(columns), tmp_path / "e.parquet")
    features = make_features(Stored(path=str(tmp_path / "e.parquet"), surface=False), VOTES)
    assert features(["why?"], ["a"]).tolist() == [[1]]


def test_what_is_no_parquet_file(tmp_path):
    with pytest.raises(DataError, match="no such file; expected a Parquet file with columns text and embedding"):
        make_features(Stored(path=str(tmp_path / "e.parquet")), VOTES)
    (tmp_path / "e.parquet").write_text("text,embedding")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        make_features(Stored(path=str(tmp_path / "e.parquet")), VOTES)


def test_texts_without_an_embedding_are_counted_and_the_first_is_named(tmp_path):
    features = make_features(write(tmp_path / "e.parquet"), VOTES)
    with pytest.raises(DataError) as e:
        features(["why?"] * 4, ["so", "because", "so", "likes brevity"])
    assert "no embedding of 2 of 3 texts of kind response, the first of them 'so'; give embeddings" in str(e.value)
    with pytest.raises(DataError, match=r"'why\?' \(it has one as kind prompt\)"):
        features(["why?"], ["why?"])
    with pytest.raises(DataError, match="texts of kind prompt, the first of them 'when"):
        features(["when?"], ["because"])


def test_no_votes_no_rows(tmp_path):
    features = make_features(write(tmp_path / "e.parquet"), VOTES)
    assert features([], []).shape == (0, 3) and features.texts([]).shape == (0, 2)


def test_another_file_is_for_stored_features_only(tmp_path):
    from prlhf.config.rewards import TfIdf

    make_features(TfIdf(), VOTES).save(tmp_path / "features")
    with pytest.raises(ConfigError, match="features of type tfidf are computed"):
        load_features(tmp_path / "features", embeddings=tmp_path / "e.parquet")
