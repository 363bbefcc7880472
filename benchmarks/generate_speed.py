"""Generation: mixed users in a batch against plain `generate` of the base model, ragged lengths, shared prompts.

    python benchmarks/generate_speed.py [--models planted,small] [--parts batches,ragged,prefix] [--json FILE]
    python benchmarks/generate_speed.py --quick

Greedy, 32-bit weights, random user tokens, a LoRA r=8 on every linear layer; a hook on the output layer of both models
keeps them from ending, so that all ways write the same number of tokens. The ways take turns, another one first in each
round; a ratio is the median of the rounds' ratios, with a 95 % interval (bootstrap of the rounds). From texts to texts:
writing the prompts as tokens and the answers as texts counts.

batches: 1, 8 and 32 prompts, each of another user, against transformers' `generate` of the base model alone with left
padding; "as long" gives it as many ordinary tokens more as a user has. ragged: 32 users want 8 to 256 tokens; static
batches go on until the longest is done, in continuous batching (transformers' own, paged attention) others take the
place of those that are done, ours lets them leave. prefix: one prompt of 300 tokens asked by 32 users, by the place of
their tokens; and a shared beginning of several lengths.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from figures import add_options, machine, write
from speed_models import SPECIAL, make_model
from transformers import AutoModelForCausalLM, GenerationConfig
from transformers.generation.configuration_utils import ContinuousBatchingConfig

from prlhf import PersonalizedLM
from prlhf.config import Individual, ModelConfig
from prlhf.data.planted import World
from prlhf.lm.decoder import shares_beginnings
from prlhf.lm.merging import folded

Way = Callable[[], list[tuple[int, ...]]]
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
TOKENS = 4
USERS = [f"user-{i:02d}" for i in range(32)]


class Subject:
    """A base model, the same with a LoRA and users, and prompts for it."""

    def __init__(self, name: str, scratch: Path, place: str = "start"):
        self.name = name
        base = "planted" if name == "planted" else str(make_model(scratch / name, name))
        config = ModelConfig(base=base, user_tokens_at=place, chat_template="never", max_prompt_tokens=4096)
        self.lm = PersonalizedLM.create(config, Individual(tokens=TOKENS), USERS).eval()
        torch.manual_seed(1)
        with torch.no_grad():
            table = self.lm.user_model.table.weight
            table.copy_(torch.randn_like(table) * self.lm.embedding_scale)
        self.tokenizer = self.lm.tokenizer
        self.ends = sorted({self.tokenizer.eos_token_id, self.lm.pad_id})
        folder = self.lm.causal_lm.config.name_or_path
        self.plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        for model in (self.lm.causal_lm, self.plain):
            model.get_output_embeddings().register_forward_hook(self._no_end)

    def _no_end(self, module: Any, args: Any, output: torch.Tensor) -> None:
        output[..., self.ends] = -torch.inf

    def words(self, count: int, seed: str) -> str:
        """A text of `count` tokens, more or less."""
        draw = random.Random(f"{self.name} {seed}")
        if self.name != "planted":
            return " ".join(f"w{draw.randrange(len(SPECIAL), 512)}" for _ in range(count))
        prompts = World().test_prompts
        text = ""
        while len(self.tokenizer(text)["input_ids"]) < count:
            text += draw.choice(prompts) + " "
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"][:count]
        return self.tokenizer.decode(ids)

    def prompts(self, count: int) -> list[str]:
        """Texts of 30 to 60 tokens."""
        return [self.words(random.Random(i).randint(30, 60), str(i)) for i in range(count)]

    def ours(self, prompts: Sequence[str], new: Sequence[int] | int, **options: Any) -> list[tuple[int, ...]]:
        """Answers of one user each."""
        options = {"users": USERS[: len(prompts)], **options}
        return [g.tokens for g in self.lm.generate(prompts, max_new_tokens=new, details=True, **options)]

    @torch.no_grad()
    def theirs(self, prompts: Sequence[str], new: int) -> list[tuple[int, ...]]:
        """What one writes with transformers alone."""
        given = self.tokenizer(list(prompts), return_tensors="pt", padding=True, padding_side="left")
        config = GenerationConfig(max_new_tokens=new, do_sample=False, pad_token_id=self.lm.pad_id)
        found = self.plain.generate(
            input_ids=given["input_ids"], attention_mask=given["attention_mask"], generation_config=config
        )
        answers = found[:, given["input_ids"].shape[1] :]
        self.tokenizer.batch_decode(answers, skip_special_tokens=True)
        return [tuple(row) for row in answers.tolist()]

    @torch.no_grad()
    def continuous(self, prompts: Sequence[str], new: Sequence[int]) -> list[tuple[int, ...]]:
        """transformers' continuous batching of our model, its LoRA folded in as in ours."""
        config = GenerationConfig(
            max_new_tokens=max(new), do_sample=False, eos_token_id=-1, pad_token_id=self.lm.pad_id
        )
        pages = ContinuousBatchingConfig(
            page_size=32, num_blocks=len(prompts) * 12, max_batch_tokens=256, auto_switch_to_flash=False,
            allow_block_sharing=False,
        )  # fmt: skip
        out: dict[int, tuple[int, ...]] = {}
        model = self.lm.causal_lm
        with (
            folded(self.lm, "auto", sum(new)),
            model.continuous_batching_context_manager(
                config, continuous_batching_config=pages, warmup=False
            ) as manager,
        ):
            for i, (prompt, n) in enumerate(zip(prompts, new, strict=True)):
                manager.add_request(self.lm.encode_prompt(prompt, i + 1), request_id=str(i), max_new_tokens=n)
            while len(out) < len(prompts):
                found = manager.get_result(timeout=1)
                if found is not None and found.is_finished():
                    out[int(found.request_id)] = tuple(found.generated_tokens)
                elif found is None and not manager.is_running():
                    raise SystemExit("continuous batching stopped before its end")
        answers = [out[i] for i in range(len(prompts))]
        self.tokenizer.batch_decode([list(a) for a in answers])
        return answers


