"""Models with random weights, and texts of known lengths, for the benchmarks of speed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from prlhf.types import Comparison, Message

SIZES = {  # layers, width, width of the feed-forward part, heads, vocabulary
    "tiny": (2, 64, 172, 2, 512),
    "small": (6, 256, 688, 4, 8192),
    "large": (11, 640, 1728, 10, 8192),
    "gpu": (28, 2048, 6144, 16, 65536),
    "gpu_toy": (2, 64, 172, 4, 512),
}
SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>", "<system>", "<user>", "<assistant>")
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{{ '<' + m['role'] + '>' + m['content'] }}"
    "{% if m['role'] == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}"
)


@dataclass(frozen=True)
class Workload:
    """Mean lengths in tokens; those of a comparison are drawn between half and one and a half of them."""

    prompt: int
    response: int


WORKLOADS = {
    "tiny": Workload(12, 6),
    "short": Workload(60, 35),
    "summarisation": Workload(400, 50),
    "chat": Workload(300, 200),
    "long": Workload(1000, 250),
}


def make_model(folder: Path, size: str, dtype: torch.dtype = torch.float32) -> Path:
    """A Llama (for a GPU a Qwen3) with random weights and a tokenizer of one token a word; kept once made."""
    if (folder / "config.json").is_file():
        return folder
    layers, width, inner, heads, vocabulary = SIZES[size]
    shape = {
        "vocab_size": vocabulary, "hidden_size": width, "intermediate_size": inner, "num_hidden_layers": layers,
        "num_attention_heads": heads, "num_key_value_heads": heads, "max_position_embeddings": 4096,
        "tie_word_embeddings": True, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    }  # fmt: skip
    torch.manual_seed(0)
    qwen = size.startswith("gpu")
    with torch.device("cuda" if qwen and torch.cuda.is_available() else "cpu"):
        if qwen:
            shape |= {"num_key_value_heads": heads // 2, "head_dim": width // heads}
            model = Qwen3ForCausalLM(Qwen3Config(**shape))
        else:
            model = LlamaForCausalLM(LlamaConfig(**shape))
    model.to(dtype).save_pretrained(folder)
    words = [*SPECIAL, *(f"w{i}" for i in range(len(SPECIAL), vocabulary))]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\s+"), "removed")
    names = dict(zip(("pad_token", "bos_token", "eos_token", "unk_token"), SPECIAL, strict=False))
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, additional_special_tokens=list(SPECIAL[4:]), model_max_length=4096, **names
    )
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    return folder


def comparisons(count: int, workload: Workload, size: str, seed: int = 0, users: int = 8) -> list[Comparison]:
    """Random words: a system message of a third of the prompt, a question, two responses."""
    draw = random.Random(f"{seed} {workload}")
    vocabulary = SIZES[size][-1]

    def text(mean: float) -> str:
        length = max(round(mean * draw.uniform(0.5, 1.5)), 1)
        return " ".join(f"w{draw.randrange(len(SPECIAL), vocabulary)}" for _ in range(length))

    made = []
    for i in range(count):
        system, question = text(workload.prompt / 3), text(workload.prompt * 2 / 3 - 4)  # 4: the template's own tokens
        prompt = (Message("system", system), Message("user", question))
        answers = text(workload.response - 1), text(workload.response - 1)  # 1: the end of the sequence
        made.append(Comparison(prompt, *answers, user=f"user-{i % users}", id=f"row-{i}"))
    return made
