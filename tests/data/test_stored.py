"""Large files: converted part by part, read from disk, gone on with after a kill; and the same as in memory."""

import json
import logging
import random
import shutil
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

import prlhf.data.rows as reading
from prlhf.config import DataConfig, SplitConfig
from prlhf.data import Log, Split, load_comparisons, split
from prlhf.data.facts import Facts
from prlhf.data.items import Items, Picked, ids_of, parted
from prlhf.data.parts import Parts
from prlhf.data.stored import Stored
from prlhf.errors import DataError
from prlhf.types import Comparison, Message, Thumb

TALK = (Message("system", "be brief"), Message("user", "wie geht's? ☃"))


def rows(n: int = 60) -> list[dict]:
    """Rows of every kind: pairs, rankings, thumbs, conversations, with and without users."""
    rng = random.Random(3)
    found = []
    for i in range(n):
        row = {"prompt": f"p{rng.randrange(20)}", "user_id": rng.choice(["ann", "bob", "cem", None]), "key": f"row {i}"}
        kind = i % 6
        if kind == 0:
            row |= {"completion": f"r{rng.randrange(9)}", "label": rng.random() < 0.5}
        elif kind == 1:
            row |= {"responses": [f"r{k}" for k in rng.sample(range(9), 3)], "scores": [1, 2, 2]}
        else:
            a, b = rng.sample(range(9), 2)
            row |= {"chosen": f"r{a}", "rejected": f"r{b}", "tie": kind == 2, "weight": 1.5, "user_text": "old"}
        if kind == 3:
            row |= {"timestamp": f"2025-03-01T12:00:0{i % 10}.000123", "first_shown": "chosen", "group": "g"}
        if kind == 4:
            row["prompt"] = [{"role": m.role, "content": m.content} for m in TALK]
        found.append(row)
    return found


def write(path, found) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf8")
    return str(path)


@pytest.fixture
def small_parts(monkeypatch):
    """Parts of seven items."""
    monkeypatch.setattr(reading, "PART", 7)


OPTIONS = {"columns": {"id": "key"}}


def both(tmp_path, monkeypatch, found=None) -> tuple[Log, Log]:
    """The same file in memory and in parts."""
    source = write(tmp_path / "votes.jsonl", found or rows())
    held = load_comparisons(source, cache=tmp_path / "cache", **OPTIONS)
    monkeypatch.setattr(reading, "PART", 7)
    return held, load_comparisons(source, cache=tmp_path / "cache", **OPTIONS)


def test_a_log_on_disk_is_that_in_memory(tmp_path, monkeypatch):
    held, stored = both(tmp_path, monkeypatch)
    assert isinstance(held.comparisons, tuple) and isinstance(stored.comparisons, Items)
    assert list(stored.comparisons) == list(held.comparisons) and list(stored.thumbs) == list(held.thumbs)
    assert stored.notes == held.notes and stored.fingerprint == held.fingerprint and stored.users == held.users
    assert [stored.items[i] for i in range(len(stored))] == list(stored.items) == list(held.items)
    assert stored.items[-1] == held.items[-1] and list(stored.items[5:9]) == list(held.items[5:9])
    assert ids_of(stored.items, [40, 2]) == [held.items[40].id, held.items[2].id]
    with pytest.raises(IndexError):
        stored.items[len(stored)]
    assert any(item.timestamp for item in held.items) and any(item.prompt == TALK for item in held.items)


def test_facts_are_those_of_the_items(tmp_path, monkeypatch):
    held, stored = both(tmp_path, monkeypatch)
    made = Facts.of(held.items)
    assert np.array_equal(stored.facts.rows, made.rows) or np.array_equal(
        stored.facts.rows.tobytes(), made.rows.tobytes()
    )
    assert [made.names[i] if i >= 0 else None for i in stored.facts.user.tolist()] == [c.user for c in held.items]
    for item, fact in zip(held.items, made.rows, strict=True):
        assert f"{fact['prompt']:016x}" == item.prompt_key and f"{fact['pair']:016x}" == item.pair_key
        assert [f"{key:016x}" for key in fact["responses"].tolist()][: len(item.responses)] == list(item.response_keys)
        assert fact["weight"] == item.weight and (fact["time"] == fact["time"]) == (item.timestamp is not None)
    some = Picked(held.items, [3, 1])
    assert some.facts.fingerprint == Log((), "", thumbs=()).facts.fingerprint or len(some.facts) == 2


