"""What the libraries below say does not reach the terminal."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("debug", ["", "1"])
def test_what_peft_imports_warns_only_where_everything_is_let_through(debug):
    code = (
        "import logging\n"
        "from prlhf.cli.console import calm\n"
        "calm()\n"
        "logging.getLogger('bitsandbytes.backends.cpu.ops').warning('no kernels')\n"
        "logging.getLogger('bitsandbytes.backends.cpu.ops').error('broken')\n"
    )
    env = {**os.environ, "PRLHF_DEBUG": debug}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert ("no kernels" in done.stderr) == bool(debug)
    assert "broken" in done.stderr
