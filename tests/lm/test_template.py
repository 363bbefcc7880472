"""How prompts, user texts and responses become token ids."""

import logging

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from prlhf.config import ModelConfig
from prlhf.errors import DataError, UnsupportedModelError
from prlhf.lm import Template
from prlhf.types import Comparison, Message
from tiny_models import make_model, make_tokenizer

NO_SYSTEM = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "[{{ m.role }}]{{ m.content | trim }}{% if m.role == 'assistant' %}</s>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)
PLACES = ["start", "after_system", "before_response"]
CHAT = (
    Message("system", "Be brief."),
    Message("user", "hi"),
    Message("assistant", "yes?"),
    Message("user", "a colour"),
)


def template(*, bos=True, chat=False, chat_template=None, **options):
    tokenizer = make_tokenizer(bos=bos, chat=chat)
    if chat_template:
        tokenizer.chat_template = chat_template
    return Template(tokenizer, ModelConfig(**options))


def text(t, ids):
    return t.tokenizer.decode(ids)


def parts(t, rendered):
    """The text before and after the place of the user tokens."""
    return text(t, rendered.ids[: rendered.cut]), text(t, rendered.ids[rendered.cut :])


@pytest.mark.parametrize("bos", [True, False])
def test_plain_text(bos):
    t = template(bos=bos)
    first = "<s>" if bos else ""
    assert text(t, t.prompt("why?").ids) == f"{first}why?"
    assert text(t, t.prompt("why?", "Likes it short.").ids) == f"{first}Likes it short.\n\nwhy?"
    assert text(t, t.response("why?", "because")) == "because</s>"
    assert text(t, t.response("why?", "because</s>")) == "because</s>"  # not twice


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("start", ("<s>", "Likes tea.\n\nwhy?")),
        ("after_system", ("<s>Likes tea.\n\n", "why?")),
        ("before_response", ("<s>Likes tea.\n\nwhy?", "")),
    ],
)
def test_places_in_plain_text(place, expected):
    t = template(user_tokens_at=place)
    assert parts(t, t.prompt("why?", "Likes tea.")) == expected


@pytest.mark.parametrize(
    ("place", "expected"),
    [("start", ("<s>", "why?")), ("after_system", ("<s>", "why?")), ("before_response", ("<s>why?", ""))],
)
def test_places_without_a_user_text(place, expected):
    t = template(user_tokens_at=place)
    assert parts(t, t.prompt("why?")) == expected


@pytest.mark.parametrize(
    ("place", "cut"),
    [
        ("start", 0),
        ("after_system", len("^system\nBe brief.\n\nLikes tea.$\n")),  # with what closes the system message's turn
        ("before_response", None),
    ],
)
def test_places_in_a_chat(place, cut):
    t = template(chat=True, user_tokens_at=place)
    rendered = t.prompt(CHAT, "Likes tea.")
    assert text(t, rendered.ids) == (
        "<|im_start|>system\nBe brief.\n\nLikes tea.</s>\n<|im_start|>user\nhi</s>\n<|im_start|>assistant\nyes?</s>\n"
        "<|im_start|>user\na colour</s>\n<|im_start|>assistant\n"
    )
    assert rendered.cut == (len(rendered.ids) if cut is None else cut)  # a byte a token, special tokens one each


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("options", [{}, {"bos": False}, {"chat": True}, {"chat_template": NO_SYSTEM}])
def test_ids_do_not_depend_on_the_place(options, place):
    here, there = template(**options, user_tokens_at=place), template(**options)
    for prompt in ("why?", CHAT, CHAT[1:]):
        for user_text in (None, "Likes tea."):
            assert here.prompt(prompt, user_text).ids == there.prompt(prompt, user_text).ids


def test_a_user_text_without_system_message_makes_one():
    t = template(chat=True, user_tokens_at="after_system")
    system = "<|im_start|>system\nLikes tea.</s>\n"
    assert parts(t, t.prompt("why?", "Likes tea.")) == (system, "<|im_start|>user\nwhy?</s>\n<|im_start|>assistant\n")


