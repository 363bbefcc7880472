"""Token ids in flat arrays: the same as one by one, in parts on disk, never those of something else."""

import logging
from dataclasses import replace

import numpy as np
import pytest

import prlhf.lm.tokens as tokens
from prlhf.config import ModelConfig
from prlhf.data import Log
from prlhf.lm import Template, tokenise
from prlhf.types import Comparison, Message, Thumb
from tiny_models import make_tokenizer

ITEMS = (
    Comparison("why is the sky blue?", "light scatters", "because", user="ann"),
    Comparison("name a colour", "red", "a very long answer that nobody asked for", user_text="likes it short"),
    Comparison((Message("system", "be brief"), Message("user", "hi")), "yes", "no", user_text="likes tea"),
    Comparison("", "x", "yy"),
    *(Comparison(f"question {i} " * i, "a" * i, "b" * (9 - i)) for i in range(1, 7)),
    Thumb("what now?", "nothing", True, user_text="asks"),
)


def template(**options) -> Template:
    chat = options.pop("chat", False)
    return Template(make_tokenizer(chat=chat), ModelConfig(**options), options.pop("context", None))


def log(items=ITEMS) -> Log:
    """Its `pick` knows what the items are, as a training side does."""
    return Log(
        tuple(c for c in items if isinstance(c, Comparison)),
        "x",
        thumbs=tuple(c for c in items if isinstance(c, Thumb)),
    )


@pytest.fixture
def made(monkeypatch):
    """Parts of four items; how many are tokenised at a time."""
    sizes: list[int] = []
    original = tokens._part
    monkeypatch.setattr(tokens, "PART", 4)
    monkeypatch.setattr(tokens, "_part", lambda t, items: (sizes.append(len(items)), original(t, items))[1])
    return sizes


@pytest.mark.parametrize("chat", [False, True])
@pytest.mark.parametrize("limits", [{}, {"max_prompt_tokens": 4, "max_response_tokens": 3}])
@pytest.mark.parametrize("cached", [False, True])
def test_many_are_what_each_is(tmp_path, made, chat, limits, cached):
    t = template(chat=chat, reference_user_text=False, **limits)
    found = tokenise(t, log().pick(range(len(ITEMS))), cache=tmp_path if cached else None)
    alone = [t.comparison(c) for c in log().items]
    assert list(found) == alone and found[2:5] == alone[2:5] and found[-1] == alone[-1]
    assert found.lengths.tolist() == [e.length for e in alone]
    assert found.responses.tolist() == [[len(e.chosen), len(e.rejected)] for e in alone]
    assert sum(made) == len(ITEMS) and bool(list(tmp_path.iterdir())) == cached
    assert any(e.reference_prompt != e.prompt for e in alone) and any(not e.rejected for e in alone)


def test_those_that_tell_the_layout():
    t = template()
    found, alone = tokenise(t, ITEMS), [t.comparison(c) for c in ITEMS]
    assert {alone[0], max(alone, key=lambda c: c.path), max(alone, key=lambda c: c.length)} == set(found.telling())
    assert tokenise(t, []).telling() == [] and len(tokenise(t, [])) == 0


def test_a_killed_pass_goes_on(tmp_path, made):
    t, items = template(), log().pick(range(len(ITEMS)))

    def killed(starts, what):
        yield from list(starts)[:2]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tokenise(t, items, cache=tmp_path, progress=killed)
    assert made == [4, 4]
    assert list(tokenise(t, items, cache=tmp_path)) == [t.comparison(c) for c in items]
    assert made == [4, 4, 3]
    tokenise(t, items, cache=tmp_path)
    assert len(made) == 3


def test_no_part_belongs_to_other_texts_or_another_template(tmp_path, made):
    t, items = template(), log()
    first = list(tokenise(t, items.pick(range(8)), cache=tmp_path))
    assert len(made) == 2
    assert list(tokenise(t, items.pick(range(11)), cache=tmp_path))[:8] == first  # growing data
    assert len(made) == 3
    turned = tokenise(t, items.pick([4, 5, 6, 7, 0, 1, 2, 3]), cache=tmp_path)
    assert list(turned) == first[4:] + first[:4] and len(made) == 3
    assert list(tokenise(t, items.pick([1, 0, 2, 3, 4]), cache=tmp_path)) == [first[i] for i in (1, 0, 2, 3, 4)]
    assert len(made) == 5
    told = Log((replace(ITEMS[0], user_text="likes rain"), *items.comparisons[1:]), "x")
    assert tokenise(t, told.pick(range(8)), cache=tmp_path)[0] != first[0]
    assert len(made) == 6  # the second part is the same
    others = [
        template(max_prompt_tokens=4), template(max_response_tokens=2), template(user_tokens_at="before_response"),
        template(reference_user_text=False), template(chat=True), template(chat=True, chat_template="never"),
        Template(make_tokenizer(bos=False), ModelConfig()), Template(make_tokenizer(), ModelConfig(), 64, 2),
    ]  # fmt: skip
    assert len({t.fingerprint, *(o.fingerprint for o in others)}) >= 8
    for other in others:
        assert list(tokenise(other, items.pick(range(8)), cache=tmp_path)) == [
            other.comparison(c) for c in items.items[:8]
        ]


def test_a_chat_template_that_writes_the_date_is_another_one_tomorrow(monkeypatch):
    tokenizer, made = make_tokenizer(chat=True), []
    tokenizer.chat_template = "{{ strftime_now('%Y-%m-%d') }}" + tokenizer.chat_template
    apply = tokenizer.apply_chat_template
    for day in ("2025-01-01", "2025-01-01", "2025-01-02"):
        monkeypatch.setattr(tokenizer, "apply_chat_template", lambda m, d=day, **o: d + apply(m, **o)[10:])
        made.append(Template(tokenizer, ModelConfig()).fingerprint)
    assert made[0] == made[1] != made[2]


def test_a_damaged_part_is_made_again(tmp_path, made, caplog):
    t, items = template(), log().pick(range(8))
    first = list(tokenise(t, items, cache=tmp_path))
    part = sorted(tmp_path.glob("*/*.npy"))[0]
    part.write_bytes(part.read_bytes()[:-5])
    assert list(tokenise(t, items, cache=tmp_path)) == first
    assert len(made) == 3 and "damaged" in caplog.text
    whole = np.load(part)
    np.save(part, np.concatenate([[2], whole[1:]]).astype(np.int32))  # whole as a file, and not what belongs there
    assert list(tokenise(t, items, cache=tmp_path)) == first and len(made) == 4


def test_without_room_token_ids_stay_in_memory(tmp_path, made, caplog):
    (tmp_path / "cache").write_text("not a folder", encoding="utf8")
    t, items = template(), log().pick(range(8))
    assert list(tokenise(t, items, cache=tmp_path / "cache")) == list(tokenise(t, items))
    assert "token ids are held in memory" in caplog.text and "PRLHF_CACHE" in caplog.text


def test_cuts_are_told(caplog):
    t = template(max_prompt_tokens=4, max_response_tokens=3)
    with caplog.at_level(logging.WARNING):
        found = tokenise(t, ITEMS)
        found.warn_cuts(t)
    prompts, responses = sum(e.truncated for e in found), sum(e.responses_cut for e in found)
    assert f"{prompts} of {len(ITEMS)} prompts" in caplog.text
    assert f"{responses} of {2 * len(ITEMS) - 1} responses" in caplog.text
    assert np.array_equal(found.lengths, [e.length for e in found])
