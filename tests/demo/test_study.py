import pytest

from prlhf.config import RunConfig
from prlhf.demo.study import MAX_NEW_TOKENS, PAIRS, run_study
from prlhf.errors import ConfigError
from prlhf.lm import is_checkpoint


def test_both_runs_are_complete_and_measured(tiny_study):
    study, said = tiny_study
    assert [line.split(":")[0] for line in said] == ["pooled DPO", "P-DPO", "answers", "newcomers"]
    assert all(is_checkpoint(study.folder / name / "model") for name in ("pooled", "personal"))
    pooled = RunConfig.model_validate_json((study.folder / "pooled" / "config.json").read_text())
    assert pooled.user_model.type == "uniform" and pooled.alpha == 0 and pooled.data == study.config.data
    assert study.metrics.comparisons == study.pooled.comparisons == 24
    assert set(study.seconds) == {"pooled DPO", "P-DPO", "answers", "newcomers"} and study.total_seconds > 0


def test_everybody_asks_and_is_judged(tiny_study):
    study, _ = tiny_study
    assert set(study.judgement.verdicts) == set(PAIRS)
    assert all(study.wins(a, b, greedy=greedy).count == 12 for a, b in PAIRS for greedy in (False, True))
    sampled, greedy = (j.answers["sft"].texts for j in (study.judgement, study.greedy))
    first = {}  # greedily, the model without people answers a question in one way, whoever asks
    assert all(first.setdefault(q, text) == text for q, text in zip(study.greedy.prompts, greedy, strict=True))
    assert sampled != greedy
    assert set(study.by_profile) == {u.name for u in study.world.users}
    names = [u.name for u in study.examples.personal]
    assert names == sorted({u.name for u in study.world.users if u.kind == "single"})
    assert study.examples.question in study.world.test_prompts and MAX_NEW_TOKENS


def test_a_second_call_uses_the_finished_runs(tiny_study, tiny_config, monkeypatch):
    study, _ = tiny_study
    (study.folder / "report.html").touch()
    monkeypatch.setattr("prlhf.demo.runs.train", None)  # nothing is trained again
    said = []
    again = run_study(tiny_config, study.folder, questions=1, say=said.append)
    assert "done before" in said[0] and "done before" in said[1]
    assert again.metrics.values() == pytest.approx(study.metrics.values())
    assert again.examples == study.examples
    assert all(again.wins(*p).as_dict() == study.wins(*p).as_dict() for p in PAIRS)


def test_other_data_than_the_planted_world_are_refused(tmp_path):
    config = RunConfig.model_validate({"data": {"source": "convarg"}})
    with pytest.raises(ConfigError, match="planted"):
        run_study(config, tmp_path / "study")
