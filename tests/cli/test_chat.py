"""`prlhf chat` with piped lines."""

import pytest
import torch
import typer
from typer.testing import CliRunner

from prlhf.cli.chat import chat
from prlhf.config import Individual, ModelConfig
from prlhf.errors import ConfigError
from prlhf.lm import PersonalizedLM


@pytest.fixture
def saved(base_folder, tmp_path):
    def folder(*, chat: bool = False) -> str:
        config = ModelConfig(base=base_folder("llama", chat=chat))
        lm = PersonalizedLM.create(config, Individual(tokens=3), ["ann", "bob"], seed=1)
        with torch.no_grad():
            lm.user_model.table.weight[1:] = torch.randn(2, 96, generator=torch.Generator().manual_seed(5))
        return str(lm.save_pretrained(tmp_path / "model"))

    return folder


@pytest.fixture
def talk(monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr("prlhf.cli.chat.no_loading_bars", lambda: None)
    app = typer.Typer()
    app.command()(chat)

    def with_lines(lines: list[str], *words: str) -> str:
        done = CliRunner().invoke(app, [*words, "-n", "6"], input="\n".join(lines))
        if done.exception:
            raise done.exception
        return done.stdout

    return with_lines


def test_a_model_without_chat_template(talk, saved):
    folder = saved()
    lm = PersonalizedLM.from_pretrained(folder)
    ann, bob, generic = lm.generate(["hi"] * 3, ["ann", "bob", None], max_new_tokens=6)
    out = talk(["hi", "/user bob", "hi", "/user zoe", "hi", "", "hi", "/quit", "/nothing"], folder, "--user", "ann")
    assert "each line is a question of its own" in out
    assert "note: 'zoe' is not in the user table: the generic user answers" in out
    parts = [ann, "Answering as bob.", bob, "Answering as zoe.", generic, generic]
    at = out.index("Answering as ann.")
    for part in parts:
        at = out.index(part, at) + len(part)
    assert "/nothing" not in out


def test_a_conversation_and_its_end(talk, saved):
    folder = saved(chat=True)
    out = talk(["hi", "hi", "/reset", "hi"], folder, "--user", "ann")
    lm = PersonalizedLM.from_pretrained(folder)
    first = lm.generate(["hi"], "ann", max_new_tokens=6)[0]
    said = [("user", "hi"), ("assistant", first), ("user", "hi")]
    second = lm.generate([[{"role": r, "content": c} for r, c in said]], "ann", max_new_tokens=6)[0]
    assert "question of its own" not in out
    assert out.endswith(f"Answering as ann.\n{first}\n{second}\nThe conversation begins anew.\n{first}\n")


def test_side_by_side(talk, saved):
    out = talk(["hi", "/user ann", "/compare bob,reference", "hi"], saved(), "--compare", "ann,generic")
    assert "Answering as ann, generic." in out and "Answering as bob, reference." in out
    assert " ann " in out and " reference " in out


def test_what_the_model_is_told(talk, saved):
    folder = saved()
    lm = PersonalizedLM.from_pretrained(folder)
    told, plain = (lm.generate(["hi"], "ann", user_texts=t, max_new_tokens=6)[0] for t in ("a sailor", None))
    bob = lm.generate(["hi"], "bob", max_new_tokens=6)[0]
    lines = ["hi", "/text", "hi", "/text a sailor", "hi", "/user bob", "hi"]
    out = talk(lines, folder, "--user", "ann", "--user-text", "a sailor")
    at = out.index("Answering as ann.")
    for part in (told, "is told nothing", plain, "is told this", told, "Answering as bob.", bob):
        at = out.index(part, at) + len(part)


def test_commands(talk, saved):
    out = talk(["/help", "/usr bob", "/user", "/compare ,", "//help"], saved())
    assert out.count("/reset         forget") == 2
    assert "no command /usr" in out
    assert "/user needs an id" in out
    assert "compare: found ','" in out


def test_contradictions(talk):
    with pytest.raises(ConfigError, match="not both"):
        talk([], "no-such-run", "--user", "a", "--compare", "b")
