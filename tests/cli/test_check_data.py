"""`prlhf check-data` as a person runs it."""

import json
import random

import pytest
from typer.testing import CliRunner

from prlhf.cli.main import app

RUN = CliRunner()


def write(path, literal):
    """Votes by chance; with `literal` rejected responses are lists of strings, made into one text."""
    rng = random.Random(0)
    words = ["the", "river", "was", "cold", "and", "we", "went", "home", "before", "it", "got", "dark"]

    def text():
        return " ".join(rng.choices(words, k=rng.randint(5, 20))).capitalize() + "."

    with path.open("w") as file:
        for i in range(200):
            rejected = str([text(), text()]) if literal else text()
            row = {"prompt": f"p{i % 40}", "chosen": text(), "rejected": rejected, "worker": f"w{i % 25}"}
            file.write(json.dumps(row) + "\n")
    return str(path)


def check(*words, width="80"):
    return RUN.invoke(app, ["check-data", *words, "-s", "columns.user_id=worker"], env={"COLUMNS": width})


@pytest.mark.parametrize("width", ["80", "170"])
def test_clean_data(tmp_path, width):
    done = check(write(tmp_path / "v.jsonl", literal=False), "--strict", width=width)
    assert done.exit_code == 0, (done.output, done.exception)
    said = " ".join(done.stdout.split())  # the path of the file may break a line anywhere
    assert "nothing found." in said and "200 comparisons" in said
    assert all(len(line) <= int(width) for line in done.stdout.splitlines()) and "…" not in done.stdout


def test_a_finding_is_a_warning_and_with_strict_a_failure(tmp_path):
    source, out = write(tmp_path / "v.jsonl", literal=True), tmp_path / "new" / "out.json"
    done = check(source, "--json", str(out))
    assert done.exit_code == 0 and "1 with a finding: marks of serialisation" in " ".join(done.stdout.split())
    made = json.loads(out.read_text())
    found = made["checks"][0]
    assert found["state"] == "finding" and found["numbers"]["most_telling"] == "list, record or bytes literal"
    assert [c["state"] for c in made["checks"][1:]].count("finding") == 0 and made["fingerprint"]
    assert check(source, "--strict").exit_code == 1


def test_the_split_is_that_of_the_options(tmp_path):
    source = write(tmp_path / "v.jsonl", literal=False)
    out = tmp_path / "out.json"
    assert check(source, "--json", str(out), "-s", "split.by=prompt", "-s", "split.test=0.5").exit_code == 0
    numbers = json.loads(out.read_text())["checks"][1]["numbers"]
    assert (numbers["kept_apart"], numbers["tests"], numbers["prompt"]) == ("prompt", 100, 0)


def test_thumbs_alone(tmp_path):
    """Marks on what is disliked, in a file of thumbs; the words are those of thumbs, and nothing is called held out."""
    rng = random.Random(0)
    source = tmp_path / "thumbs.jsonl"
    with source.open("w") as file:
        for i in range(400):
            up, text = rng.random() < 0.5, f"Answer {rng.random()} to that"
            row = {
                "prompt": f"p{i % 40}",
                "completion": text if up else f"{text}</s>",
                "label": up,
                "worker": f"w{i % 25}",
            }
            file.write(json.dumps(row) + "\n")
    done = check(str(source), width="170")
    said = " ".join(done.stdout.replace("│", " ").split())
    assert "1 with a finding: marks of serialisation" in said and "held-out" not in said, done.output
    assert "tell up from down in 100.0%" in said and "test thumbs training has: the prompt" in said
    assert check(str(source), "--strict").exit_code == 1


def test_refusals(tmp_path):
    source = write(tmp_path / "v.jsonl", literal=False)
    for words in ([str(tmp_path / "none.jsonl")], [source, "--json", str(tmp_path)], [source, "-s", "splt.by=pair"]):
        done = check(*words)
        assert done.exit_code == 2 and done.stderr.startswith("error: "), done.output
