"""Side by side: one answer a voice."""

import pytest

from prlhf.errors import ConfigError
from prlhf.generation import side_by_side, voice, voices
from prlhf.lm.requests import GenerationOptions

OPTIONS = GenerationOptions(max_new_tokens=6)


def test_names(lm):
    found = voices(lm, 'ann, generic,zoe , reference,"a,b"')
    assert [(v.name, v.user, v.row, v.known) for v in found] == [
        ("ann", "ann", 1, True),
        ("generic", None, 0, True),
        ("zoe", "zoe", 0, False),
        ("reference", None, -1, True),
        ("a,b", "a,b", 0, False),
    ]
    assert found[0].note is None
    assert "'zoe' is not in the user table" in found[2].note
    with pytest.raises(ConfigError, match="as ann,bob,generic"):
        voices(lm, " , ")


def test_a_user_of_that_name_goes_before_the_special_word(lm):
    lm.add_users(["generic", "reference"])
    assert (voice(lm, "generic").row, voice(lm, "reference").row) == (3, 4)
    assert voice(lm, None).row == 0


def test_every_voice_gives_its_own_answer(lm):
    found = side_by_side(lm, ["hi"] * 4, voices(lm, "bob,reference,ann,generic"), OPTIONS)
    assert [g.text for g in found] == [
        lm.generate(["hi"], "bob", max_new_tokens=6)[0],
        lm.generate(["hi"], reference=True, max_new_tokens=6)[0],
        lm.generate(["hi"], "ann", max_new_tokens=6)[0],
        lm.generate(["hi"], max_new_tokens=6)[0],
    ]


def test_each_voice_has_its_own_text(lm):
    who = voices(lm, "ann,bob,generic", ["a sailor", "", "a cook"])
    assert [v.text for v in who] == ["a sailor", None, "a cook"]
    assert [g.text for g in side_by_side(lm, ["hi"] * 3, who, OPTIONS)] == lm.generate(
        ["hi"] * 3, ["ann", "bob", None], user_texts=["a sailor", None, "a cook"], max_new_tokens=6
    )
    assert [v.text for v in voices(lm, "ann,reference", ["a sailor"])] == ["a sailor"] * 2
    with pytest.raises(ConfigError, match="found 2 texts for 3 names, expected one for each"):
        voices(lm, "ann,bob,generic", ["a sailor", "a cook"])


def test_sampling_draws_alike_for_every_voice(lm):
    one, other = side_by_side(lm, ["hi"] * 2, voices(lm, "ann,ann"), GenerationOptions(6, temperature=1.0, seed=1))
    assert one == other
