"""Long texts on models with few positions: what is cut and kept, and that no position beyond the last is used."""

from dataclasses import replace

import numpy as np
import pytest

from prlhf.config import Individual, ModelConfig, RunConfig
from prlhf.errors import ConfigError
from prlhf.evaluation.policy import EvaluationSet, score_policy
from prlhf.lm import PersonalizedLM
from prlhf.training.train import prepare
from prlhf.types import Comparison, Message
from tiny_models import make_model, make_tokenizer

CONTEXT = 48
LOG = [
    Comparison("a very long question " * 9, "yes", "a short answer", user="ann"),
    Comparison("why?", "because it is so, and always was, and will be so in days to come" * 2, "no", user="ann"),
    Comparison("long question " * 9, "no", "a long answer " * 9, user_text="somebody who likes long things " * 4),
    Comparison("why?", "yes", "no", user="ann"),
]


@pytest.fixture(params=["gpt2", "llama"])
def base(request, tmp_path):
    name = "n_positions" if request.param == "gpt2" else "max_position_embeddings"
    make_model(request.param, **{name: CONTEXT}).save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    return str(tmp_path)


def create(base: str, tokens: int = 3, **options) -> PersonalizedLM:
    return PersonalizedLM.create(ModelConfig(base=base, **options), Individual(tokens=tokens), ["ann"]).eval()


@pytest.mark.parametrize("place", ["start", "after_system", "before_response"])
def test_everything_fits_into_the_context(base, place):
    lm = create(base, user_tokens_at=place)
    encoded = [lm.template.comparison(c) for c in LOG]
    sizes = [len(e.prompt) + 3 + max(len(e.chosen), len(e.rejected)) for e in encoded]
    assert sizes[:3] == [CONTEXT] * 3  # all of it is used, and no more
    assert sizes[3] < CONTEXT
    assert [(e.truncated, e.responses_cut) for e in encoded] == [(True, 0), (True, 1), (True, 1), (False, 0)]
    assert all(e.prompt[0] == lm.tokenizer.bos_token_id and 0 < e.cut <= len(e.prompt) for e in encoded)
    whole = create(base, max_prompt_tokens=9999).template.prompt(LOG[0].prompt).ids
    assert encoded[0].prompt[1:] == whole[len(whole) - len(encoded[0].prompt) + 1 :]


@pytest.mark.parametrize("layout", ["packed", "plain"])
def test_long_texts_are_scored_and_counted(base, layout, caplog):
    lm = create(base)
    asked = []
    lm.decoder.register_forward_pre_hook(
        lambda module, args, kwargs: asked.append(int(kwargs["position_ids"].max())), with_kwargs=True
    )
    scores = score_policy(lm, EvaluationSet.of(lm, LOG, layout=layout))
    assert np.isfinite(scores.h_specific).all()
    assert max(asked) == CONTEXT - 1  # the last position that there is
    prepare(lm, LOG, RunConfig(model=lm.config), layout=layout, cache=None)
    assert "3 of 4 prompts were cut at their left: max_prompt_tokens=512, context of the model 48" in caplog.text
    assert "2 of 8 responses were cut at their right: max_response_tokens=512, context of the model 48" in caplog.text


def test_a_long_system_message_is_cut_as_well(base):
    lm = create(base, user_tokens_at="after_system")
    said = (Message("system", "be brief and kind " * 9), Message("user", "why?"))
    encoded = lm.template.comparison(Comparison(said, "so it is", "no"))
    assert len(encoded.prompt) + 3 + len(encoded.chosen) == CONTEXT
    assert encoded.truncated
    assert lm.tokenizer.decode(encoded.prompt[encoded.cut - 2 : encoded.cut]) == "\n\n"  # still after the system part


def test_the_reference_without_user_text_fits_too(base):
    lm = create(base, reference_user_text=False)
    for c in LOG:
        e = lm.template.comparison(replace(c, user_text="likes it short"))
        assert len(e.reference_prompt) + max(len(e.chosen), len(e.rejected)) <= CONTEXT


def test_no_room_at_all(base):
    with pytest.raises(ConfigError, match=r"user_model\.tokens: 46 user tokens leave no room .* context of 48"):
        create(base, tokens=46)
    encoded = create(base, tokens=45).template.comparison(LOG[1])
    assert (len(encoded.prompt), len(encoded.chosen)) == (2, 1)


def test_models_without_a_limit(base_folder):
    lm = create(base_folder())
    lm.causal_lm.config.max_position_embeddings = -1  # as some configs say it
    again = PersonalizedLM(lm.model, lm.tokenizer, lm.user_model, lm.users, lm.config, lm.base_fingerprint)
    assert again.template.context is None
    assert len(again.template.comparison(LOG[1]).chosen) > CONTEXT
