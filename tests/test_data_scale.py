"""The benchmark of much data runs, and its preparations agree; how fast they were is for quiet machines."""

import json
import sys
from pathlib import Path

import pytest

import prlhf.data.rows as reading
import prlhf.lm.tokens as tokens

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the memory of a process as Linux tells it")
@pytest.mark.filterwarnings("ignore")  # whatever TRL warns of
def test_the_quick_mode(monkeypatch, tmp_path, capsys):
    pytest.importorskip("trl")
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import data_scale

    monkeypatch.setattr(reading, "PART", reading.PART)  # the benchmark sets them, for this process
    monkeypatch.setattr(tokens, "PART", tokens.PART)
    data_scale.main(["--quick", "--threads", "1", "--json", str(tmp_path / "found")])
    found = json.loads((tmp_path / "found").read_text(encoding="utf8"))
    assert {"benchmark", "machine", "options", "remarks", "rows", "details"} == set(found)
    assert [row["table"] for row in found["rows"]][::10] == ["curve", "killed"]
    curve, killed, reference, trl = (row["found"] for row in found["details"])
    names = ["read and validate", "split", "tokenise", "bucket", "fetch 1,000 batches"]
    assert [[s["stage"] for s in one["stages"]] for one in curve] == [names, names]
    assert [one["comparisons"] for one in curve] == [100, 200] and curve[1]["stages"][0]["rows"] == 200
    assert killed["same"] and killed["kept"]["feedback"] >= 3 and killed["kept"]["tokens"] >= 1
    assert reference["same"] and len(trl["ratio"]) == 3
    assert "the same fingerprint, sides and token ids as without a kill: True" in capsys.readouterr().out