def turns(
    ways: dict[str, Way], rounds: int, clock: Callable[[], float]
) -> tuple[dict[str, list[float]], dict[str, list[tuple[int, ...]]]]:
    """Tokens per second of each way in each round, and what it answered; before that each has run once."""
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    answers = {name: way() for name, way in ways.items()}
    names = list(ways)
    for turn in range(rounds):
        for k in range(len(names)):
            name = names[(turn + k) % len(names)]
            start = clock()
            found = ways[name]()
            speeds[name].append(sum(map(len, found)) / (clock() - start))
            if found != answers[name]:
                raise SystemExit(f"{name}: other answers in round {turn + 1}")
    return speeds, answers


def interval(ratios: Sequence[float]) -> list[float]:
    """Median of the ratios of rounds, and where 95 of 100 resamples of the rounds put it."""
    draw = random.Random(0)
    medians = sorted(statistics.median(draw.choices(ratios, k=len(ratios))) for _ in range(4000))
    return [statistics.median(ratios), medians[100], medians[-101]]


def lines(title: str, speeds: dict[str, list[float]], against: Sequence[str]) -> list[dict[str, Any]]:
    """A table of the ways, with the ratios to some of them; printed too."""
    print(f"\n{title}")
    rows = []
    for name, found in speeds.items():
        row: dict[str, Any] = {"table": title, "": name, "tokens/s": statistics.median(found)}
        for other in against:
            row[f"÷ {other}"] = interval([a / b for a, b in zip(found, speeds[other], strict=True)])
        rows.append(row)
        ratios = "  ".join(
            f"÷ {o} {row[f'÷ {o}'][0]:.3f} [{row[f'÷ {o}'][1]:.3f}, {row[f'÷ {o}'][2]:.3f}]" for o in against
        )
        print(f"  {name:34s} {row['tokens/s']:8.0f} tokens/s  {ratios}", flush=True)
    return rows