@pytest.mark.parametrize("by", ["pair", "prompt", "response"])
def test_the_split_is_the_same(tmp_path, monkeypatch, by):
    held, stored = both(tmp_path, monkeypatch, [row for row in rows(300) if "chosen" in row or "completion" in row])
    config = SplitConfig(by="pair" if by == "response" else by, test=0.2, validation=0.1, users=0.3, seed=1)
    sides = split(stored, config, ties=True)
    assert sides == split(held, config, ties=True)
    sides.save(tmp_path / "split.json", stored)
    assert Split.load(tmp_path / "split.json", held) == sides
    assert sides.overlap(stored) == sides.overlap(held) and sides.text(stored) == sides.text(held)
    assert list(stored.pick(sides.train)) == [held.items[i] for i in sides.train]
    comparisons, thumbs = parted(stored.pick(sides.train))
    assert {type(c) for c in comparisons} == {Comparison} and {type(t) for t in thumbs} <= {Thumb}


def test_the_second_time_no_row_is_read(tmp_path, monkeypatch, small_parts):
    source = write(tmp_path / "votes.jsonl", rows())
    first = load_comparisons(source, cache=tmp_path / "cache")
    monkeypatch.setattr(reading._Rows, "add", lambda *_: pytest.fail("a row was converted again"))
    again = load_comparisons(source, cache=tmp_path / "cache")
    assert list(again.items) == list(first.items) and again.notes == first.notes


class Killed(BaseException):
    """Ends a conversion as a signal does: nothing may be written after it."""


@pytest.mark.parametrize("at", [3, 20, 47, 59])
def test_a_killed_conversion_goes_on(tmp_path, monkeypatch, at):
    """With a bad row, ids that repeat and rows of all kinds, wherever it was killed."""
    found = rows()
    found.insert(9, {"prompt": "p", "chosen": 5, "rejected": "b", "key": "bad"})
    found.append({**found[1], "key": "row 2"})  # an id that was met long before
    source = write(tmp_path / "votes.jsonl", found)
    options = {**OPTIONS, "on_bad_row": "skip"}
    held = load_comparisons(source, cache=tmp_path / "a", **options)
    monkeypatch.setattr(reading, "PART", 7)
    original, taken = reading._Rows.add, []

    def add(self, number, values):
        if len(taken) == at:
            raise Killed
        taken.append(number)
        original(self, number, values)

    with monkeypatch.context() as killing, pytest.raises(Killed):
        killing.setattr(reading._Rows, "add", add)
        load_comparisons(source, cache=tmp_path / "b", **options)
    again: list[int] = []
    monkeypatch.setattr(reading._Rows, "add", lambda s, n, v: (again.append(n), original(s, n, v))[1])
    log = load_comparisons(source, cache=tmp_path / "b", **options)
    assert list(log.items) == list(held.items) and log.notes == held.notes and log.notes.skipped == 2
    assert len(set(taken) & set(again)) < 7 + 3 and again[-1] == len(found)  # less than a part twice


def test_a_bad_row_is_told_the_same_on_the_second_run(tmp_path, small_parts):
    found = [*rows(40), {"prompt": "p", "chosen": "a", "rejected": 7, "key": "x"}]
    source = write(tmp_path / "votes.jsonl", found)
    told = []
    for _ in range(2):
        with pytest.raises(DataError, match=r"votes\.jsonl, row 41: field 'rejected': found 7 \(int\)") as e:
            load_comparisons(source, cache=tmp_path / "cache")
        told.append(str(e.value))
    assert told[0] == told[1]
    assert len(Parts(next((tmp_path / "cache").iterdir()))) > 3


