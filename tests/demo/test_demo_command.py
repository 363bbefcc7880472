import json

from typer.testing import CliRunner

from prlhf.cli.main import app

RECIPE = """
[data]
source = "planted"
options = { users = 12, votes = 4, test_pairs = 2 }
[model]
base = "planted"
user_tokens_at = "start"
[user_model]
type = "individual"
tokens = 2
[objective]
beta = 0.5
[training]
max_steps = 2
batch_size = 4
eval_steps = 2
eval_comparisons = 8
device = "cpu"
"""


def test_repeated_on_finished_runs(tiny_study, tmp_path):
    study, _ = tiny_study
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(RECIPE)
    command = ["demo", "--recipe", str(recipe), "-o", str(study.folder), "--questions", "1"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "done before" in done.output and "next:   prlhf chat" in done.output
    assert (study.folder / "report.html").read_text("utf8").startswith("<!")
    assert json.loads((study.folder / "findings.json").read_text("utf8"))["findings"]
