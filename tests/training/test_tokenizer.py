import pytest

from prlhf.data.planted import sft_rows
from prlhf.training.tokenizer import train_tokenizer

TEXTS = [f"{r['prompt']}\n\n{r['completion']}" for r in sft_rows(2000)]


@pytest.fixture(scope="module", params=["bpe", "word"])
def tokenizer(request):
    return train_tokenizer(TEXTS, 1280, request.param)


def test_texts_come_back(tokenizer):
    for text in TEXTS[:200]:
        assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_bytes_write_any_text():
    tokenizer = train_tokenizer(TEXTS[:50], 300, "bpe")
    for text in ("naïve  Ünïcode 🙂\n\n\ttabs ", "日本語", " leading", "a\r\nb"):
        assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_special_tokens(tokenizer):
    ids = tokenizer("Have fun!")["input_ids"]
    assert ids[0] == tokenizer.bos_token_id == 1
    assert tokenizer.eos_token_id not in ids
    assert len({tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id}) == 4
    assert len(tokenizer) <= 1280


def test_survives_the_disk(tokenizer, tmp_path):
    from transformers import AutoTokenizer

    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again(TEXTS[0])["input_ids"] == tokenizer(TEXTS[0])["input_ids"]
    assert again.decode(again(TEXTS[0], add_special_tokens=False)["input_ids"]) == TEXTS[0]


def test_unknown_words_of_a_word_tokenizer_are_marked():
    tokenizer = train_tokenizer(TEXTS, 1280, "word")
    assert tokenizer.unk_token_id in tokenizer("xylophone")["input_ids"]


def test_a_small_vocabulary_is_respected():
    assert len(train_tokenizer(TEXTS, 300, "bpe")) == 300
