"""Different users in one batch against one prompt at a time, and against the plain base model: tokens per second.

    python benchmarks/generation_speed.py [--model RUN] [--prompts 32] [--tokens 48]

Greedy, the bundled model with a fresh table of one user a prompt unless a run is given. Alternates the ways, three
rounds, and prints medians and ratios; says whether the answers are the same token for token.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable

import torch

from prlhf import PersonalizedLM
from prlhf.config import Individual, ModelConfig
from prlhf.data.planted import World


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a run folder; by default the bundled model, untrained")
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=48)
    args = parser.parse_args()
    ids = [f"user-{i:02d}" for i in range(1, args.prompts + 1)]
    lm = (
        PersonalizedLM.from_pretrained(args.model)
        if args.model
        else PersonalizedLM.create(ModelConfig(base="planted"), Individual(tokens=4), ids).eval()
    )
    prompts = list(World().test_prompts[: args.prompts])
    options = {"max_new_tokens": args.tokens, "details": True}
    ways: dict[str, Callable[[], list]] = {
        "one by one": lambda: lm.generate(prompts, users=ids, batch_size=1, **options),
        "16 users a batch": lambda: lm.generate(prompts, users=ids, batch_size=16, **options),
        "16 a batch, no user tokens": lambda: lm.generate(prompts, row=-1, batch_size=16, **options),
    }
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    texts: dict[str, list[str]] = {}
    for _ in range(3):
        for name, way in ways.items():
            start = time.perf_counter()
            answers = way()
            speeds[name].append(sum(len(a.tokens) for a in answers) / (time.perf_counter() - start))
            texts[name] = [a.text for a in answers]
    print(f"machine: {platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    base = statistics.median(speeds["one by one"])
    for name, found in speeds.items():
        middle = statistics.median(found)
        print(f"{name:28s} {middle:7.0f} tokens/s   {middle / base:5.2f}x   ({min(found):.0f} to {max(found):.0f})")
    print("same answers, one by one and in batches:", texts["one by one"] == texts["16 users a batch"])


if __name__ == "__main__":
    main()
