"""Batched generation: any users together, and nothing depends on who shares the batch."""

from collections import Counter

import numpy as np
import pytest
import torch
from peft import PeftModel

from families import TYPES
from prlhf.config import Individual, ModelConfig
from prlhf.errors import ConfigError, DataError
from prlhf.lm import PersonalizedLM
from prlhf.types import Message

PROMPTS = ["hi", "a much longer question about the sea", "why?", "hi"]
USERS = ["ann", "bob", None, "bob"]


def personalised(folder: str, **options) -> PersonalizedLM:
    lm = PersonalizedLM.create(ModelConfig(base=folder, **options), Individual(tokens=3), ["ann", "bob"], seed=1)
    torch.manual_seed(5)
    with torch.no_grad():  # sharp, so that greedy answers vary, and away from step 0, so that users differ
        lm.user_model.table.weight[1:] = torch.randn(2, lm.user_model.table.weight.shape[1])
        for name, p in lm.model.named_parameters():
            p.mul_(1.0 if "norm" in name or "ln_" in name else 6.0)
            if "lora_B" in name:
                p.copy_(torch.randn_like(p) * 0.1)
    return lm.eval()


@pytest.fixture
def lm(base_folder) -> PersonalizedLM:
    return personalised(base_folder())


@torch.no_grad()
def by_hand(lm: PersonalizedLM, prompt: str, row: int, count: int) -> tuple[int, ...]:
    """Greedy tokens by whole forward passes on explicit embeddings: no cache, no padding, no user ids."""
    ids = lm.encode_prompt(prompt, row)
    start = len(ids)
    for _ in range(count):
        embedded = lm._user_tokens.explicit(lm.embedding, torch.tensor([ids]))
        ids.append(int(lm.model(inputs_embeds=embedded).logits[0, -1].argmax()))
        if ids[-1] == lm.tokenizer.eos_token_id:
            return tuple(ids[start:-1])
    return tuple(ids[start:])


@pytest.mark.parametrize("architecture", TYPES)
def test_a_batch_is_its_rows_one_by_one(base_folder, architecture):
    lm = personalised(base_folder(architecture))
    batch = lm.generate(PROMPTS, users=USERS, max_new_tokens=8, details=True)
    alone = [
        lm.generate([p], users=[u], max_new_tokens=8, details=True)[0] for p, u in zip(PROMPTS, USERS, strict=True)
    ]
    assert batch == alone
    for g, prompt, row in zip(batch, PROMPTS, (1, 2, 0, 2), strict=True):
        assert (g.row, g.tokens) == (row, by_hand(lm, prompt, row, 8))
    assert batch[0].tokens != batch[3].tokens  # the same question of two users


@pytest.mark.parametrize("place", ["start", "after_system", "before_response"])
def test_wherever_user_tokens_stand(base_folder, place):
    lm = personalised(base_folder("llama", chat=True), user_tokens_at=place)
    texts = ["short", "a rather longer text about somebody", None, None]
    batch = lm.generate(PROMPTS, USERS, user_texts=texts, max_new_tokens=6, details=True)
    for g, p, u, t in zip(batch, PROMPTS, USERS, texts, strict=True):
        assert [g] == lm.generate([p], u, user_texts=t, max_new_tokens=6, details=True)
    assert batch[3] != lm.generate(["hi"], "bob", user_texts="short", max_new_tokens=6, details=True)[0]


def test_texts_by_default_in_the_order_of_the_prompts(lm):
    texts = lm.generate(PROMPTS, users=USERS, max_new_tokens=5, batch_size=2)
    details = lm.generate(PROMPTS, users=USERS, max_new_tokens=5, details=True)
    assert texts == [g.text for g in details] == [lm.tokenizer.decode(list(g.tokens)) for g in details]
    assert lm.generate([]) == []


def test_unknown_users_are_generic_and_visible(lm, caplog):
    with caplog.at_level("WARNING"):
        zoe, nobody = lm.generate(["hi", "hi"], users=["zoe", None], max_new_tokens=4, details=True)
    assert "'zoe'" in caplog.text
    assert (zoe.user, zoe.row, zoe.known) == ("zoe", 0, False)
    assert (nobody.user, nobody.row, nobody.known) == (None, 0, True)
    assert zoe.tokens == nobody.tokens


def test_integers_are_ids_as_in_data_files(base_folder):
    lm = PersonalizedLM.create(ModelConfig(base=base_folder()), Individual(tokens=2), ["7", "8"], seed=1)
    for users in ([7, 8], np.array([7, 8])):
        found = lm.generate(["a", "b"], users=users, max_new_tokens=1, details=True)
        assert [(g.user, g.row, g.known) for g in found] == [("7", 1, True), ("8", 2, True)]
    assert [g.row for g in lm.generate(["a", "b"], users=8, max_new_tokens=1, details=True)] == [2, 2]


