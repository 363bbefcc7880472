"""What docs/generation.md says about new users."""

import re
from pathlib import Path

from prlhf import PersonalizedLM

PAGE = Path(__file__).parents[2] / "docs" / "generation.md"


def test_new_users_are_known_and_answer_as_the_generic_user(lm, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lm.save_pretrained("runs/mine")
    part = PAGE.read_text(encoding="utf8").split("## New users")[1]
    exec(re.search(r"```python\n(.*?)```", part, re.DOTALL)[1], {})
    new = PersonalizedLM.from_pretrained("runs/mine_and_new")
    dora, ann, nobody = new.generate(["hi"] * 3, users=["dora", "ann", None], max_new_tokens=8, details=True)
    assert dora.known and dora.row > ann.row > 0
    assert dora.text == nobody.text
    old = PersonalizedLM.from_pretrained("runs/mine")
    assert [ann.text] == old.generate(["hi"], users=["ann"], max_new_tokens=8)
    assert not old.generate(["hi"], users=["dora"], max_new_tokens=8, details=True)[0].known