@pytest.mark.parametrize(
    ("prompt", "head"), [("why?", "Likes tea.\n\n"), (CHAT, "Be brief.\n\nLikes tea.\n\n")], ids=["text", "chat"]
)
def test_a_template_without_system_role(prompt, head):
    t = template(chat_template=NO_SYSTEM, user_tokens_at="after_system", max_prompt_tokens=100)
    before, after = parts(t, t.prompt(prompt, "Likes tea."))
    assert before == f"[user]{head}"
    assert after.startswith("why?" if prompt == "why?" else "hi[assistant]yes?</s>[user]a colour")
    assert after.endswith("[assistant]")
    long = t.prompt("x" * 200, "Likes tea.")
    assert long.truncated and len(long.ids) == 100
    assert text(t, long.ids) == "[user]Likes tea.\n\n" + "x" * 71 + "[assistant]"
    assert text(t, t.response(prompt, "red", "Likes tea.")) == "red</s>"


def test_templates_that_trim_and_templates_that_want_a_user():
    picky = (
        "{% if messages | length == 1 and messages[0].role == 'system' %}{{ raise_exception('no user') }}{% endif %}"
        "{% for m in messages %}[{{ m.role }}]{{ m.content | trim }}\n{% endfor %}"
    )
    t = template(chat_template=picky, user_tokens_at="after_system")
    prompt = (Message("system", " Be brief. "), Message("user", " hi "))
    assert parts(t, t.prompt(prompt)) == ("[system]Be brief.", "\n[user]hi\n")
    assert text(t, t.response(prompt, "red")) == "[assistant]red\n</s>"


@pytest.mark.parametrize("chat", [True, False])
@pytest.mark.parametrize("prompt", ["the end of a long question", CHAT], ids=["text", "chat"])
def test_truncation_keeps_what_stands_before_and_the_end(chat, prompt):
    whole = template(chat=chat).prompt(prompt, "Likes tea.")
    t = template(chat=chat, max_prompt_tokens=len(whole.ids) - 4, user_tokens_at="after_system")
    cut = t.prompt(prompt, "Likes tea.")
    assert cut.truncated and not whole.truncated
    assert len(cut.ids) == len(whole.ids) - 4
    before, after = text(t, cut.ids), text(t, whole.ids)
    head = after[: after.index("Likes tea.") + len("Likes tea.")]
    assert before.startswith(head) and before.endswith(after[-8:])
    at = template(chat=chat, user_tokens_at="after_system")
    assert at.prompt(prompt, "Likes tea.").cut == cut.cut


def test_what_stays_may_be_longer_than_the_limit():
    t = template(max_prompt_tokens=5)
    assert text(t, t.prompt("why?", "Likes tea.").ids) == "<s>Likes tea.\n\n?"


def test_long_responses_are_cut_and_counted():
    t = template(max_response_tokens=4)
    encoded = t.comparison(Comparison("why?", "because", "no."))
    assert text(t, encoded.chosen) == "beca"
    assert text(t, encoded.rejected) == "no.</s>"
    assert (encoded.responses_cut, encoded.truncated) == (1, False)
    assert template(max_prompt_tokens=3).comparison(Comparison("why?", "a", "b")).truncated


@pytest.mark.parametrize(("bos", "first"), [(True, "<s>"), (False, "</s>")])
@pytest.mark.parametrize("place", PLACES)
def test_an_empty_prompt_still_has_a_token(bos, first, place):
    t = template(bos=bos, user_tokens_at=place)
    rendered = t.prompt("")
    assert text(t, rendered.ids) == first
    assert rendered.cut == (1 if bos or place == "before_response" else 0)


def test_a_conversation_without_chat_template_is_a_transcript():
    t = template(user_tokens_at="after_system")
    assert parts(t, t.prompt(CHAT, "Likes tea.")) == (
        "<s>Be brief.\n\nLikes tea.\n\n",
        "User: hi\n\nAssistant: yes?\n\nUser: a colour\n\nAssistant:",
    )
    assert text(t, t.response(CHAT, "red")) == " red</s>"


@pytest.mark.parametrize("chat", [True, False])
def test_a_conversation_without_messages_is_refused(chat):
    with pytest.raises(DataError, match="without messages"):
        template(chat=chat).prompt(())