def test_rows_and_the_reference(lm):
    def plain_ids() -> list[int]:
        ids = torch.tensor([lm.encode_prompt("hi", -1)])
        found = lm.causal_lm.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False)
        return found[0, ids.shape[1] :].tolist()

    (bare,) = lm.generate(["hi"], row=-1, max_new_tokens=8, details=True)
    (base,) = lm.generate(["hi"], reference=True, max_new_tokens=8, details=True)
    assert isinstance(lm.model, PeftModel)
    assert list(bare.tokens) == plain_ids()[: len(bare.tokens)]
    with lm.adapter_off():
        assert list(base.tokens) == plain_ids()[: len(base.tokens)]
    assert bare.row == base.row == -1
    assert bare.tokens != base.tokens
    assert lm.generate(["hi"], row=2) == lm.generate(["hi"], users=["bob"])
    with pytest.raises(ConfigError, match="row: found 3"):
        lm.generate(["hi"], row=3)
    with pytest.raises(ConfigError, match="not both"):
        lm.generate(["hi"], users=["bob"], row=1)


def test_the_reference_of_a_fully_tuned_model_is_its_base(base_folder):
    before = personalised(base_folder(), tuning={"type": "full"})
    fresh = PersonalizedLM.create(ModelConfig(base=base_folder(), tuning={"type": "full"}), Individual(tokens=3))
    wanted = fresh.generate(["hi"], row=-1, max_new_tokens=6)
    assert before.generate(["hi"], reference=True, max_new_tokens=6) == wanted
    assert before.generate(["hi"], row=-1, max_new_tokens=6) != wanted


def test_stop_strings_are_cut_off_and_ignore_the_prompt(lm):
    (whole,) = lm.generate(["hi"], users=["ann"], max_new_tokens=30, details=True)
    stop = whole.text[8:11]
    (cut,) = lm.generate(["hi"], users=["ann"], max_new_tokens=30, stop=[stop, "never there"], details=True)
    assert cut.text == whole.text[: whole.text.index(stop)]
    assert cut.finished and not whole.finished
    assert len(cut.tokens) < len(whole.tokens)
    both = lm.generate(["hi", "why?"], users=["ann", "bob"], max_new_tokens=30, stop=stop)
    assert both == [cut.text, *lm.generate(["why?"], "bob", max_new_tokens=30, stop=stop)]
    first = whole.text[0]
    (across,) = lm.generate(["hi"], users=["ann"], max_new_tokens=5, stop=["i" + first], details=True)
    assert (
        not across.finished and across.tokens == whole.tokens[:5]
    )  # prompt and answer together have the stop string, the answer has not


def test_the_end_of_sequence_and_padding_are_trimmed(lm):
    (long,) = lm.generate(["hi"], users=["ann"], max_new_tokens=10, details=True)
    lm.causal_lm.generation_config.eos_token_id = [2, long.tokens[3]]  # as models with several ends have it
    first = long.tokens.index(long.tokens[3])
    ended, other = lm.generate(["hi", "why?"], users=["ann", "bob"], max_new_tokens=10, details=True)
    assert (ended.tokens, ended.finished) == (long.tokens[:first], True)
    assert other.tokens == lm.generate(["why?"], "bob", max_new_tokens=10, details=True)[0].tokens


def test_a_model_s_own_sampling_defaults_are_not_used(lm):
    wanted = lm.generate(PROMPTS, USERS, max_new_tokens=8)
    lm.causal_lm.generation_config.update(do_sample=True, temperature=0.6, top_p=0.5, repetition_penalty=1.5, top_k=3)
    assert lm.generate(PROMPTS, USERS, max_new_tokens=8) == wanted


def test_penalties_do_not_see_user_tokens_or_padding(lm):
    free = lm.generate(PROMPTS, users=USERS, max_new_tokens=40, details=True)
    for option in ({"repetition_penalty": 1.5}, {"no_repeat_ngram_size": 1}, {"no_repeat_ngram_size": 2}):
        options = {"max_new_tokens": 40, "details": True, **option}
        batch = lm.generate(PROMPTS, users=USERS, **options)
        assert batch == [lm.generate([p], u, **options)[0] for p, u in zip(PROMPTS, USERS, strict=True)]
        assert batch != free
    for answers, repeats in ((free, True), (batch, False)):
        pairs = [Counter(zip(g.tokens, g.tokens[1:], strict=False)) for g in answers]
        assert any(max(c.values(), default=0) > 1 for c in pairs) is repeats


