"""User models as folders: identity, laziness, and what is refused."""

import json

import pytest
import torch
from safetensors import safe_open

from prlhf.config import Cluster, Individual, LowRank, Uniform
from prlhf.errors import CheckpointError
from prlhf.users import UserIndex, load_users, make_user_model, save_users, subset

IDS = ["b", "", "ä", "a"]
CONFIGS = [
    Uniform(),
    Uniform(tokens=2),
    Individual(tokens=2),
    Individual(tokens=2, common=False, start="vocabulary"),
    Cluster(tokens=2, clusters=3, start="vocabulary"),
    LowRank(tokens=2, rank=3, start="vocabulary"),
    Individual(tokens=0),
]


def make(config, ids=IDS, width=4):
    vocabulary = torch.randn(30, width, generator=torch.Generator().manual_seed(0))
    model = make_user_model(config, len(ids) + 1, vocabulary, seed=3)
    with torch.no_grad():
        for p in model.parameters():
            p[1:] += 1 / 3  # values that are no round numbers
    return model, UserIndex.from_ids(ids, counts=range(1, len(ids) + 1))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c.type}{c.tokens}")
def test_save_and_load_is_the_identity_bit_for_bit(config, tmp_path):
    model, index = make(config)
    save_users(tmp_path / "user_model", model, index)
    loaded, ids = load_users(tmp_path / "user_model")
    assert type(loaded) is type(model) and loaded.config == config
    assert loaded.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), model.parameters(), strict=True))
    assert all(p.requires_grad and p.dtype == torch.float32 for p in loaded.parameters())
    rows = torch.from_numpy(ids.rows(["a", "nobody", "", None, "ä"]))
    assert rows.tolist() == [4, 0, 2, 0, 3] and ids.counts.tolist() == [0, 1, 2, 3, 4]
    assert torch.equal(loaded(rows), model(rows))


def test_the_files_are_what_the_documentation_says(tmp_path):
    model, index = make(LowRank(tokens=2, rank=3))
    save_users(tmp_path, model, index)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "model.safetensors", "users.parquet"]
    described = json.loads((tmp_path / "config.json").read_text())
    assert described == {
        "format": "prlhf-user-model",
        "format_version": 1,
        "config": {"type": "low_rank", "tokens": 2, "rank": 3, "start": "generic"},
        "n": 5,
        "width": 4,
    }
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        assert sorted(file.keys()) == ["common", "directions", "table.weight"]


def test_a_loaded_model_trains_grows_and_saves_over_its_own_file(tmp_path):
    model, index = make(Individual(tokens=2))
    save_users(tmp_path, model, index)
    loaded, ids = load_users(tmp_path)
    with torch.no_grad():
        loaded.table.weight[3] += 1  # stays in memory
    assert torch.equal(load_users(tmp_path)[0].table.weight, model.table.weight)
    ids, rows = ids.add(["new"])
    loaded.add(len(rows))
    expected = loaded(torch.arange(6)).detach().clone()
    save_users(tmp_path, loaded, ids)
    again, ids = load_users(tmp_path)
    assert torch.equal(again(torch.arange(6)), expected) and ids.rows(["new"]).tolist() == [5]


def resident_pages(address, size):
    """Resident kB of the mapping that holds `address`."""
    inside = False
    with open("/proc/self/smaps") as smaps:
        for line in smaps:
            first = line.split()[0]
            if "-" in first and not first.endswith(":"):
                low, high = (int(x, 16) for x in first.split("-"))
                inside = low <= address < high and high - low >= size
            elif inside and first == "Rss:":
                return int(line.split()[1])
    return None


def test_a_large_table_is_mapped_and_not_read(tmp_path):
    n, width = 200_000, 16
    model = make_user_model(Individual(tokens=1), n, torch.randn(30, width))
    save_users(tmp_path, model, UserIndex.from_ids([str(i) for i in range(1, n)]))
    loaded, _ = load_users(tmp_path)
    try:
        resident = resident_pages(loaded.table.weight.data_ptr(), n * width * 4)
    except FileNotFoundError:
        pytest.skip("needs Linux's /proc to see what is resident")
    assert resident is not None, "not a mapping of the file's size"
    assert resident < n * width * 4 / 1024 / 4
    assert torch.equal(loaded(torch.tensor([n - 1])), model(torch.tensor([n - 1])))


@pytest.fixture
def saved(tmp_path):
    save_users(tmp_path, *make(Individual(tokens=2)))
    return tmp_path


def edit_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "users.parquet"])
def test_a_missing_or_broken_file_is_named(saved, name):
    whole = (saved / name).read_bytes()
    (saved / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=name):
        load_users(saved)
    (saved / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        load_users(saved)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 2}, r"expected format 'prlhf-user-model', version 1; found .*2"),
        ({"format": "other"}, "found .*other"),
        ({"n": 9}, r"model\.safetensors does not fit config\.json.*\(9, 8\).*\(5, 8\)"),
        ({"width": 8}, "does not fit config.json"),
        ({"config": {"type": "cluster", "tokens": 2}}, "does not fit config.json"),
        ({"config": {"type": "mystery"}}, "does not describe a user model"),
        ({"n": 0}, "does not describe a user model"),
        ({"n": "many"}, "does not describe a user model"),
    ],
)
def test_a_mismatch_is_said(saved, changes, message):
    edit_config(saved, **changes)
    with pytest.raises(CheckpointError, match=message):
        load_users(saved)


def test_other_json_and_another_number_of_users_are_refused(saved):
    UserIndex.from_ids(["x"]).save(saved / "users.parquet")
    with pytest.raises(CheckpointError, match="table has 5 rows, the index 1 users"):
        load_users(saved)
    (saved / "config.json").write_text("[1]")
    with pytest.raises(CheckpointError, match=r"found \[1\]"):
        load_users(saved)
    model, _ = make(Uniform(tokens=1))
    with pytest.raises(CheckpointError, match="expected one row more"):
        save_users(saved / "new", model, UserIndex.from_ids(["x"]))
    assert not (saved / "new").exists()


@torch.no_grad()
@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c.type}{c.tokens}")
def test_a_subset_has_its_rows_in_order_and_is_a_copy(config):
    model, _ = make(config)
    part = subset(model, [0, 4, 2])
    assert part.n == 3 and torch.equal(part(torch.arange(3)), model(torch.tensor([0, 4, 2])))
    before = [p.clone() for p in model.parameters()]
    for p in part.parameters():
        p.zero_()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), before, strict=True))
