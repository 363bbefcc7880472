"""PRISM from files of the published schema: comparisons of every turn, the user text, and the published draw."""

from collections import Counter
from datetime import UTC, datetime

import numpy as np
import pytest

from prlhf.config import DataConfig
from prlhf.data import load_comparisons, split
from prlhf.data.rankings import ranking_of
from prlhf.errors import ConfigError, DataError
from prlhf.types import Message
from published import HISTORY, person, reply, said, talk, write_prism

PEOPLE = [f"user{i}" for i in range(30)]
SURVEY = [person(name) for name in PEOPLE] + [person("silent", completed=0)]
# user0 has one conversation, user1 two, user2 three, user3 four, and so on round; user29 only one that is excluded
TALKS = [talk(f"c{i}_{k}", user) for i, user in enumerate(PEOPLE[:29]) for k in range(i % 4 + 1)]
TALKS += [talk("c2536", "user29"), talk("c4146", "user3")]


def write(folder, survey=SURVEY, talks=TALKS):
    return write_prism(folder, survey, talks)


def test_every_turn_is_a_choice(tmp_path):
    log = load_comparisons("prism", path=write(tmp_path, [person("ann")], [talk("c1", "ann")]))
    assert [(c.chosen, c.rejected) for c in log.comparisons] == [
        ("Good day.", "Hi."),
        ("Good day.", "What?"),
        ("Good day.", "Ho."),
        ("Well.", "So so."),
    ]
    first, last = log.comparisons[0], log.comparisons[-1]
    assert first.prompt == (Message("user", "Hello?"),)
    assert last.prompt == (*first.prompt, Message("assistant", "Good day."), Message("user", "How are you?"))
    assert [c.weight for c in log.comparisons] == [1 / 3, 1 / 3, 1 / 3, 1.0]
    assert first.timestamp == datetime(2023, 11, 25, 10, tzinfo=UTC) and first.user == "ann"
    assert first.id == "c1/0:2>1" and [ranking_of(c) for c in log.comparisons] == ["c1/0"] * 3 + ["c1/1"]
    each = load_comparisons("prism", path=str(tmp_path), turns="comparison")
    assert {c.weight for c in each.comparisons} == {1.0}


def test_user_text(tmp_path):
    path = write(tmp_path, [person("ann", gender=None)], [talk("c1", "ann")])
    about = (
        "About themselves: I value honesty. Age: 25-34 years old. Education: University Bachelors Degree. Employment: "
        "Working full-time. Marital status: Never been married. English: Native speaker."
    )
    rated, shown, none = (
        load_comparisons("prism", path=path, **options).comparisons[0].user_text
        for options in ({}, {"traits": "shown"}, {"text": False})
    )
    head = "Matters most in an answer:"
    assert rated == f"{head} getting the facts right, being creative, being safe. {about}"
    assert shown == f"{head} being well written, sharing their values or culture, being creative. {about}"
    assert none is None


def test_what_the_survey_has_besides_is_not_told(tmp_path):
    """Religion, ethnicity and location are objects in the published rows, and no part of the user text."""
    ann = person("ann")
    told = load_comparisons("prism", path=write(tmp_path, [ann], [talk("c1", "ann")])).comparisons[0].user_text
    for field in ("religion", "ethnicity", "location"):
        assert isinstance(ann[field], dict) and not any(answer in told for answer in ann[field].values()), field


def published_draw(of, seed):
    """The draw in the words of the paper's notebook: users, then the conversations of each seen one."""
    np_random = np.random.RandomState(seed)
    users = np.array(list(of))
    np_random.shuffle(users)
    sides = {}
    for place, user in enumerate(users):
        names = np.array(of[user])
        if place < int(len(users) * 0.9):
            np_random.shuffle(names)
            cut = int(len(names) * 0.9)
        else:
            cut = 0
        for i, name in enumerate(names):
            sides[str(name)] = "train" if i < cut else "test" if cut else "unseen"
    return sides


@pytest.mark.parametrize("seed", [123, 4])
def test_sides_are_the_published_draw(tmp_path, seed):
    log = load_comparisons("prism", path=write(tmp_path), seed=seed)
    sides = split(log)
    of = {user: [t["conversation_id"] for t in TALKS if t["user_id"] == user] for user in PEOPLE[:29]}
    of["user3"].remove("c4146")
    found = {log.comparisons[i].id.split("/")[0]: side for side, rows in sides.sides().items() for i in rows}
    assert found == published_draw(of, seed)
    users = {side: {log.comparisons[i].user for i in rows} for side, rows in sides.sides().items()}
    assert not users["unseen"] & users["train"] and users["test"] == users["train"]
    assert {u for u in PEOPLE[:29] if len(of[u]) == 1} <= users["unseen"]
    assert "user29" not in log.users and "silent" not in log.users  # nothing of them is left
    assert sum(c.user == "user3" for c in log.comparisons) == 4 * 4  # but who has others keeps them
    unseen = len(users["unseen"])
    assert f"Of 31 people 29 have a conversation that is used: {29 - unseen} seen, {unseen} unseen." in log.notes.text()


