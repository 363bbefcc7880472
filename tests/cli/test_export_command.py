"""`prlhf export` as a person runs it."""

import json
import logging

import pyarrow.parquet as pq
import pytest
import torch
import typer
from safetensors.torch import load_file
from typer.testing import CliRunner

from prlhf.cli.export import export
from prlhf.config import Full, Individual, Lora, ModelConfig
from prlhf.errors import ConfigError, UnknownUserError
from prlhf.lm import PersonalizedLM


def make(base: str, place, tuning=None) -> str:
    config = ModelConfig(base=base, tuning=tuning or Lora())
    lm = PersonalizedLM.create(config, Individual(tokens=3), ["ann", "bob"], seed=1)
    with torch.no_grad():
        lm.user_model.table.weight[1:] = torch.randn(2, 96, generator=torch.Generator().manual_seed(5))
    return str(lm.save_pretrained(place / "run" / "model").parent)


@pytest.fixture
def folder(base_folder, tmp_path):
    return make(base_folder(bos=False), tmp_path)


@pytest.fixture
def run(monkeypatch, tmp_path):
    """`run(kind, folder, *words)`: the files that were written, without the folder's name."""
    monkeypatch.setattr("prlhf.cli.export.no_loading_bars", lambda: None)
    app = typer.Typer()
    app.command()(export)

    def invoke(kind, folder, *words, out="out"):
        place = tmp_path / out
        done = CliRunner().invoke(app, [folder, "--as", kind, "--output", str(place), *words])
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == 0, done.output
        assert done.stdout.replace("\n", "") == f"written: {place}"
        return {str(p.relative_to(place)) for p in place.rglob("*") if p.is_file()}

    return invoke


def test_merged(run, folder, tmp_path):
    held = run("merged", folder)
    assert {"config.json", "model.safetensors", "prlhf.json", "user_model/users.parquet"} <= held
    a, b = (PersonalizedLM.from_pretrained(place) for place in (folder, tmp_path / "out"))
    assert a.generate(["hi"] * 2, ["ann", "bob"], max_new_tokens=6) == b.generate(
        ["hi"] * 2, ["ann", "bob"], max_new_tokens=6
    )


def test_prompt_tuning(run, folder, base_folder, tmp_path):
    held = run("prompt-tuning", folder, "--user", "bob")
    assert {"model/config.json", "users.parquet", "users/2/adapter_config.json"} <= held
    assert not [name for name in held if name.startswith(("users/0", "users/1"))]
    held = run("prompt-tuning", folder, "--all", out="all")
    assert {f"users/{row}/adapter_model.safetensors" for row in range(3)} <= held
    full = make(base_folder(bos=False), tmp_path / "full", Full())
    held = run("prompt-tuning", full, out="of_full")  # it is itself the model that they belong to
    assert held == {"users.parquet", "users/0/adapter_config.json", "users/0/adapter_model.safetensors"}
    config = json.loads((tmp_path / "of_full" / "users" / "0" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == f"{full}/model"


def test_embeddings_of_users(run, folder, tmp_path):
    assert run("embeddings", folder, "--all") == {"users.safetensors", "users.parquet"}
    assert sorted(load_file(tmp_path / "out" / "users.safetensors")) == ["row-0", "row-1", "row-2"]
    assert pq.read_table(tmp_path / "out" / "users.parquet")["id"].to_pylist() == [None, "ann", "bob"]


def test_embeddings_of_prompts(run, folder, tmp_path, caplog):
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"prompt": "hi", "user_id": "ann"}\n{"prompt": "why?", "user_id": "yan"}\n')
    with caplog.at_level(logging.WARNING):
        assert run("embeddings", folder, "--prompts", str(prompts)) == {"prompts.safetensors", "prompts.jsonl"}
    assert "unknown users get the generic row: 'yan'" in caplog.text

    def asked(out):
        lines = (tmp_path / out / "prompts.jsonl").read_text().splitlines()
        return [(line["prompt"], line["user"], line["known"]) for line in map(json.loads, lines)]

    assert asked("out") == [("hi", "ann", True), ("why?", "yan", False)]
    run("embeddings", folder, "--prompts", str(prompts), "-u", "ann", "-u", "bob", out="each")
    assert [(p, u) for p, u, _ in asked("each")] == [("hi", "ann"), ("hi", "bob"), ("why?", "ann"), ("why?", "bob")]


@pytest.mark.parametrize(
    ("kind", "words", "message"),
    [
        ("embeddings", ["--all", "--user", "ann"], "give --user or --all, not both"),
        ("merged", ["--all"], "--as merged has every user"),
        ("prompt-tuning", ["--prompts", "p.txt"], "--prompts belongs to --as embeddings"),
    ],
)
def test_options_that_contradict_each_other(run, kind, words, message):
    with pytest.raises(ConfigError, match=message):
        run(kind, "no/run", *words)  # before anything is loaded


def test_what_is_there_is_not_overwritten(run, folder):
    with pytest.raises(ConfigError, match=r"--output .*run exists, and nothing is overwritten"):
        run("merged", "no/run", out="run")


def test_strangers(run, folder):
    with pytest.raises(UnknownUserError, match="'yan'"):
        run("embeddings", folder, "--user", "yan")
