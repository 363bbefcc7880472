"""The command as a whole: help, laziness, errors, exit codes."""

import subprocess
import sys
import time

import pytest
import typer
from typer.testing import CliRunner

import prlhf.cli.main as cli
from prlhf.errors import ConfigError

RUN = CliRunner()


def best_of(code: str, times: int = 4) -> float:
    """The fastest of several runs of a Python process: the machine's other work only ever adds to it."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        taken.append(time.perf_counter() - start)
    return min(taken)


def test_help_takes_less_than_half_of_import_torch():
    help_ = "import sys; sys.argv = ['prlhf', '--help']; from prlhf.cli.main import main; main()"
    assert best_of(help_) < 0.5 * best_of("import torch", times=2)


def test_help_imports_no_heavy_library():
    code = (
        "import sys; sys.argv = ['prlhf', '--help']\n"
        "from prlhf.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as e: assert not e.code\n"
        "heavy = {'torch', 'transformers', 'datasets', 'pyarrow', 'numpy', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "loaded = {m for m in sys.modules if m.startswith('prlhf.cli.')}\n"
        "assert loaded == {'prlhf.cli.main', 'prlhf.cli.console', 'prlhf.cli.errors'}, loaded\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)


@pytest.mark.parametrize("name", list(cli.COMMANDS))
def test_help_of_a_command_needs_no_torch(name):
    code = (
        f"import sys; sys.argv = ['prlhf', '{name}', '--help']\n"
        "from prlhf.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as e: assert not e.code\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Usage: prlhf" in done.stdout


def test_all_commands_are_listed_with_their_summaries():
    out = RUN.invoke(cli.app, ["--help"], env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"}).stdout
    for name, entry in cli.COMMANDS.items():
        assert name in out and entry.summary.split(",")[0][:40] in out


def test_version():
    from prlhf import __version__

    assert RUN.invoke(cli.app, ["--version"]).stdout.strip() == __version__


def test_unknown_command_and_option_suggest_the_nearest():
    wrong = RUN.invoke(cli.app, ["trian"])
    assert wrong.exit_code == 2 and "'train'" in wrong.stderr
    wrong = RUN.invoke(cli.app, ["train", "--ouptut", "x"])
    assert wrong.exit_code == 2 and "--output" in wrong.stderr


@pytest.fixture
def failing(monkeypatch):
    """`failing(error)`: the command `prlhf evaluate` raises `error`."""

    def with_error(error):
        def command() -> None:
            raise error

        app = typer.Typer(add_completion=False)
        app.command("evaluate")(command)
        monkeypatch.setattr(cli, "load", lambda name: typer.main.get_command(app))
        return RUN.invoke(cli.app, ["evaluate"])

    return with_error


def test_our_errors_are_one_message_and_exit_with_2(failing):
    told = failing(ConfigError("option alpha: found 2, expected at most 1"))
    assert told.exit_code == 2
    assert told.stderr == "error: option alpha: found 2, expected at most 1\n"
    assert told.stdout == ""


def test_debug_shows_where_it_was_raised(failing, monkeypatch):
    monkeypatch.setenv("PRLHF_DEBUG", "1")
    assert isinstance(failing(ConfigError("x")).exception, ConfigError)


def test_other_errors_are_not_hidden(failing):
    assert isinstance(failing(ZeroDivisionError()).exception, ZeroDivisionError)


def test_interrupt_exits_with_130(failing):
    told = failing(KeyboardInterrupt())
    assert told.exit_code == 130 and "interrupted" in told.stderr
