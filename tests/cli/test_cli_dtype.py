"""`--dtype` from training to answers: half precision is what a run is trained, measured and asked in."""

import json

import torch
from typer.testing import CliRunner

from prlhf.cli.main import app
from prlhf.lm import PersonalizedLM

RUN = CliRunner()


def invoke(*words: str) -> str:
    done = RUN.invoke(app, list(words))
    assert done.exit_code == 0, (done.output, done.exception)
    return done.stdout


def test_half_precision_from_training_to_answers(base_folder, tmp_path):
    log, run = tmp_path / "votes.jsonl", str(tmp_path / "run")
    rows = [{"prompt": f"{i}?", "chosen": "yes", "rejected": "no!", "user_id": "ab"[i % 2]} for i in range(20)]
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    base = base_folder(num_hidden_layers=1)
    options = ["training.max_steps=2", "training.batch_size=4", "training.device=cpu", "user_model.tokens=2"]
    sets = [word for option in options for word in ("--set", option)]
    invoke("train", "--data", str(log), "--model", base, "--dtype", "bfloat16", "--output", run, *sets)
    lm = PersonalizedLM.from_pretrained(run)
    assert lm.dtype == torch.bfloat16 and lm.config.dtype == "bfloat16"
    assert lm.head.weight.dtype == torch.bfloat16
    learned = {p.dtype for p in lm.parameters() if p.requires_grad}
    assert learned == {torch.float32}  # what is trained is not rounded
    assert "own row" in invoke("evaluate", run, "--baselines", "length")
    assert invoke("generate", run, "--user", "a", "--max-new-tokens", "3", "hi").strip()
