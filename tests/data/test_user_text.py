"""Texts about users can be left out of any log, so that only the votes tell."""

from prlhf.config import DataConfig
from prlhf.data import load_comparisons
from prlhf.data.load import inherit


def test_texts_are_left_out_of_a_file(tmp_path):
    path = tmp_path / "votes.csv"
    path.write_text("prompt,chosen,rejected,user_id,user_text\nq,a,b,ann,in a hurry\nq,b,a,bob,patient\n")
    told, untold = (load_comparisons(DataConfig(source=str(path), user_text=on)) for on in (True, False))
    assert [c.user_text for c in told.comparisons] == ["in a hurry", "patient"]
    assert [(c.user, c.user_text) for c in untold.comparisons] == [("ann", None), ("bob", None)]
    assert told.fingerprint != untold.fingerprint


def test_and_of_a_source_with_sides_of_its_own():
    options = {"users": 6, "votes": 2, "test_pairs": 1, "told": True}
    for feedback in ("pairs", "thumbs"):
        log = load_comparisons(DataConfig(source="planted", options={**options, "feedback": feedback}, user_text=False))
        assert log.fixed_split is not None and all(item.user_text is None for item in log.items)


def test_what_a_run_was_not_told_it_is_not_asked_with(tmp_path):
    path = tmp_path / "votes.csv"
    path.write_text("prompt,chosen,rejected,user_id,user_text\nq,a,b,ann,in a hurry\n")
    untold = DataConfig(source="votes.jsonl", user_text=False)
    for source in (str(path), "planted"):
        assert not inherit(DataConfig(source=source), untold).user_text
        assert inherit(DataConfig(source=source, user_text=True), untold).user_text
        assert inherit(DataConfig(source=source), DataConfig(source="votes.jsonl")).user_text