def batches(subject: Subject, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Mixed users against the base model alone."""
    rows = []
    more = " ".join(subject.words(60, "more").split(" ")[:TOKENS])
    for size in args.sizes:
        prompts = subject.prompts(size)
        longer = [f"{more} {p}" for p in prompts]
        ways: dict[str, Way] = {
            "plain generate": lambda p=prompts: subject.theirs(p, args.new),
            "plain, as long": lambda p=longer: subject.theirs(p, args.new),
            "mixed users": lambda p=prompts, n=size: subject.ours(p, args.new, batch_size=n),
            "mixed users, LoRA apart": lambda p=prompts, n=size: subject.ours(
                p, args.new, batch_size=n, merge_lora="off"
            ),
        }
        if size > 1:
            few = prompts[: max(size // 8, 2)]
            ways["one by one"] = lambda p=few: subject.ours(p, args.new, batch_size=1)
        more_rounds = max(32 // size // 8, 1)  # short turns are the least even
        speeds, answers = turns(ways, args.rounds * more_rounds, CLOCKS[args.clock])
        bare = subject.ours(prompts, args.new, users=None, row=-1, batch_size=size)
        if bare != answers["plain generate"]:
            raise SystemExit("without user tokens the answers are not those of plain generate")
        if size > 1 and answers["one by one"] != answers["mixed users"][: len(answers["one by one"])]:
            raise SystemExit("one by one the answers are others")
        title = f"{subject.name}, batch of {size}, {args.new} new tokens"
        rows += lines(title, speeds, ["plain generate", "plain, as long", *(["one by one"] if size > 1 else [])])
    return rows


def ragged(subject: Subject, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Answers of many lengths."""
    draw = random.Random(0)
    prompts = subject.prompts(args.requests)
    limits = [draw.randint(args.longest // 32 or 1, args.longest) for _ in prompts]
    order = sorted(range(len(prompts)), key=lambda i: limits[i])

    def static(order: Sequence[int], size: int) -> list[tuple[int, ...]]:
        out: dict[int, tuple[int, ...]] = {}
        for k in range(0, len(order), size):
            part = order[k : k + size]
            users = [USERS[i] for i in part]
            found = subject.ours([prompts[i] for i in part], max(limits[i] for i in part), users=users, batch_size=size)
            out.update({i: tokens[: limits[i]] for i, tokens in zip(part, found, strict=True)})
        return [out[i] for i in range(len(order))]

    ways: dict[str, Way] = {
        "static, as they come": lambda: static(range(len(prompts)), 16),
        "static, like lengths together": lambda: static(order, 16),
        "continuous batching": lambda: subject.continuous(prompts, limits),
        "ours, batches of 16": lambda: subject.ours(prompts, limits, batch_size=16),
        "ours, one batch of 32": lambda: subject.ours(prompts, limits, batch_size=32),
    }
    speeds, answers = turns(ways, max(args.rounds // 2, 1), CLOCKS[args.clock])
    if any(found != answers["static, as they come"] for found in answers.values()):
        raise SystemExit("ragged: the ways answer differently")
    title = f"{subject.name}, {len(prompts)} requests of {min(limits)} to {max(limits)} tokens"
    return lines(title, speeds, ["static, as they come", "continuous batching"])


def prefix(subject: Subject, args: argparse.Namespace, scratch: Path) -> list[dict[str, Any]]:
    """Shared beginnings."""
    rows = []
    shared = subject.words(args.shared, "shared")
    for place in ("start", "after_system", "before_response"):
        placed = Subject(subject.name, scratch, place)
        # without a chat template the text about the user is the system part
        asked: dict[str, Any] = {"user_texts": shared} if place == "after_system" else {}
        prompts = ["Why?" if asked else shared] * len(USERS)
        title = f"{subject.name}, {args.shared} tokens shared by {len(USERS)} users, {args.new} new: {place}"
        rows += _with_and_without(placed, prompts, title, args, **asked)
    for length in args.lengths:
        start = subject.words(length, "start")
        prompts = [f"{start} {subject.words(8, str(i))}" for i in range(16)]
        title = f"{subject.name}, {length} tokens shared by 16 questions of one user, {args.new} new"
        rows += _with_and_without(subject, prompts, title, args, users=USERS[0])
    return rows


def _with_and_without(
    subject: Subject, prompts: list[str], title: str, args: argparse.Namespace, **asked: Any
) -> list[dict[str, Any]]:
    ways: dict[str, Way] = {
        name: lambda how=how: subject.ours(prompts, args.new, batch_size=32, share_prefix=how, **asked)
        for name, how in (("each row whole", "off"), ("shared", "auto"))
    }
    speeds, answers = turns(ways, max(args.rounds // 2, 1), CLOCKS[args.clock])
    if answers["shared"] != answers["each row whole"]:
        raise SystemExit("shared beginnings change the answers")
    if not shares_beginnings(subject.lm):
        raise SystemExit("nothing was shared")
    return lines(title, speeds, ["each row whole"])


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="planted,small", help="planted, or of speed_models.py, with commas between")
    parser.add_argument("--parts", default="batches,ragged,prefix")
    parser.add_argument(
        "--rounds", type=int, default=10, help="half as many of ragged and prefix, four times of batches of 1"
    )
    parser.add_argument("--new", type=int, default=64, help="tokens of an answer")
    parser.add_argument("--sizes", default="1,8,32", help="of batches")
    parser.add_argument("--lengths", default="4,8,16,64", help="of shared beginnings, beside the long one")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    clock = "cpu: seconds that the CPU worked, for a machine with other work"
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall", help=clock)
    add_options(parser)
    args = parser.parse_args(given)
    options = dict(vars(args))
    args.longest, args.requests, args.shared = 256, 32, 300
    if args.quick:
        args.models, args.rounds, args.new, args.sizes, args.lengths = "tiny", 1, 4, "1,4", "8"
        args.longest, args.requests, args.shared = 8, 6, 30
    args.sizes, args.lengths = ([int(n) for n in text.split(",")] for text in (args.sizes, args.lengths))
    torch.set_num_threads(args.threads)
    about = machine(args.threads, "fp32", f"{args.clock} clock")
    print(about, flush=True)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in args.models.split(","):
            subject = Subject(name, Path(folder))
            for part in args.parts.split(","):
                more = (Path(folder),) if part == "prefix" else ()
                rows += {"batches": batches, "ragged": ragged, "prefix": prefix}[part](subject, args, *more)
                write(args.json, "generate_speed", about, options, rows)


if __name__ == "__main__":
    main()
