"""A job over a file loses nothing and repeats nothing, wherever it was interrupted."""

import json

import pytest
import torch

from prlhf.errors import DataError
from prlhf.generation import Question, answer_file, assign, read_questions, read_users
from prlhf.lm.requests import GenerationOptions
from prlhf.types import Message

OPTIONS = GenerationOptions(max_new_tokens=5, temperature=1.0, seed=2)
QUESTIONS = [
    Question(1, "hi", "ann"),
    Question(2, "hi", "bob"),
    Question(4, "a longer question", "zoe"),
    Question(5, (Message("user", "why?"),), None, "likes short answers"),
    Question(6, "hi", "ann"),
]


def rows(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf8").splitlines()]


def test_each_line_says_who_asked_what(lm, tmp_path):
    path = tmp_path / "deep" / "out.jsonl"
    done = answer_file(lm, QUESTIONS, path, OPTIONS, batch_size=2)
    found = rows(path)
    assert (done.written, done.kept, done.unknown) == (5, 0, ("zoe",))
    assert [r["line"] for r in found] == [1, 2, 4, 5, 6]
    assert [r["user"] for r in found] == ["ann", "bob", "zoe", None, "ann"]
    assert [r["known"] for r in found] == [True, True, False, True, True]
    assert found[3]["prompt"] == [{"role": "user", "content": "why?"}]
    assert found[3]["user_text"] == "likes short answers" and "user_text" not in found[0]
    greedy = answer_file(lm, QUESTIONS, tmp_path / "g.jsonl", GenerationOptions(5), batch_size=3)
    assert rows(greedy.path)[1]["response"] == lm.generate(["hi"], "bob", max_new_tokens=5)[0]


def test_interrupted_anywhere_the_file_ends_up_the_same(lm, tmp_path):
    whole = tmp_path / "whole.jsonl"
    answer_file(lm, QUESTIONS, whole, OPTIONS, batch_size=2)
    wanted = whole.read_bytes()
    path = tmp_path / "out.jsonl"
    ends = [i for i, b in enumerate(wanted, 1) if b == ord("\n")]
    for cut in [0, 1, ends[0] - 1, ends[0], ends[1] + 9, len(wanted) - 1, len(wanted)]:
        path.write_bytes(wanted[:cut])
        done = answer_file(lm, QUESTIONS, path, OPTIONS, batch_size=3)
        assert path.read_bytes() == wanted
        assert (done.kept, done.written) == (sum(e <= cut for e in ends), 5 - sum(e <= cut for e in ends))


def test_every_batch_is_on_disk_before_the_next(lm, tmp_path):
    path, seen = tmp_path / "out.jsonl", []

    def watch(batches, _):
        for at in batches:
            seen.append(len(rows(path)))
            yield at

    answer_file(lm, QUESTIONS, path, OPTIONS, batch_size=2, progress=watch)
    assert seen == [0, 2, 4]


def test_answers_of_another_kind_are_never_mixed(lm, tmp_path):
    path = tmp_path / "out.jsonl"
    answer_file(lm, QUESTIONS[:3], path, OPTIONS)
    before = path.read_bytes()
    with pytest.raises(DataError, match="line 1: found an answer of another model or other options"):
        answer_file(lm, QUESTIONS, path, GenerationOptions(max_new_tokens=6))
    with pytest.raises(DataError, match=r"line 2: found an answer of another question \(user\)"):
        answer_file(lm, [QUESTIONS[0], Question(2, "hi", "ann"), QUESTIONS[2]], path, OPTIONS)
    with pytest.raises(DataError, match="3 answers to 2 questions"):
        answer_file(lm, QUESTIONS[:2], path, OPTIONS)
    with torch.no_grad():
        lm.user_model.table.weight[1, 3] += 1e-3  # one entry of one user
    with pytest.raises(DataError, match="another model"):
        answer_file(lm, QUESTIONS, path, OPTIONS)
    assert path.read_bytes() == before
    path.write_text("prompt,response\n")
    with pytest.raises(DataError, match="line 1: found no JSON object"):
        answer_file(lm, QUESTIONS, path, OPTIONS)


def test_reading_prompts(tmp_path):
    text = tmp_path / "p.txt"
    text.write_text("one\n\nthree — with\x85odd characters\r\n \t\r\n", encoding="utf8")
    assert [(q.line, q.prompt) for q in read_questions(text)] == [
        (1, "one"),
        (3, "three — with\x85odd characters"),
    ]
    table = tmp_path / "p.jsonl"
    lines = [
        {"prompt": "a", "user_id": 7, "user_text": "x"},
        {"prompt": [{"role": "user", "content": "b"}], "user": "ann"},
    ]
    table.write_text("\n\n".join(map(json.dumps, lines)))
    assert read_questions(table) == [Question(1, "a", "7", "x"), Question(3, (Message("user", "b"),), "ann")]


def test_a_cell_with_messages_is_a_conversation(tmp_path):
    """A table of prompts is read as `train` reads it: messages are JSON, prose may begin with a bracket."""
    cell = '"[{""role"":""user"",""content"":""hello""}]"'
    (tmp_path / "p.csv").write_text(f"prompt,user_id\n{cell},ann\n[1] see above,bob\n")
    assert read_questions(tmp_path / "p.csv") == [
        Question(1, (Message("user", "hello"),), "ann"),
        Question(2, "[1] see above", "bob"),
    ]
    (tmp_path / "p.jsonl").write_text(json.dumps({"prompt": '[{"role":"user","content":"hello"}]'}))
    assert read_questions(tmp_path / "p.jsonl")[0].prompt == '[{"role":"user","content":"hello"}]'  # text is text


def test_a_folder_is_no_place_for_answers(tmp_path):
    with pytest.raises(DataError, match=r"found a folder, expected a file for the answers, as .*answers\.jsonl"):
        answer_file(None, QUESTIONS, tmp_path, OPTIONS)  # before the model is looked at


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.jsonl", '{"prompt": "a"}\n{"text": "b"}', r"p.jsonl, row 2: found no field 'prompt'"),
        ("p.jsonl", '{"prompt": null}', "row 1: found nothing in the field 'prompt', expected text"),
        ("p.jsonl", '{"prompt": 3}', "row 1: prompt: found int 3"),
        ("p.jsonl", '{"prompt": "a", "user_id": ["x"]}', "row 1, field 'user_id'"),
        ("p.jsonl", "oops", "row 1: found no JSON"),
        ("p.doc", "hi", "unknown suffix"),
        ("p.jsonl", "", "p.jsonl: found no prompt"),
        ("p.txt", "\n \n", "p.txt: found no prompt"),
        ("absent.txt", None, "no file at"),
    ],
)
def test_prompts_that_cannot_be_read(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        read_questions(tmp_path / name)


def test_columns_of_other_names_are_told_with_what_they_have_to_be_called(tmp_path):
    path = tmp_path / "pr.csv"
    path.write_text("question,worker,persona,n\nWhy?,ann,brief,1\n")
    with pytest.raises(DataError) as caught:
        read_questions(path)
    assert str(caught.value).startswith(f"{path}, row 1: found no field 'prompt' but n, persona, question, worker, ")
    assert "in a column called prompt (the user in user_id, text about the user in user_text)" in str(caught.value)
    assert str(caught.value).endswith("; rename question to prompt, worker to user_id, persona to user_text")
    path.write_text("x,user,worker\nWhy?,ann,bob\n")
    with pytest.raises(DataError, match=r"in user_text\)$"):
        read_questions(path)


def test_users_are_counted_against_the_prompts_that_are_there(tmp_path):
    (tmp_path / "p.txt").write_text("one\n\ntwo\n\n")
    questions = read_questions(tmp_path / "p.txt")
    assert [(q.line, q.user) for q in assign(questions, ["ann", "bob"])] == [(1, "ann"), (3, "bob")]
    with pytest.raises(DataError, match=r"found 4 users for 2 prompts \(blank lines are none\)"):
        assign(questions, ["ann", None, "bob", None])


def test_users_for_prompts(tmp_path):
    path = tmp_path / "u.txt"
    path.write_text("ann\n\nbob\n")
    users = read_users(path)
    assert users == ["ann", None, "bob"]
    questions = [Question(i, p) for i, p in enumerate("abc", 1)]
    assert [q.user for q in assign(questions, users)] == users
    assert [q.user for q in assign(questions, ["ann"])] == ["ann"] * 3
    crossed = assign(questions[:2], users, every=True)
    assert [(q.line, q.user) for q in crossed] == [(n, u) for n in (1, 2) for u in users]
    with pytest.raises(DataError, match="3 users for 2 prompts"):
        assign(questions[:2], users)


def test_each_question_may_have_its_own_limit(lm, tmp_path):
    table = tmp_path / "questions.csv"
    table.write_text("prompt,user_id,max_new_tokens\nhi,ann,3\nwhy?,bob,\nhi,bob,9\n", encoding="utf8")
    questions = read_questions(table)
    assert [q.max_new_tokens for q in questions] == [3, None, 9]
    path = tmp_path / "out.jsonl"
    answer_file(lm, questions, path, GenerationOptions(5))
    found = rows(path)
    assert [r.get("max_new_tokens") for r in found] == [3, None, 9]
    assert [r["response"] for r in found] == lm.generate(
        ["hi", "why?", "hi"], ["ann", "bob", "bob"], max_new_tokens=[3, 5, 9]
    )
    assert answer_file(lm, questions, path, GenerationOptions(5)).kept == 3
    with pytest.raises(DataError, match=r"line 3: found an answer of another question \(max_new_tokens\)"):
        answer_file(lm, [*questions[:2], Question(3, "hi", "bob")], path, GenerationOptions(5))
    for wrong in ("0", "2.5", "many", "inf"):
        table.write_text(f"prompt,max_new_tokens\nhi,{wrong}\n", encoding="utf8")
        with pytest.raises(DataError, match=f"row 1, field 'max_new_tokens': found '{wrong}', expected a whole number"):
            read_questions(table)
