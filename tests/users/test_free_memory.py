"""What is free is what the machine has, or what a container leaves of it."""

import psutil
import pytest

from prlhf.users import memory

TABLES = {
    "version 2": ({"memory.max": "{limit}", "memory.current": "700000", "memory.stat": "anon 1\ninactive_file 50000"}),
    "version 1": {
        "memory/memory.limit_in_bytes": "{limit}", "memory/memory.usage_in_bytes": "700000",
        "memory/memory.stat": "cache 1\ntotal_inactive_file 50000",
    },
}  # fmt: skip


@pytest.mark.parametrize("files", TABLES.values(), ids=TABLES)
@pytest.mark.parametrize(
    ("limit", "free"), [("1000000", 350_000), ("600000", 0), ("max", None), ("9223372036854771712", None)]
)
def test_the_limit_of_a_container(tmp_path, monkeypatch, files, limit, free):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text.format(limit=limit))
    monkeypatch.setattr(memory, "CGROUPS", tmp_path)
    machine = psutil.virtual_memory()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: machine)
    assert memory.free_memory() == (machine.available if free is None else free)


def test_without_control_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "CGROUPS", tmp_path)
    assert 0 < memory.free_memory() <= psutil.virtual_memory().total