def test_penalties_agree_with_those_of_transformers_where_no_user_token_is(lm):
    ids = torch.tensor([lm.encode_prompt("hi hi hi", -1)])
    for name, value in (("repetition_penalty", 1.4), ("no_repeat_ngram_size", 1)):
        kwargs = {"max_new_tokens": 20, "do_sample": False, "attention_mask": torch.ones_like(ids), name: value}
        theirs = lm.causal_lm.generate(ids, **kwargs)[0, ids.shape[1] :].tolist()
        (ours,) = lm.generate(["hi hi hi"], row=-1, max_new_tokens=20, details=True, **{name: value})
        assert list(ours.tokens) == theirs[: len(ours.tokens)]
        assert ours.tokens != lm.generate(["hi hi hi"], row=-1, max_new_tokens=20, details=True)[0].tokens


def test_sampling_depends_on_the_seed_alone(lm):
    options = {"temperature": 1.5, "top_p": 0.95, "top_k": 50, "max_new_tokens": 8}
    state = torch.get_rng_state()
    one = lm.generate(PROMPTS, users=USERS, seed=3, **options)
    assert torch.equal(torch.get_rng_state(), state)
    assert one == lm.generate(PROMPTS, users=USERS, seed=3, batch_size=1, **options)
    assert one != lm.generate(PROMPTS, users=USERS, seed=4, **options)
    torch.manual_seed(0)
    free = lm.generate(PROMPTS, users=USERS, **options)
    assert free != lm.generate(PROMPTS, users=USERS, **options)
    torch.manual_seed(0)
    assert free == lm.generate(PROMPTS, users=USERS, **options)


def test_samples_follow_the_distribution(base_folder):
    lm = PersonalizedLM.create(ModelConfig(base=base_folder()), Individual(tokens=3), ["ann"]).eval()
    with torch.no_grad():
        lm.embedding.weight.mul_(10)  # tied to the head: some tokens become likely
        ids = torch.tensor([lm.encode_prompt("hi", 1)])
        expected = (lm(ids).logits[0, -1] / 0.7).softmax(-1)
    drawn = lm.generate(
        ["hi"], "ann", num_samples=2000, batch_size=500, max_new_tokens=1, temperature=0.7, seed=0, details=True
    )
    counts = torch.zeros(272)
    for g in drawn:
        counts[g.tokens[0] if g.tokens else lm.tokenizer.eos_token_id] += 1
    error = (counts / 2000 - expected).abs()
    assert (error < 5 * (expected * (1 - expected) / 2000).sqrt() + 1e-3).all()
    top = lm.generate(["hi"], "ann", num_samples=50, max_new_tokens=1, temperature=5.0, top_k=2, seed=0, details=True)
    likely = set(expected.topk(2).indices.tolist())
    assert {g.tokens[0] for g in top} == likely


def test_samples_of_a_prompt_stand_together(lm):
    texts = lm.generate(["hi", "why?"], ["ann", "bob"], num_samples=3, temperature=2.0, seed=1, max_new_tokens=6)
    assert len(set(texts)) == 6
    greedy = lm.generate(["hi", "why?"], ["ann", "bob"], num_samples=2, max_new_tokens=6)
    assert greedy[0] == greedy[1] != greedy[2] == greedy[3]


@pytest.mark.parametrize("chat", [True, False])
def test_conversations(base_folder, chat):
    lm = personalised(base_folder("llama", chat=chat))
    as_dicts = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "yes"},
        {"role": "user", "content": "no"},
    ]
    as_messages = tuple(Message(m["role"], m["content"]) for m in as_dicts)
    one, two = lm.generate([as_dicts, as_messages], users="ann", max_new_tokens=6)
    assert one == two != lm.generate(["no"], "ann", max_new_tokens=6)[0]


