"""The names of a file's columns: what is missing is told at once, and what is left unread is told too."""

import json
import shlex

import pytest

from prlhf.config import DataConfig, load_config
from prlhf.data import load_comparisons
from prlhf.data.columns import missing, named_otherwise, unread
from prlhf.errors import ConfigError, DataError

STRANGE = {"question": "p", "better": "a", "worse": "b", "worker": "w"}
RENAMED = (
    "--set data.columns.prompt=question --set data.columns.chosen=better "
    "--set data.columns.rejected=worse --set data.columns.user_id=worker"
)


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_all_missing_columns_are_named_at_once_with_options_that_work(tmp_path, suffix):
    path = tmp_path / f"votes.{suffix}"
    lines = {
        "jsonl": json.dumps(STRANGE),
        "csv": ",".join(STRANGE) + "\n" + ",".join(STRANGE.values()),
    }
    path.write_text(lines[suffix] + "\n")
    with pytest.raises(DataError) as caught:
        load_comparisons(path)
    message = str(caught.value)
    assert "no columns 'chosen', 'rejected'; found the columns better, question, worker, worse" in message
    assert message.endswith(RENAMED)
    told = [word.removeprefix("data.") for word in shlex.split(message) if word.startswith("data.columns")]
    log = load_comparisons(load_config(DataConfig, overrides=told, values={"source": str(path)}))
    assert [(c.prompt, c.chosen, c.rejected, c.user) for c in log.comparisons] == [("p", "a", "b", "w")]


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_rankings_of_other_names_are_told_with_options_that_work(tmp_path, suffix):
    path = tmp_path / f"ranks.{suffix}"
    row = {"question": "p", "responses": ["a", "b"], "scores": [1, 2], "worker": "w"}
    if suffix == "jsonl":
        path.write_text(json.dumps(row) + "\n")
    else:
        path.write_text('question,responses,scores,worker\np,"[""a"",""b""]","[1, 2]",w\n')
    with pytest.raises(DataError) as caught:
        load_comparisons(path)
    message = str(caught.value)
    assert "no column 'prompt'; found the columns question, responses, scores, worker; columns of other" in message
    assert message.endswith("given with --set data.columns.prompt=question --set data.columns.user_id=worker")
    log = load_comparisons(path, columns={"prompt": "question", "user_id": "worker"})
    assert [(c.prompt, c.chosen, c.rejected, c.user) for c in log.comparisons] == [("p", "b", "a", "w")]


def test_what_is_missing():
    assert missing({}, ["prompt", "chosen", "rejected"]) is None
    assert missing({}, ["prompt", "responses"]) is None
    assert missing({}, ["chosen", "rejected", "responses"]) is None  # pairs may do without a prompt
    assert "no column 'chosen';" in missing({}, ["rejected", "foo"])
    assert missing({}, ["rejected", "foo"]).endswith("--set data.columns.chosen=…")
    assert missing({}, ["prompt", "completion", "label"]) is None
    assert missing({}, ["completion", "label", "query"]).endswith("--set data.columns.prompt=query")
    assert "no column 'label'; found" in missing({}, ["prompt", "completion"])
    assert missing({}, ["prompt", "answer", "label"]).endswith("--set data.columns.completion=answer")
    assert "no column 'reply'" in missing({"completion": "reply"}, ["prompt", "label"])
    assert "chosen=better" in missing({}, ["prompt", "better", "worse", "label", "answer"])  # a label is common
    names = ["prompt", "chosen", "rejected", "worker"]
    assert missing({"user_id": "worker"}, names) is None
    assert "no column 'workr'" in missing({"user_id": "workr"}, names)


def test_one_column_is_not_meant_twice_and_spaces_are_quoted():
    found = named_otherwise(["chosen", "rejected"], {}, ["better text", "better"])
    assert found.count("=better") == 1
    assert "--set data.columns.user_id='Worker ID'" in named_otherwise(["user_id"], {}, ["Worker ID"])


def test_ties_and_times_are_told_with_the_columns_that_are_needed(tmp_path):
    path = tmp_path / "votes.jsonl"
    row = {**STRANGE, "draw": True, "when": "2024-05-01", "note": "x", "liked": 1}
    path.write_text(json.dumps(row) + "\n")
    with pytest.raises(DataError) as caught:
        load_comparisons(path)
    message = str(caught.value)
    assert message.endswith(f"{RENAMED} --set data.columns.timestamp=when --set data.columns.tie=draw")
    told = [word.removeprefix("data.") for word in shlex.split(message) if word.startswith("data.columns")]
    [vote] = load_comparisons(load_config(DataConfig, overrides=told, values={"source": str(path)})).comparisons
    assert vote.tie and vote.timestamp is not None
    assert "tie" not in missing({}, ["question", "answer", "label", "draw"]), "thumbs have no ties"


def test_unread_columns_in_one_line():
    assert unread({}, ["prompt", "chosen", "rejected", "user_id"]) == ""
    assert unread({"tie": "is_tie"}, ["prompt", "is_tie"]) == ""
    assert unread({}, ["chosen", "title", "is_tie"]) == (
        "Columns that are not read: is_tie, title; did you mean tie? (--set data.columns.tie=is_tie)."
    )
    assert unread({}, ["tie", "is_tie", "id"]) == "Columns that are not read: id, is_tie."
    many = unread({}, [f"x{i:02}" for i in range(20)])
    assert many.endswith("x11, and 8 more.") and "\n" not in many


@pytest.mark.parametrize("name", ["when", "time", "date", "created_at", "When"])
def test_a_time_of_another_name(name):
    assert f"did you mean timestamp? (--set data.columns.timestamp={name})" in unread({}, ["chosen", "rejected", name])


def test_unread_columns_are_in_the_notes(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("prompt,chosen,rejected,user_id,comment,weights\np,a,b,u,x,2\n")
    text = load_comparisons(path).notes.text()
    assert "not read: comment, weights; did you mean weight? (--set data.columns.weight=weights)" in text
    assert "not read: comment." in load_comparisons(path, columns={"weight": "weights"}).notes.text()


def test_a_prompt_of_another_name(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"question": "p", "chosen": "a", "rejected": "b"}))
    with pytest.raises(DataError, match=r"no column 'prompt'.*--set data\.columns\.prompt=question"):
        load_comparisons(path)


def test_nobody(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"prompt": "p", "chosen": "a", "rejected": "b", "user_id": None}))
    assert load_comparisons(path).notes.nobody == "the column 'user_id' is empty in every row"


def test_names_that_are_not_ours():
    with pytest.raises(ConfigError, match=r"'usr_id' is not one of our names; did you mean user_id\? It maps"):
        unread({"usr_id": "x"}, [])
    with pytest.raises(ConfigError, match=r"'zzz' is not one of our names\. It maps"):
        unread({"zzz": "x"}, [])


def test_no_ranking_is_suspected_beside_a_pair():
    assert unread({}, ["prompt", "chosen", "rejected", "response", "score"]).endswith("response, score.")
