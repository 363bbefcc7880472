"""Conversations remember what a model with a chat template can be told."""

from prlhf.generation import Conversation, voices
from prlhf.lm.requests import GenerationOptions

OPTIONS = GenerationOptions(max_new_tokens=16)


def test_with_a_chat_template_what_was_said_counts(make_lm):
    lm = make_lm(chat=True)
    talk = Conversation(lm, voices(lm, "ann"), OPTIONS)
    first = "".join(talk.ask("hi"))
    second = "".join(talk.ask("why?"))
    said = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": first},
        {"role": "user", "content": "why?"},
    ]
    assert (
        second == lm.generate([said], "ann", max_new_tokens=16)[0] != lm.generate(["why?"], "ann", max_new_tokens=16)[0]
    )
    talk.reset()
    assert "".join(talk.ask("hi")) == first


def test_without_one_each_question_stands_alone(lm):
    talk = Conversation(lm, voices(lm, "ann"), OPTIONS)
    assert not talk.remembers
    assert "".join(talk.ask("hi")) == "".join(talk.ask("hi")) == lm.generate(["hi"], "ann", max_new_tokens=16)[0]


def test_each_voice_remembers_its_own_answers(make_lm):
    lm = make_lm(chat=True)
    talk = Conversation(lm, voices(lm, "ann,bob,reference"), OPTIONS)
    talk.ask_all("hi")
    second = talk.ask_all("why?")
    alone = Conversation(lm, voices(lm, "bob"), OPTIONS)
    list(alone.ask("hi"))
    assert "".join(alone.ask("why?")) == second[1].text
    talk.switch(voices(lm, "bob"))
    assert talk.history == [()]


def test_an_answer_left_early_is_not_remembered(make_lm):
    lm = make_lm(chat=True)
    talk = Conversation(lm, voices(lm, "ann"), GenerationOptions(max_new_tokens=100))
    pieces = talk.ask("hi")
    next(pieces)
    pieces.close()
    assert talk.history == [()]
