"""The small model inside the package does what the planted world needs of it."""

import statistics
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from prlhf.config import SftConfig, load_config
from prlhf.data.planted import PlantedUser, World, is_answer, questions, read_levels, sft_rows, utility
from prlhf.lm.loading import BUNDLED

FOLDER = BUNDLED["planted"]
RECIPE = Path(__file__).parents[2] / "recipes" / "planted_sft.toml"


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(FOLDER)


@pytest.fixture(scope="module")
def sample(tokenizer):
    model = AutoModelForCausalLM.from_pretrained(FOLDER).eval()

    def draw(prompts):
        torch.manual_seed(0)
        batch = tokenizer(prompts, return_tensors="pt", padding=True)
        ids, mask = batch["input_ids"], batch["attention_mask"]
        options = {"do_sample": True, "top_k": 0, "max_new_tokens": 60, "pad_token_id": tokenizer.pad_token_id}
        with torch.no_grad():
            out = model.generate(input_ids=ids, attention_mask=mask, **options)
        return tokenizer.batch_decode(out[:, ids.shape[1] :], skip_special_tokens=True)

    return draw


@pytest.fixture(scope="module")
def plain(sample):
    return sample(list(World().test_prompts[:120]))


def test_the_recipe_is_the_one_it_was_made_with():
    made_with = SftConfig.model_validate_json((FOLDER / "sft_config.json").read_text())
    assert load_config(SftConfig, RECIPE) == made_with


def test_every_word_of_the_world_is_one_token(tokenizer):
    for row in sft_rows(300):
        words = len(row["completion"].split())
        marks = sum(row["completion"].count(mark) for mark in ",.!")
        assert len(tokenizer(row["completion"], add_special_tokens=False)["input_ids"]) == words + marks
    longest = max(len(tokenizer(q.text)["input_ids"]) for q in questions())
    assert longest <= 16


def test_prompt_and_response_tokenise_alike_together_and_apart(tokenizer):
    def ids(text):
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    for row in sft_rows(100):
        assert ids(row["prompt"] + row["completion"]) == ids(row["prompt"]) + ids(row["completion"])


def test_samples_are_answers_about_the_thing(plain):
    prompts = World().test_prompts[:120]
    assert sum(map(is_answer, plain)) >= 115
    things = [prompt.rstrip("?").split()[-1] for prompt in prompts]
    assert sum(thing in text for thing, text in zip(things, plain, strict=True)) >= 110


def test_plain_samples_vary_on_every_axis(plain):
    for axis in range(3):
        levels = [read_levels(text)[axis] for text in plain]
        assert statistics.mean(levels) == pytest.approx(2, abs=0.4)
        assert statistics.pstdev(levels) == pytest.approx(2**0.5, abs=0.25)


def test_it_follows_a_profile_in_words(sample, plain):
    user = PlantedUser("u", (40, -30, -30))
    told = sample([f"{user.text}\n\n{prompt}" for prompt in World().test_prompts[:60]])
    gains = [utility(user, a) - utility(user, b) for a, b in zip(told, plain[:60], strict=True)]
    assert sum(0.5 + 0.5 * np.sign(g) for g in gains) / 60 > 0.85