def test_what_the_chat_template_closes_a_response_with_ends_an_answer(base_folder):
    lm = personalised(base_folder("llama", chat=True))
    (long,) = lm.generate(["hi"], "ann", max_new_tokens=6, details=True)
    lm.tokenizer.chat_template = lm.tokenizer.chat_template.replace("</s>", "<|im_start|>")
    lm.template = type(lm.template)(lm.tokenizer, lm.config)
    lm.causal_lm.generation_config.eos_token_id = None
    with torch.no_grad():  # the closing token has the highest score from now on
        lm.head.weight = torch.nn.Parameter(torch.zeros_like(lm.head.weight))
        lm.head.weight[3] = 1e-3
        lm.head.bias = torch.nn.Parameter(torch.zeros(272).index_fill(0, torch.tensor(3), 1.0))
    (closed,) = lm.generate(["hi"], "ann", max_new_tokens=6, details=True)
    assert (closed.tokens, closed.finished, closed.text) == ((), True, "")
    assert long.tokens


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_the_end_of_the_context(base_folder, architecture, caplog):
    lm = personalised(base_folder(architecture))
    options = {"users": "ann", "details": True}
    for new, room in ((20, 20), (300, (512 - 3) // 4)):  # as many as are wanted, at most a quarter
        full, short = lm.generate(["q" * 600, "hi"], max_new_tokens=new, **options)
        assert full.truncated and not full.finished and len(full.tokens) == room
        assert not short.truncated and [short] == lm.generate(["hi"], max_new_tokens=new, **options)
    assert "1 prompts were cut at their left: max_prompt_tokens=512, context of the model 512 less room" in caplog.text


@pytest.mark.parametrize("chat", [True, False])
def test_a_long_conversation_goes_on_and_forgets_its_beginning(base_folder, chat):
    lm = personalised(base_folder("llama", chat=chat))
    said = [Message("system", "be brief")]
    for turn in range(30):
        said += [Message("user", f"question {turn:02d} about the sea"), Message("assistant", "it is deep")]
    said.append(Message("user", "why?"))
    asked = []
    lm.causal_lm.register_forward_pre_hook(
        lambda module, args, kwargs: asked.append(kwargs["input_ids"]), with_kwargs=True
    )
    (g,) = lm.generate([said], "ann", user_texts="a sailor", max_new_tokens=8, details=True)
    assert g.truncated and len(g.tokens) == 8
    ids = asked[0][0].tolist()
    assert len(ids) == 512 - 8
    text = lm.tokenizer.decode([i for i in ids if i < lm.vocab_rows])
    assert "be brief" in text and "a sailor" in text and "why?" in text
    assert "question 29" in text and "question 00" not in text
    assert "".join(lm.stream(said, "ann", user_text="a sailor", max_new_tokens=8)) == g.text


def test_a_model_trained_with_texts_says_once_that_one_is_missing(lm, caplog):
    lm.generate(["hi"], "ann", max_new_tokens=1)
    lm.with_user_text = True
    for silent in ({"user_texts": "a sailor"}, {"users": None}, {"reference": True}, {"users": "zoe"}):
        lm.generate(["hi"], **{"users": "ann", **silent}, max_new_tokens=1)
    assert "trained with texts" not in caplog.text
    for _ in range(2):
        lm.generate(["hi"] * 3, ["bob", "ann", None], user_texts=[None, "a sailor", None], max_new_tokens=1)
    assert caplog.text.count("was trained with texts about its users, and is asked without one for 'bob': give") == 1


def test_a_user_text_that_fills_the_context_is_an_error(lm):
    for fills in ({"user_texts": "s" * 600}, {"prompts": [[Message("system", "s" * 600), Message("user", "hi")]]}):
        with pytest.raises(DataError, match=r"prompt 1: its user text and system message leave no room .* of 512"):
            lm.generate(**{"prompts": ["hi"], "users": "ann", "max_new_tokens": 20, **fills})
    (g,) = lm.generate(["q" * 100], "ann", user_texts="s" * 490, max_new_tokens=20, details=True)
    assert g.truncated and 0 < len(g.tokens) <= 20  # kept whole, with what room it leaves


def test_training_mode_comes_back(lm):
    wanted = lm.generate(["hi"], "ann", max_new_tokens=5)
    lm.train()
    assert lm.generate(["hi"], "ann", max_new_tokens=5) == wanted
    assert lm.training and lm.model.training


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"prompts": "hi"}, DataError, r"expected a list of prompts"),
        ({"prompts": [{"role": "user", "content": "hi"}]}, DataError, r"expected a list of prompts"),
        ({"prompts": [3]}, DataError, "found int 3"),
        ({"prompts": [[{"role": "user"}]]}, DataError, "role and content"),
        ({"prompts": ["a", "b"], "users": ["ann"]}, DataError, "found 1 for 2 prompts"),
        ({"prompts": ["a"], "users": [7.0]}, DataError, r"users: found 7.0 \(float\), expected a string, an integer"),
        ({"prompts": ["a"], "user_texts": [7]}, DataError, r"user_texts: found 7 \(int\), expected a string"),
        ({"prompts": ["a"], "temprature": 1}, ConfigError, "did you mean temperature"),
        ({"prompts": ["a"], "temperature": -1}, ConfigError, "temperature: found -1"),
        ({"prompts": ["a"], "top_p": 0.0}, ConfigError, "top_p"),
        ({"prompts": ["a"], "stop": [""]}, ConfigError, "stop"),
        ({"prompts": ["a"], "batch_size": 0}, ConfigError, "batch_size"),
        ({"prompts": ["a"], "num_samples": 0}, ConfigError, "num_samples"),
    ],
)
def test_what_cannot_be_asked(lm, kwargs, error, message):
    with pytest.raises(error, match=message):
        lm.generate(**kwargs)
