"""Votes that are appended one by one, and read as any log."""

import json
from datetime import UTC, datetime

import pytest

from prlhf.data import load_comparisons
from prlhf.data.votes_file import VotesFile
from prlhf.errors import DataError
from prlhf.types import Comparison, Message

WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
VOTE = Comparison("Wé?", "a\nb", "c", user="ann", timestamp=WHEN, first_shown="rejected")
CHAT = (Message("user", "Hello"), Message("assistant", "Hi"), Message("user", "And?"))
TIE = Comparison(CHAT, "x", "y", user="bob", user_text="tall", weight=0.5, tie=True, first_shown="chosen", group="g")


def without_id(log):
    return [Comparison(**{f: getattr(c, f) for f in c.__slots__ if f != "id"}) for c in log.comparisons]


def test_what_is_added_is_read_again(tmp_path):
    file = VotesFile(tmp_path / "new" / "votes.jsonl")
    assert not file.read().comparisons
    for vote in (VOTE, TIE):
        file.add(vote)
    assert without_id(file.read()) == without_id(load_comparisons(str(file.path))) == [VOTE, TIE]
    again = VotesFile(file.path)
    again.add(VOTE)
    again.undo()
    assert without_id(again.read()) == [VOTE, TIE]
    assert set(json.loads(file.path.read_text("utf8").splitlines()[0])) == {
        "prompt", "chosen", "rejected", "user_id", "timestamp", "first_shown"
    }  # fmt: skip


def test_undo_leaves_what_others_added(tmp_path):
    mine, theirs = (VotesFile(tmp_path / "votes.jsonl") for _ in range(2))
    mine.add(VOTE)
    theirs.add(TIE)
    mine.undo()
    assert without_id(theirs.read()) == [TIE]
    theirs.undo()
    assert theirs.path.read_bytes() == b"" and [p.name for p in tmp_path.iterdir()] == ["votes.jsonl"]


def test_a_line_that_was_cut_off_is_dropped_and_a_missing_line_end_is_not(tmp_path):
    file = VotesFile(tmp_path / "votes.jsonl")
    file.add(VOTE)
    file.add(TIE)
    whole = file.path.read_bytes()
    file.path.write_bytes(whole[:-1])
    assert len(VotesFile(file.path).read()) == 2 and file.path.read_bytes() == whole
    file.path.write_bytes(whole[:-20])
    cut = VotesFile(file.path)
    assert cut.dropped.startswith('{"prompt": [{') and without_id(cut.read()) == [VOTE]


def test_places_where_votes_cannot_be_kept(tmp_path):
    with pytest.raises(DataError, match=r"found the ending '.csv', expected .jsonl"):
        VotesFile(tmp_path / "votes.csv")
    (tmp_path / "taken").write_text("")
    with pytest.raises(DataError, match="cannot be kept there"):
        VotesFile(tmp_path / "taken" / "votes.jsonl")
