"""One spelling and one letter for the same thing in every command."""

import inspect
from collections import defaultdict

import pytest
import typer
from typer.testing import CliRunner

from prlhf.cli.answers import with_decoding
from prlhf.cli.main import COMMANDS, app, load
from prlhf.cli.options import data_config, one_source
from prlhf.config import DataConfig
from prlhf.errors import ConfigError


def options():
    """(command, its options): letters and words by parameter."""
    for name in COMMANDS:
        command = load(name)
        inner = getattr(command, "commands", {})
        for full, found in {f"{name} {sub}": c for sub, c in inner.items()}.items() or [(name, command)]:
            yield full, [p for p in found.params if p.param_type_name == "option"]


def test_a_letter_means_the_same_everywhere():
    words, letters = defaultdict(set), defaultdict(set)
    for full, found in options():
        for option in found:
            word = max(option.opts, key=len)
            letter = min(option.opts, key=len)
            if (full, word) != ("best-of", "--max-new-tokens"):  # whose letter is that of the answers to pick from
                words[word].add(letter if letter != word else "")
            if letter != word:
                letters[letter].add(word)
    assert {word: found for word, found in words.items() if len(found) > 1} == {}
    assert {letter: found for letter, found in letters.items() if len(found) > 1} == {}
    assert (words["--output"], words["--recipe"], words["--set"]) == ({"-o"}, {"-r"}, {"-s"})


def test_who_has_them():
    have = {name: {word for option in found for word in option.opts} for name, found in options()}
    for name in ("train", "sft", "demo"):
        assert {"--output", "--recipe", "--set"} <= have[name]
    for name in ("train", "sft", "evaluate", "data inspect"):
        assert {"--set", "--on-bad-row"} <= have[name]


def test_data_options_have_the_names_of_a_recipe():
    values = {"source": "x.csv", "on_bad_row": None}
    expected = DataConfig(source="x.csv", columns={"user_id": "worker"}, options={"top": 3})
    for prefix in ("", "data."):
        found = data_config(values, [f"{prefix}columns.user_id=worker", f"{prefix}options.top=3"])
        assert found == expected
    with pytest.raises(ConfigError, match="did you mean rankings"):
        data_config(values, ["data.ranking=comparison"])


@pytest.mark.parametrize("command", [["train", "-o", "x"], ["sft", "-o", "x"], ["evaluate", "x"]])
def test_two_logs_are_not_one(command, tmp_path, monkeypatch):
    """The last of several would be read, and the others left out without a word."""
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, [*command, "--data", "votes.csv", "--data", "ranks.jsonl"])
    assert done.exit_code == 2
    assert "--data: found 2 sources (votes.csv, ranks.jsonl), expected one, since one log is read" in done.stderr
    assert "cat a.jsonl b.jsonl > all.jsonl" in done.stderr and "as one JSONL" in done.stderr
    assert not list(tmp_path.iterdir())


def test_one_source():
    assert (one_source(None), one_source([]), one_source(["votes.csv"])) == (None, None, "votes.csv")


def test_options_of_decoding_reach_a_command_as_one():
    made = []

    @with_decoding
    def answer(run: str, *, options: object) -> None:
        """A command."""
        made.append((run, options))

    assert list(inspect.signature(answer).parameters)[:2] == ["run", "max_new_tokens"]
    app = typer.Typer()
    app.command()(answer)
    words = ["x", "-n", "7", "-t", "0.5", "--top-p", "0.9", "--top-k", "4", "--repetition-penalty", "1.5"]
    words += ["--no-repeat-ngram-size", "3", "--stop", "a", "--stop", "b", "--seed", "6"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    ((run, found),) = made
    assert run == "x"
    assert (found.max_new_tokens, found.temperature, found.top_p, found.top_k) == (7, 0.5, 0.9, 4)
    assert (found.repetition_penalty, found.no_repeat_ngram_size) == (1.5, 3)
    assert (found.stop, found.seed) == (("a", "b"), 6)