def test_the_folder_belongs_to_the_content_and_the_reading(tmp_path, small_parts):
    cache, found = tmp_path / "cache", rows()
    source = write(tmp_path / "a.jsonl", found)
    first = load_comparisons(source, cache=cache)
    moved = load_comparisons(write(tmp_path / "b.jsonl", found), cache=cache)
    assert len(list(cache.iterdir())) == 1 and list(moved.items) == list(first.items)
    for n, options in enumerate(
        [{"rankings": "comparison"}, {"on_bad_row": "skip"}, {"columns": {"group": "user_id"}}], start=2
    ):
        load_comparisons(source, cache=cache, **options)
        assert len(list(cache.iterdir())) == n
    untold = load_comparisons(DataConfig(source=source, user_text=False), cache=cache)
    assert not any(item.user_text for item in untold.items) and any(item.user_text for item in first.items)
    write(tmp_path / "a.jsonl", [replace_user(row) for row in found])  # as many bytes, other ones
    assert {c.user for c in load_comparisons(source, cache=cache).items} == {"eve", None}
    assert list(first.items) == list(moved.items)  # what was opened before stays what it was


def replace_user(row):
    return row | {"user_id": row["user_id"] and "eve"}


@pytest.mark.parametrize("lost", [1, -1])
def test_a_finished_conversion_that_has_lost_a_part_is_made_again(tmp_path, small_parts, caplog, lost):
    source = write(tmp_path / "votes.jsonl", rows())
    first = list(load_comparisons(source, cache=tmp_path / "cache").items)
    [folder] = (tmp_path / "cache").iterdir()
    number = sorted(folder.glob("0*.json"))[lost].stem
    for file in folder.glob(f"{number}.*"):
        file.unlink()
    with caplog.at_level(logging.WARNING):
        assert list(load_comparisons(source, cache=tmp_path / "cache").items) == first
    assert "damaged" in caplog.text and [f.name for f in (tmp_path / "cache").iterdir()] == [folder.name]


def test_a_cache_that_cannot_be_written_is_named(tmp_path, small_parts):
    source = write(tmp_path / "votes.jsonl", rows())
    (tmp_path / "cache").write_text("not a folder", encoding="utf8")
    with pytest.raises(
        DataError, match=r"cannot be written there .*; make room, or name another folder with PRLHF_CAC"
    ):
        load_comparisons(source, cache=tmp_path / "cache")


@pytest.mark.parametrize("damage", ["00001.arrow", "00002.npy", "00000.json"])
def test_damaged_parts_are_made_again(tmp_path, small_parts, caplog, damage):
    source = write(tmp_path / "votes.jsonl", rows())
    first = list(load_comparisons(source, cache=tmp_path / "cache").items)
    [folder] = (tmp_path / "cache").iterdir()
    (folder / damage).write_bytes(b"" if damage.endswith("json") else (folder / damage).read_bytes()[:-9])
    if damage.endswith("json"):
        shutil.rmtree(folder)
    with caplog.at_level(logging.WARNING):
        assert list(load_comparisons(source, cache=tmp_path / "cache").items) == first
    assert damage.endswith("json") or "damaged" in caplog.text


def test_parquet_and_saved_folders_go_to_disk_too(tmp_path, small_parts):
    from datasets import Dataset

    table = [{"prompt": f"p{i}", "chosen": "a", "rejected": "b", "user_id": f"u{i % 3}"} for i in range(30)]
    data = Dataset.from_list(table)
    data.to_parquet(str(tmp_path / "votes.parquet"))
    data.save_to_disk(str(tmp_path / "saved"))
    logs = [load_comparisons(tmp_path / name, cache=tmp_path / "cache") for name in ("votes.parquet", "saved")]
    assert all(isinstance(log.items, Stored) and len(log) == 30 for log in logs)
    assert logs[0].fingerprint == logs[1].fingerprint


def test_times_come_back_to_the_microsecond(tmp_path, small_parts):
    when = [
        datetime(1, 1, 2, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999999, UTC),
        datetime(9999, 1, 1, tzinfo=UTC),
    ]
    found = [{"prompt": "p", "chosen": "a", "rejected": "b", "timestamp": w.isoformat()} for w in when * 5]
    log = load_comparisons(write(tmp_path / "votes.jsonl", found), cache=tmp_path / "cache")
    assert [c.timestamp for c in log.items] == when * 5
    assert replace(log.items[0], id="") == Comparison("p", "a", "b", timestamp=when[0])
