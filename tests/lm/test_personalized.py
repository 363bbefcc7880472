"""User tokens as ids give the logits of explicit concatenation, for every architecture and way of use."""

import shutil

import pytest
import torch
from transformers import AutoTokenizer

from families import FIRST, TYPES
from prlhf.config import Individual, ModelConfig
from prlhf.errors import DataError, UnknownUserError, UnsupportedModelError
from prlhf.lm import PersonalizedLM
from prlhf.types import Comparison
from tiny_models import make_model, make_tokenizer


def personalised(folder: str, **options) -> PersonalizedLM:
    lm = PersonalizedLM.create(ModelConfig(base=folder, **options), Individual(tokens=3), ["ann", "bob"], seed=1)
    with torch.no_grad():  # away from step 0, so that users differ and the LoRA does something
        lm.user_model.table.weight[1:] = torch.randn(2, lm.user_model.table.weight.shape[1])
        for name, p in lm.model.named_parameters():
            if "lora_B" in name:
                p.copy_(torch.randn_like(p) * 0.1)
    return lm.eval()


def both_ways(
    lm: PersonalizedLM, ids: torch.Tensor, mask: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    explicit = lm._user_tokens.explicit(lm.embedding, ids)
    kwargs = {} if mask is None else {"attention_mask": mask}
    return lm(ids, **kwargs).logits, lm.model(inputs_embeds=explicit, **kwargs).logits


@pytest.mark.parametrize("architecture", TYPES)
def test_logits_equal_those_of_concatenation(base_folder, architecture):
    lm = personalised(base_folder(architecture))
    ids = torch.tensor([lm.encode_prompt("a question", row) for row in (0, 1, 2)])
    by_ids, by_embeddings = both_ways(lm, ids)
    torch.testing.assert_close(by_ids, by_embeddings, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(by_ids[1, -1], by_ids[2, -1], atol=1e-3)  # users differ at the last position


@pytest.mark.parametrize(
    ("architecture", "side"), [*((kind, "left") for kind in TYPES), *((kind, "right") for kind in FIRST)]
)
def test_padding_changes_nothing(base_folder, architecture, side):
    lm = personalised(base_folder(architecture))
    short, long = lm.encode_prompt("hi", 1), lm.encode_prompt("a longer question", 2)
    pad = [lm.pad_id] * (len(long) - len(short))
    zeros = [0] * len(pad)
    row = pad + short if side == "left" else short + pad
    mask = zeros + [1] * len(short) if side == "left" else [1] * len(short) + zeros
    ids, masks = torch.tensor([row, long]), torch.tensor([mask, [1] * len(long)])
    positions = (masks.cumsum(1) - 1).clamp(min=0)
    padded = lm(ids, attention_mask=masks, position_ids=positions).logits[0]
    alone = lm(torch.tensor([short])).logits[0]
    own = padded[len(pad) :] if side == "left" else padded[: len(short)]
    torch.testing.assert_close(own, alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("architecture", TYPES)
def test_tied_weights_stay_tied(tmp_path, architecture):
    make_model(architecture, tie_word_embeddings=True).save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    lm = personalised(str(tmp_path))
    assert lm.causal_lm.get_output_embeddings().weight is lm.embedding.weight
    assert lm.vocab_rows == lm.embedding.weight.shape[0] == 272
    by_ids, by_embeddings = both_ways(lm, torch.tensor([lm.encode_prompt("a question", row) for row in (0, 1, 2)]))
    torch.testing.assert_close(by_ids, by_embeddings, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("architecture", TYPES)
def test_gradients_equal_with_and_without_checkpointing(base_folder, architecture):
    lm = personalised(base_folder(architecture)).train()
    ids = torch.tensor([lm.encode_prompt("a question", 1)])

    def gradient(explicit: bool = False) -> list[torch.Tensor]:
        lm.zero_grad()
        inputs = {"inputs_embeds": with_gradient(lm, ids)} if explicit else {"input_ids": ids}
        lm.model(**inputs).logits.square().mean().backward()
        dense = [p.grad.clone() for n, p in lm.named_parameters() if "lora" in n or "common" in n]
        return [*dense, lm.user_model.table.weight.grad.coalesce().to_dense()]

    plain, concatenated = gradient(), gradient(explicit=True)
    lm.causal_lm.activation_checkpointing_enable({"use_reentrant": False})
    lm.causal_lm.enable_input_require_grads()
    for a, b, c in zip(plain, gradient(), concatenated, strict=True):
        torch.testing.assert_close(a, b)
        torch.testing.assert_close(a, c)
    assert all(g.abs().sum() > 0 for g in plain)


def with_gradient(lm: PersonalizedLM, ids: torch.Tensor) -> torch.Tensor:
    """`inputs_embeds` of a prompt of row 1 with its user tokens at the start, by concatenation."""
    t, user = lm.user_model.tokens, lm.user_token_ids(1)
    at = ids[0].tolist().index(user[0])
    before, after = lm.embedding(ids[:, :at]), lm.embedding(ids[:, at + t :])
    return torch.cat([before, lm.user_model(torch.tensor([1])), after], dim=1)


@pytest.mark.parametrize("architecture", FIRST)
def test_bfloat16(base_folder, architecture):
    lm = personalised(base_folder(architecture), dtype="bfloat16")
    ids = torch.tensor([lm.encode_prompt("hi", row) for row in (1, 2)])
    by_ids, by_embeddings = both_ways(lm, ids)
    assert by_ids.dtype == torch.bfloat16
    torch.testing.assert_close(by_ids, by_embeddings, rtol=0.02, atol=0.02)


def test_every_user_starts_as_the_generic_one(base_folder):
    lm = PersonalizedLM.create(ModelConfig(base=base_folder()), Individual(tokens=3), ["ann", "bob"])
    logits = lm(torch.tensor([lm.encode_prompt("a question", row) for row in (0, 1, 2)])).logits
    assert torch.equal(logits[0], logits[1])
    assert torch.equal(logits[0], logits[2])


def test_unknown_users_are_generic_and_visible(base_folder, caplog):
    lm = personalised(base_folder())
    with caplog.at_level("WARNING"):
        assert lm.lookup(["ann", "zoe", None, "bob"]) == [1, 0, 0, 2]
    assert "'zoe'" in caplog.text
    with pytest.raises(UnknownUserError, match="'zoe'"):
        lm.lookup(["ann", "zoe"], unknown="error")


def test_adding_users_keeps_all_others(base_folder):
    lm = personalised(base_folder())
    before = lm(torch.tensor([lm.encode_prompt("q", row) for row in (0, 1, 2)])).logits
    lm.add_users(["cem"])
    after = lm(torch.tensor([lm.encode_prompt("q", row) for row in (0, 1, 2, 3)])).logits
    assert torch.equal(before, after[:3])
    assert torch.equal(after[0], after[3])
    assert lm.lookup(["cem"]) == [3]


@pytest.mark.parametrize("architecture", FIRST)
def test_only_response_positions_are_projected(base_folder, architecture):
    assert personalised(base_folder(architecture)).splits_head


def with_more_tokens(folder, tmp_path, **special):
    """The base with 20 more tokens, the last 8 of which its embeddings have no rows for."""
    shutil.copytree(folder, tmp_path / "more")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([f"<extra{i}>" for i in range(20)])
    tokenizer.add_special_tokens(special) if special else None
    tokenizer.save_pretrained(tmp_path / "more")
    assert len(tokenizer) == 280
    return PersonalizedLM.create(ModelConfig(base=str(tmp_path / "more")), Individual(tokens=3), ["ann"])


def test_no_text_can_name_a_user_token(base_folder, tmp_path):
    lm = with_more_tokens(base_folder(), tmp_path)
    assert lm.tokenizer.convert_tokens_to_ids("<extra15>") == lm.user_token_ids(1)[0] == 275
    told = "a text has a token that is '<extra15>' with the id 275, and the model has embeddings for 272 tokens only"
    with pytest.raises(DataError, match=told):
        lm.encode_prompt("hi <extra15>", 0)
    for c in (Comparison("hi", "<extra15>", "no"), Comparison("hi", "yes", "no", user_text="<extra15>")):
        with pytest.raises(DataError, match="resize the embeddings of the base"):
            lm.template.comparison(c)
    assert max(lm.encode_prompt("hi <extra11>", -1)) == 271  # the last that has a row
    assert lm.generate(["hi"], "ann", max_new_tokens=2)


def test_the_tokens_that_every_text_needs_have_embeddings(base_folder, tmp_path):
    with pytest.raises(UnsupportedModelError, match="the tokenizer's pad_token is '<extra19>' with the id 279"):
        with_more_tokens(base_folder(), tmp_path, pad_token="<extra19>")