@pytest.mark.parametrize("options", [{}, {"bos": False}, {"chat": True}, {"chat_template": NO_SYSTEM}])
@pytest.mark.parametrize("prompt", ["why?", CHAT], ids=["text", "chat"])
def test_responses_end_with_the_end_of_sequence(options, prompt):
    t = template(**options)
    ids = t.response(prompt, "because", "Likes tea.")
    assert ids[-1] == t.tokenizer.eos_token_id and ids.count(t.tokenizer.eos_token_id) == 1


def test_chat_template_never():
    t = template(chat=True)
    never = Template(make_tokenizer(chat=True), ModelConfig(chat_template="never"))
    assert t.chat and not never.chat
    assert text(never, never.prompt("why?").ids) == "<s>why?"


def test_the_reference_without_the_user_text():
    c = Comparison("why?", "because", "no", user_text="Likes tea.")
    shared = template().comparison(c)
    assert shared.reference_prompt == shared.prompt
    t = template(reference_user_text=False)
    encoded = t.comparison(c)
    assert text(t, encoded.reference_prompt) == "<s>why?"
    assert encoded.prompt == shared.prompt and encoded.chosen == shared.chosen


def test_tokenizers_that_cannot_be_used():
    tokenizer = make_tokenizer()
    tokenizer.eos_token = None
    with pytest.raises(UnsupportedModelError, match="eos_token"):
        Template(tokenizer, ModelConfig())


# --- the same ids as TRL ---


def merging_tokenizer():
    """Byte-level BPE in which "?" and "b" are one token, so that a prompt and a response can merge."""
    vocab = {"<pad>": 0, "<s>": 1, "</s>": 2}
    vocab |= {c: i + 3 for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    vocab |= {"?b": 259, "ec": 260}
    tok = Tokenizer(models.BPE(vocab=vocab, merges=[("?", "b"), ("e", "c")]))
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tok.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tok, bos_token="<s>", eos_token="</s>", pad_token="<pad>")


def metaspace_tokenizer():
    """As SentencePiece models do it: a text of its own begins with a space, the middle of one does not."""
    vocab = {"<pad>": 0, "<s>": 1, "</s>": 2, "▁": 3} | {c: i for i, c in enumerate("abcdefw?", 4)}
    tok = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    tok.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tok.decoder = decoders.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=tok, bos_token="<s>", eos_token="</s>", pad_token="<pad>")


def trl_rows(tokenizer, rows, tmp_path):
    """What TRL's DPOTrainer makes of standard rows."""
    datasets = pytest.importorskip("datasets")
    trl = pytest.importorskip("trl")
    args = trl.DPOConfig(
        str(tmp_path),
        max_length=None,
        report_to=[],
        use_cpu=True,
        bf16=False,
        disable_tqdm=True,
        gradient_checkpointing=False,
    )
    data = datasets.Dataset.from_list([{"prompt": c.prompt, "chosen": c.chosen, "rejected": c.rejected} for c in rows])
    trainer = trl.DPOTrainer(
        make_model(), ref_model=make_model(), args=args, train_dataset=data, processing_class=tokenizer
    )
    return [dict(row) for row in trainer.train_dataset]


@pytest.mark.filterwarnings("ignore")  # whatever TRL warns of
@pytest.mark.parametrize(
    "make", [make_tokenizer, lambda: make_tokenizer(bos=False), merging_tokenizer, metaspace_tokenizer]
)
def test_ids_equal_those_of_trl(make, tmp_path):
    tokenizer = make()
    tokenizer.model_max_length = 10_000
    rows = [Comparison("fed a cab?", "fade", "feed a bee"), Comparison("wade? ", "cafe</s>", "a")]
    t = Template(tokenizer, ModelConfig())
    logging.getLogger("trl").setLevel(logging.ERROR)
    for c, theirs in zip(rows, trl_rows(tokenizer, rows, tmp_path), strict=True):
        ours = t.comparison(c)
        assert list(ours.prompt) == theirs["prompt_ids"]
        assert list(ours.chosen) == theirs["chosen_ids"]
        assert list(ours.rejected) == theirs["rejected_ids"]


def test_a_prompt_is_whole_where_its_end_would_merge_with_the_response():
    t = Template(merging_tokenizer(), ModelConfig())
    encoded = t.comparison(Comparison("who?", "bee", "cab"))
    assert encoded.prompt == t.prompt("who?").ids
    assert 259 not in encoded.chosen and text(t, encoded.chosen) == "bee</s>"
