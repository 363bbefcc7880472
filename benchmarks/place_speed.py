"""Training speed by the place of the user tokens, from short prompts to long ones: comparisons per second.

    python benchmarks/place_speed.py [--prompts 16,64,256,1024] [--response 64] [--rounds 5]

One training step (forward and backward of both branches, packed) of a small Llama made on the spot, over prompts of
random tokens whose first three quarters are the system message. Alternates the places and prints medians, and ratios
to `start`; "without packing" is `start` with one row for each branch and response, as most scripts do it.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import tempfile
import time
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from prlhf import PersonalizedLM
from prlhf.config import Individual, ModelConfig
from prlhf.lm import pair_logprobs
from prlhf.lm.template import Encoded

VOCABULARY = 2048


def small_llama(folder: Path, context: int) -> PersonalizedLM:
    """Six million random weights and a tokenizer that is never asked, with a LoRA and eight users."""
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=256, intermediate_size=688, num_hidden_layers=6, num_attention_heads=4,
        num_key_value_heads=4, max_position_embeddings=context, tie_word_embeddings=True, pad_token_id=0,
        bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(VOCABULARY)}, unk_token="w3"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokens = {"pad_token": "w0", "bos_token": "w1", "eos_token": "w2", "unk_token": "w3"}
    PreTrainedTokenizerFast(tokenizer_object=words, **tokens).save_pretrained(folder)
    users = [f"user-{i}" for i in range(1, 9)]
    return PersonalizedLM.create(ModelConfig(base=str(folder)), Individual(tokens=4), users)


def comparisons(count: int, prompt: int, response: int, cut: int) -> list[Encoded]:
    """Random tokens: `cut` of the prompt's before the user tokens."""
    draw = torch.Generator().manual_seed(prompt)
    made = []
    for _ in range(count):
        p, a, b = (
            tuple(torch.randint(4, VOCABULARY, (n,), generator=draw).tolist()) for n in (prompt, response, response)
        )
        made.append(Encoded(prompt=p, cut=cut, chosen=a, rejected=b, reference_prompt=p))
    return made


def step(lm: PersonalizedLM, batch: list[Encoded], layout: str) -> float:
    """Seconds of one forward and backward over the user's and the generic branch."""
    branches = [[1 + i % 8, 0] for i in range(len(batch))]
    start = time.perf_counter()
    logps = pair_logprobs(lm, batch, branches, layout)
    (logps.chosen - logps.rejected).mean().backward()
    seconds = time.perf_counter() - start
    lm.zero_grad()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", default="16,64,256,1024", help="tokens of the prompts")
    parser.add_argument("--response", type=int, default=64, help="tokens of each response")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    lengths = [int(n) for n in args.prompts.split(",")]
    print(f"machine: {platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        lm = small_llama(Path(folder), max(lengths) + args.response + 16).train()
        for n in lengths:
            ways = {
                "start": (1, "packed"),
                "after_system": (3 * n // 4, "packed"),
                "before_response": (n, "packed"),
                "start, without packing": (1, "plain"),
            }
            times: dict[str, list[float]] = {name: [] for name in ways}
            for turn in range(args.rounds + 1):
                for name, (cut, layout) in ways.items():
                    seconds = step(lm, comparisons(args.batch, n, args.response, cut), layout)
                    if turn:  # the first warms up
                        times[name].append(seconds)
            base = statistics.median(times["start"])
            for name, found in times.items():
                middle = statistics.median(found)
                print(
                    f"prompt {n:5d} response {args.response:4d}  {name:24s} {args.batch / middle:7.2f}/s  "
                    f"{base / middle:5.2f}x  ({min(found):.3f} to {max(found):.3f} s)",
                    flush=True,
                )


if __name__ == "__main__":
    main()
