"""Streaming gives what `generate` gives, piece by piece."""

import threading

import pytest
import torch

from prlhf.config import Individual, ModelConfig
from prlhf.errors import ConfigError
from prlhf.lm import PersonalizedLM
from prlhf.lm.generate import _settled, answer_text


@pytest.fixture
def lm(base_folder) -> PersonalizedLM:
    lm = PersonalizedLM.create(ModelConfig(base=base_folder()), Individual(tokens=3), ["ann", "bob"], seed=1)
    torch.manual_seed(5)
    with torch.no_grad():
        lm.user_model.table.weight[1:] = torch.randn(2, lm.user_model.table.weight.shape[1])
        for name, p in lm.model.named_parameters():
            p.mul_(1.0 if "norm" in name else 6.0)
    return lm.eval()


@pytest.mark.parametrize("options", [{}, {"temperature": 1.0, "seed": 3}, {"reference": True}])
def test_the_pieces_are_the_answer(lm, options):
    wanted = lm.generate(["hi"], None if options.get("reference") else ["ann"], max_new_tokens=20, **options)[0]
    pieces = list(lm.stream("hi", None if options.get("reference") else "ann", max_new_tokens=20, **options))
    assert "".join(pieces) == wanted
    assert len(pieces) > 3


def test_stop_strings_never_show(lm):
    whole = lm.generate(["hi"], ["ann"], max_new_tokens=20)[0]
    stop = whole[6:10]
    pieces = list(lm.stream("hi", "ann", max_new_tokens=20, stop=[stop]))
    assert "".join(pieces) == whole[: whole.index(stop)]
    assert _settled("abc st", ["stop"]) == "abc "
    assert _settled("abc \ufffd", []) == "abc "


def test_the_details_are_returned(lm):
    def consume():
        found.append((yield from lm.stream("hi", "zoe", max_new_tokens=3)))

    found = []
    list(consume())
    assert (found[0].user, found[0].known, len(found[0].tokens)) == ("zoe", False, 3)


def test_leaving_early_stops_the_work(lm):
    before = threading.active_count()
    stream = lm.stream("hi", "ann", max_new_tokens=400)
    next(stream)
    stream.close()
    assert threading.active_count() == before
    assert not lm.training


def test_errors_reach_the_reader(lm, monkeypatch):
    with pytest.raises(ConfigError, match="max_new_tokens"):
        lm.stream("hi", "ann", max_new_tokens=0)
    monkeypatch.setattr(lm.causal_lm, "generate", lambda **_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        list(lm.stream("hi", "ann"))


@pytest.mark.parametrize(
    ("written", "stop", "answer"),
    [
        (" Blue, like it.", (), "Blue, like it."),
        ("  two", (), " two"),
        ("no space", (), "no space"),
        (" a b", (" a",), ""),
    ],
)
def test_one_space_at_the_start_only_parts_answer_and_prompt(lm, written, stop, answer):
    """At every moment of the stream what is shown is a beginning of the answer."""
    tokens = lm.tokenizer(written, add_special_tokens=False)["input_ids"]
    assert len(tokens) > 1 and lm.tokenizer.decode(tokens) == written
    assert answer_text(lm, tokens, stop) == answer
    shown = [answer_text(lm, tokens[:k], stop, more=True) for k in range(1, len(tokens) + 1)]
    assert all(answer.startswith(text) for text in shown)