def test_turns_without_a_choice_are_counted(tmp_path):
    alone = [said(0, "Hello?"), reply(0, "Hi.", True), *HISTORY[5:], said(2, "And?"), reply(2, "No."), reply(2, "Yes.")]
    twice = [said(0, "Hello?"), reply(0, "A", True), reply(0, "B", True), reply(0, "C"), *HISTORY[5:]]
    talks = [talk("c1", "ann", alone), talk("c2", "ann", twice)]
    log = load_comparisons("prism", path=write(tmp_path, [person("ann")], talks))
    pairs = Counter((c.chosen, c.rejected) for c in log.comparisons)
    assert pairs == {("Well.", "So so."): 2, ("A", "C"): 1}
    assert log.comparisons[0].prompt[1] == Message("assistant", "Hi.")
    assert log.comparisons[-1].prompt[1] == Message("assistant", "A")
    assert "2 turns without a choice between replies" in log.notes.text()


def test_limit_on_characters(tmp_path):
    path = write(tmp_path, [person("ann")], [talk("c1", "ann")])
    log = load_comparisons("prism", path=path, max_characters=len("Hello?") + len("Good day."))
    assert [c.rejected for c in log.comparisons] == ["Hi.", "What?", "Ho."]
    assert "Too long and left out: 1 comparisons." in log.notes.text()


def test_hub(tmp_path, monkeypatch):
    import datasets

    files = {"survey.jsonl": SURVEY, "conversations.jsonl": TALKS}

    def load_dataset(name, data_files, split):
        assert (name, split) == ("HannahRoseKirk/prism-alignment", "train")
        return datasets.Dataset.from_list(files[data_files])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert load_comparisons("prism").fingerprint == load_comparisons("prism", path=write(tmp_path)).fingerprint


def lacks(row, *fields):
    return {name: value for name, value in row.items() if name not in fields}


@pytest.mark.parametrize(
    ("survey", "talks", "message"),
    [
        ([lacks(person("ann"), "age")], [], r"survey\.jsonl, row 1: field 'age': found no such field; the row has"),
        ([lacks(person("ann"), "stated_prefs")], [], r"survey\.jsonl, row 1: field 'stated_prefs': found no such"),
        ([person("ann", stated_prefs={"safety": "high"})], [], r"field 'stated_prefs\.safety': found 'high' \(str\)"),
        ([person("ann")] * 2, [], r"survey\.jsonl, row 2: field 'user_id': found 'ann' a second time"),
        (None, [talk("c1", "bob")], r"conversations\.jsonl, row 1: field 'user_id': found 'bob' \(str\), expected a"),
        (None, [talk("c1", "ann")] * 2, "row 2: field 'conversation_id': found 'c1' a second time"),
        (None, [lacks(talk("c1", "ann"), "generated_datetime")], "field 'generated_datetime': found no such field"),
        (None, [talk("c1", "ann", [said(0, "?"), lacks(reply(0, "a"), "if_chosen")])],
         r"field 'conversation_history\[1\]\.if_chosen': found no such field; conversation_history\[1\] has"),
        (None, [talk("c1", "ann", [{**said(0, "?"), "role": "system"}])], r"history\[0\]\.role': found 'sys"),
        (None, [talk("c1", "ann", [reply(0, "a", True)])], "found no message of the user in turn 0"),
        (None, [talk("c1", "ann", "text")], "field 'conversation_history': found 'text' .*, expected a list of"),
        ([person("ann", 0)], [talk("c1", "ann")], "no conversation of anybody in survey.jsonl who completed one"),
    ],
)  # fmt: skip
def test_other_files_are_named(tmp_path, survey, talks, message):
    with pytest.raises(DataError, match=message):
        load_comparisons("prism", path=write(tmp_path, survey or [person("ann")], talks))


def test_a_missing_file_is_named(tmp_path):
    write(tmp_path)
    (tmp_path / "conversations.jsonl").unlink()
    with pytest.raises(DataError, match=r"source 'prism': no conversations\.jsonl in .*; found in it: survey\.jsonl"):
        load_comparisons("prism", path=str(tmp_path))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text": "yes"}, "option text: found 'yes', expected true or false"),
        ({"traits": "top"}, "option traits: found 'top', expected one of rated, shown"),
        ({"turns": "turn"}, "option turns: found 'turn', expected one of judgement, comparison"),
        ({"seed": -1}, "option seed: found -1, expected a whole number, at least 0"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ConfigError, match=message):
        load_comparisons("prism", path="x", **options)


def test_data_that_the_hub_does_not_give(monkeypatch):
    def refused(*_):
        raise DataError("no data set could be read.")

    monkeypatch.setattr("prlhf.data.sources.published.open_hub", refused)
    with pytest.raises(DataError, match=r"no data set could be read\. .*path=FOLDER, with .*jsonl in it"):
        load_comparisons(DataConfig(source="prism"))
