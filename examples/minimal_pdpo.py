"""P-DPO in one flat file: what prlhf does, without its layers. Runs offline in a few minutes on a laptop CPU.

Every user has a few vectors (user tokens) that stand between prompt and answer. Training raises the margin of the
chosen answer over the rejected one, relative to a frozen reference, once with the voter's vectors and once with the
generic user's: loss = alpha * dpo(user) + (1 - alpha) * dpo(generic).   Paper: arXiv 2402.05133, equation of P-DPO.

    python examples/minimal_pdpo.py --steps 150
"""

import argparse
import random

import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from prlhf.data.planted import World
from prlhf.lm.loading import BUNDLED, quiet_peft

ALPHA, BETA, TOKENS, BATCH = 0.5, 0.1, 4, 16


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=150)
    steps = parser.parse_args().steps
    torch.manual_seed(0)
    random.seed(0)
    print(f"P-DPO on the planted world: {steps} steps of {BATCH} votes; held-out accuracy every 50 steps", flush=True)

    # 1. Votes with a name on each: (prompt, chosen, rejected, user), and a small language model.
    log = World().log()
    train = [log.comparisons[i] for i in log.fixed_split.train]
    test = [log.comparisons[i] for i in log.fixed_split.test]
    row_of = {user: i + 1 for i, user in enumerate(sorted({c.user for c in train}))}  # row 0 is the generic user
    tokenizer = AutoTokenizer.from_pretrained(BUNDLED["planted"])
    lm = AutoModelForCausalLM.from_pretrained(BUNDLED["planted"])
    with quiet_peft():
        lm = get_peft_model(lm, LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"))
    embed = lm.get_input_embeddings()

    # 2. The user model: a common part and an offset for each user, zero at the start, so all start as the generic user.
    width = embed.weight.shape[1]
    common = torch.nn.Parameter(embed.weight[torch.randperm(len(tokenizer))[:TOKENS]].detach().clone())
    offsets = torch.nn.Parameter(torch.zeros(len(row_of) + 1, TOKENS, width))

    def user_vectors(rows: torch.Tensor) -> torch.Tensor:
        """[b] -> [b, t, d]; the generic user is the common part alone."""
        return common + offsets[rows] * (rows > 0).float()[:, None, None]

    # 3. Log-probability of each answer, with user vectors between prompt and answer (rows=None: the reference).
    def ids(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    def logps(prompts: list[str], answers: list[str], rows: torch.Tensor | None) -> torch.Tensor:
        heads = [[tokenizer.bos_token_id, *ids(p)] for p in prompts]
        tails = [[*ids(a), tokenizer.eos_token_id] for a in answers]
        t = 0 if rows is None else TOKENS
        size = max(len(h) + t + len(a) for h, a in zip(heads, tails, strict=True))
        tokens = torch.zeros(len(heads), size, dtype=torch.long)
        labels = torch.full((len(heads), size), -100)
        mask = torch.zeros(len(heads), size, dtype=torch.long)
        slots = torch.zeros(len(heads), size, dtype=torch.bool)
        for i, (head, tail) in enumerate(zip(heads, tails, strict=True)):
            end = len(head) + t + len(tail)
            tokens[i, : len(head)] = torch.tensor(head)
            tokens[i, len(head) + t : end] = torch.tensor(tail)
            labels[i, len(head) + t : end] = torch.tensor(tail)
            slots[i, len(head) : len(head) + t] = True
            mask[i, :end] = 1
        vectors = embed(tokens)
        if rows is not None:
            vectors = vectors.index_put((slots,), user_vectors(rows).flatten(0, 1))
        logits = lm(inputs_embeds=vectors, attention_mask=mask).logits[:, :-1]
        loss = F.cross_entropy(logits.transpose(1, 2), labels[:, 1:], reduction="none", ignore_index=-100)
        return -loss.sum(1)

    def margins(batch: list, rows: torch.Tensor | None) -> torch.Tensor:
        prompts = [c.prompt for c in batch]
        both = prompts + prompts
        answers = [c.chosen for c in batch] + [c.rejected for c in batch]
        chosen, rejected = logps(both, answers, None if rows is None else rows.repeat(2)).chunk(2)
        return chosen - rejected

    def reference(batch: list) -> torch.Tensor:
        with torch.no_grad(), lm.disable_adapter():
            return margins(batch, None)

    @torch.no_grad()
    def accuracy(generic: bool) -> float:
        right = 0
        sample = random.Random(1).sample(test, 320)
        for i in range(0, len(sample), 64):
            batch = sample[i : i + 64]
            rows = torch.tensor([0 if generic else row_of[c.user] for c in batch])
            right += int((margins(batch, rows) > reference(batch)).sum())
        return right / len(sample)

    # 4. Train: both branches of every comparison, a faster clock for the users than for the LoRA.
    lora = [p for p in lm.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        [{"params": lora, "lr": 5e-4}, {"params": [common, offsets], "lr": 1e-2}], weight_decay=0
    )
    for step in range(1, steps + 1):
        batch = random.sample(train, BATCH)
        rows = torch.tensor([row_of[c.user] for c in batch])
        ref = reference(batch)
        specific = -F.logsigmoid(BETA * (margins(batch, rows) - ref))
        generic = -F.logsigmoid(BETA * (margins(batch, torch.zeros_like(rows)) - ref))
        loss = (ALPHA * specific + (1 - ALPHA) * generic).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 50 == 0 or step == steps:
            own, everyone = accuracy(generic=False), accuracy(generic=True)
            figures = f"own row {own:.3f}, generic row {everyone:.3f}"
            print(f"step {step:4d}  loss {loss.item():.3f}  held-out: {figures}", flush=True)


if __name__ == "__main__":
    main()
