"""Folders and hub data sets of the `datasets` library; no network."""

import pytest

from prlhf.data import load_comparisons
from prlhf.errors import DataError

ROWS = {"prompt": ["p", "q"], "chosen": ["a", "c"], "rejected": ["b", "d"], "user_id": ["u", None]}
CHATS = {
    "chosen": [[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}]],
    "rejected": [[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hm"}]],
    "user_id": [7],
}


@pytest.fixture
def datasets(monkeypatch):
    import datasets

    datasets.disable_progress_bars()
    return datasets


def test_saved_data_set(tmp_path, datasets):
    datasets.Dataset.from_dict(ROWS).save_to_disk(tmp_path / "d")
    log = load_comparisons(tmp_path / "d")
    assert [(c.prompt, c.chosen, c.rejected, c.user, c.id) for c in log.comparisons] == [
        ("p", "a", "b", "u", "1"),
        ("q", "c", "d", None, "2"),
    ]


def test_saved_dict_of_conversations(tmp_path, datasets):
    parts = {"train": datasets.Dataset.from_dict(CHATS), "test": datasets.Dataset.from_dict(ROWS)}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "d")
    chat = load_comparisons(tmp_path / "d").comparisons
    assert [(c.chosen, c.user, c.prompt[0].content) for c in chat] == [("Yo", "7", "Hi")]
    assert len(load_comparisons(tmp_path / "d", split="test")) == 2
    with pytest.raises(DataError, match="no split 'dev'; name one of train, test"):
        load_comparisons(tmp_path / "d", split="dev")
    with pytest.raises(DataError, match="its only option is split"):
        load_comparisons(tmp_path / "d", name="x")


def test_splits_must_be_named_where_none_is_called_train(tmp_path, datasets):
    part = datasets.Dataset.from_dict(ROWS)
    datasets.DatasetDict({"one": part, "two": part}).save_to_disk(tmp_path / "d")
    with pytest.raises(DataError, match="several splits; name one of one, two"):
        load_comparisons(tmp_path / "d")


def test_other_folders_are_refused(tmp_path):
    (tmp_path / "votes.txt").write_text("")
    with pytest.raises(DataError, match=r"not a folder written by datasets' save_to_disk; found in it: votes\.txt"):
        load_comparisons(tmp_path)
    (tmp_path / "state.json").write_text("{}")
    with pytest.raises(DataError, match="datasets cannot load this folder"):
        load_comparisons(tmp_path)


def test_a_single_data_set_has_no_splits(tmp_path, datasets):
    datasets.Dataset.from_dict(ROWS).save_to_disk(tmp_path / "d")
    with pytest.raises(DataError, match="single data set without splits"):
        load_comparisons(tmp_path / "d", split="train")


def test_hub_data_set(monkeypatch, datasets):
    asked = {}

    def load_dataset(dataset, /, split=None, **options):
        asked.update(options, dataset=dataset, split=split)
        return datasets.Dataset.from_dict(ROWS)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    log = load_comparisons("owner/votes", name="comparisons", split="validation")
    assert len(log) == 2 and log.source == "owner/votes"
    assert asked == {"dataset": "owner/votes", "split": "validation", "name": "comparisons"}


def test_hub_without_network(monkeypatch, datasets):
    def load_dataset(*args, **options):
        raise ConnectionError("no route")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(
        DataError, match=r"'owner/votes' could be read from the Hugging Face hub \(ConnectionError: no route\)"
    ):
        load_comparisons("owner/votes")
