"""The log itself, and the public names."""

import subprocess
import sys
from dataclasses import replace

import pytest

import prlhf.data
from prlhf.data import Log, Notes, decided, trainable
from prlhf.types import Comparison, Message

C = Comparison("p", "a", "b", user="u", id="1")


@pytest.mark.parametrize(
    ("change", "test", "train"),
    [
        ({}, True, True),
        ({"tie": True}, False, False),
        ({"chosen": "b"}, False, False),
        ({"rejected": " \n"}, True, False),
    ],
)
def test_what_is_tested_and_trained(change, test, train):
    assert (decided(replace(C, **change)), trainable(replace(C, **change))) == (test, train)


def test_fingerprint_sees_content_not_ids():
    base = Log((C, replace(C, user=None)), "x").fingerprint
    assert Log((replace(C, id="9"), replace(C, user=None)), "y").fingerprint == base
    for change in ({"chosen": "A"}, {"user": "v"}, {"weight": 2.0}, {"tie": True}, {"user_text": "t"}, {"group": "g"}):
        assert Log((replace(C, **change), replace(C, user=None)), "x").fingerprint != base
    assert Log((replace(C, user=None), C), "x").fingerprint != base
    text, chat = "user: Hi", (Message("user", "Hi"),)
    assert Log((replace(C, prompt=text),), "x").fingerprint != Log((replace(C, prompt=chat),), "x").fingerprint
    assert Log((replace(C, prompt="\ud800"),), "x").fingerprint


def test_notes_are_short():
    assert Notes.of((C,)).text() == "1 comparisons from 1 rows."
    many = Notes(rows=9, comparisons=1, skipped=8, bad_rows=tuple(f"row {i}" for i in range(8)))
    assert "and 3 more" in many.text() and "row 5" not in many.text()


def test_public_names_load():
    assert all(getattr(prlhf.data, name) for name in prlhf.data.__all__)
    assert dir(prlhf.data) == sorted(prlhf.data.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        prlhf.data.nothing  # noqa: B018


def test_reading_needs_no_heavy_library():
    heavy = "[m for m in ('torch', 'datasets', 'pandas') if m in sys.modules]"
    code = f"import sys; from prlhf.data import *; load_comparisons('polis'); print({heavy})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
