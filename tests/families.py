"""The families of models that the tests run as tiny models, and what is so about each: the table of docs/models.md.

`python tests/families.py` writes the table anew; `--check` says whether it is stale. Every cell is asserted of a tiny
model of the family somewhere in tests/lm, most in test_families.py.
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "models.md"
ALL = "every linear layer"


@dataclass(frozen=True)
class Family:
    """One `model_type` of transformers that is taken."""

    type: str
    name: str
    layout: str
    """What `choose_layout` takes for texts as in the tests."""
    lora: str = ALL
    """Where `all-linear` puts LoRA adapters."""
    note: str = ""


@dataclass(frozen=True)
class Refused:
    """One that is not taken, and the reason that the user is told."""

    type: str
    name: str
    reason: str


MIXTURE = "attention, router, experts"
ROUTED = (
    "No token is dropped for want of room, and the balancing loss of the experts (`output_router_logits`) is no part "
    "of ours: what a row gets does not depend on its batch. The LoRA takes no dropout."
)
FAMILIES = (
    Family("llama", "Llama", "packed"),
    Family("qwen3", "Qwen3", "packed"),
    Family("gpt2", "GPT-2", "packed"),
    Family("gemma3_text", "Gemma 3 (text)", "packed", note="`plain` once a text is longer than its sliding window."),
    Family("mistral", "Mistral", "plain", note="`packed` while every text is shorter than its sliding window."),
    Family("phi3", "Phi-3", "packed"),
    Family("olmo2", "OLMo 2", "packed"),
    Family("gpt_neox", "GPT-NeoX, Pythia", "packed"),
    Family(
        "gptj", "GPT-J", "plain", note="Its attention adds the mask to its scores; that of `packed` is true or false."
    ),
    Family("bloom", "BLOOM", "plain", note="Its positions (ALiBi) are counted from an ordinary padding mask."),
    Family("mixtral", "Mixtral", "packed", MIXTURE, ROUTED),
)
TYPES = [family.type for family in FAMILIES]
FIRST = TYPES[:4]
"""Those that every variation of a test runs; the others run one of each."""

REFUSED = (
    Refused("t5", "T5", "t5 is an encoder-decoder model"),
    Refused("bart", "BART", "bart is an encoder-decoder model"),
    Refused("llava", "LLaVA", "llava is a multimodal model"),
    Refused("qwen2_vl", "Qwen2-VL", "qwen2_vl is a multimodal model"),
    Refused("gemma3", "Gemma 3 with images", "gemma3 is a multimodal model"),
    Refused("fuyu", "Fuyu", "fuyu is a multimodal model"),
    Refused("gemma3n_text", "Gemma 3n", "gemma3n_text looks every token up again in each layer (per-layer embeddings)"),
    Refused("bert", "BERT", "bert is not causal: later tokens change its predictions of earlier ones"),
    Refused("rwkv", "RWKV-4", "rwkv does not heed the attention mask: padding at the left changes its predictions"),
)


def table() -> str:
    """Both tables, as Markdown."""
    lines = ["| family | `model_type` | layout | LoRA (`all-linear`) on | |", "|---|---|---|---|---|"]
    lines += [f"| {f.name} | `{f.type}` | {f.layout} | {f.lora} | {f.note} |" for f in FAMILIES]
    lines += ["", "Refused, with what is said:", "", "| family | `model_type` | reason |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {r.name} | `{r.type}` | {r.reason} |" for r in REFUSED)])


def page(text: str) -> str:
    """`text` with the tables between its marks made anew."""
    marks = re.compile(r"(<!-- families -->\n).*?(<!-- end -->)", re.DOTALL)
    return marks.sub(lambda match: f"{match[1]}{table()}\n{match[2]}", text)


def main(arguments: list[str]) -> int:
    """Write the page, or with `--check` return 1 where it is stale."""
    held = PAGE.read_text(encoding="utf8")
    if "--check" in arguments:
        if page(held) != held:
            print("docs/models.md is stale; run: python tests/families.py", file=sys.stderr)
        return int(page(held) != held)
    PAGE.write_text(page(held), encoding="utf8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
