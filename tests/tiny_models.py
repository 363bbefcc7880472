"""Tiny models and tokenizers made from configs: no test needs a download."""

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SMALL = {
    "llama": {"num_key_value_heads": 2, "tie_word_embeddings": True},
    "qwen3": {"num_key_value_heads": 2, "head_dim": 8},
    "gemma3_text": {"num_key_value_heads": 1, "head_dim": 8, "sliding_window": 512},
    "mistral": {"num_key_value_heads": 2, "sliding_window": 16},  # shorter than the tests' texts
    "mixtral": {"num_key_value_heads": 2, "num_local_experts": 4},
    "gptj": {"rotary_dim": 4},
    "phi3": {"num_key_value_heads": 2},
    "olmo2": {"num_key_value_heads": 2},
}


def make_tokenizer(*, bos: bool = True, chat: bool = False) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer without merges: every text round-trips, every byte is a token."""
    vocab = {"<pad>": 0, "<s>": 1, "</s>": 2, "<|im_start|>": 3}
    vocab |= {c: i + 4 for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tok = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tok.decoder = decoders.ByteLevel()
    if bos:
        tok.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tok,
        bos_token="<s>" if bos else None,
        eos_token="</s>",
        pad_token="<pad>",
        additional_special_tokens=["<|im_start|>"],
    )
    if chat:
        fast.chat_template = CHATML
    return fast


def make_model(architecture: str = "llama", dtype: torch.dtype = torch.float32, **options: object) -> torch.nn.Module:
    """A random model with two layers of width 32 over the vocabulary of `make_tokenizer`."""
    common = {"vocab_size": 272, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    sizes = {
        "intermediate_size": 64,
        "max_position_embeddings": 512,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }
    if architecture in ("gpt2", "bloom"):
        common = {"vocab_size": 272, "n_layer": 2, "n_head": 4}
        common["n_embd" if architecture == "gpt2" else "hidden_size"] = 32
        sizes = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
        sizes |= {"n_positions": 512} if architecture == "gpt2" else {}  # BLOOM has no last position
    torch.manual_seed(0)
    config = AutoConfig.for_model(architecture, **{**common, **sizes, **SMALL.get(architecture, {}), **options})
    return AutoModelForCausalLM.from_config(config, dtype=dtype).eval()
