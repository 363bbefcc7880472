"""Best of n: what it draws, what it takes, what it says of the tokens."""

from dataclasses import replace

import pytest
from table_reward import TableReward

from prlhf.errors import ConfigError, DataError
from prlhf.generation import Picking, best_of, language_model, total
from prlhf.lm.generate import encode, respond
from prlhf.lm.requests import GenerationOptions, Request, Work

OPTIONS = GenerationOptions(max_new_tokens=12, temperature=1.0, seed=3)
SIGNS = {"ann": 1.0, "bob": -1.0, None: 0.5}


def worth(text: str, user: str | None) -> float:
    """Ann likes late letters, Bob early ones."""
    return SIGNS[user] * sum(map(ord, text)) / max(len(text), 1)


@pytest.fixture
def reward():
    return TableReward(worth, lambda text: [len(text) / 10])


def by_hand(lm, reward, prompt, user, n):
    """The best of the library's own samples from the same streams, one by one."""
    picks = best_of(lm, reward, [prompt], user, n=n, options=OPTIONS)
    return max((c.text for c in picks[0].candidates), key=lambda text: worth(text, user))


def test_the_best_for_each_user_is_taken(lm, reward):
    picks = best_of(lm, reward, ["hi", "hi", "hi"], ["ann", "bob", None], n=6, options=OPTIONS)
    assert [p.text for p in picks] == [by_hand(lm, reward, "hi", u, 6) for u in ("ann", "bob", None)]
    assert picks[0].text != picks[1].text
    texts = [{c.text for c in p.candidates} for p in picks]
    assert texts[0] == texts[1] == texts[2]  # the generic user writes for all
    means = [c.mean for c in picks[0].candidates]
    assert means == sorted(means, reverse=True) and sum(means) == pytest.approx(0, abs=1e-6)


def test_neither_place_nor_batch_matters(lm, reward):
    prompts, users = ["hi", "why?", "a longer question", "hi"], ["ann", "bob", "ann", "bob"]
    together = best_of(lm, reward, prompts, users, n=5, options=OPTIONS, work=Work(batch_size=3))
    for prompt, user, pick in zip(prompts, users, together, strict=True):
        (alone,) = best_of(lm, reward, [prompt], [user], n=5, options=OPTIONS)
        assert replace(pick, shared=False) == alone
    assert [p.shared for p in together] == [False, False, False, True]
    assert total(together).generated == sum(p.spent.generated for p in together[:3])
    other = best_of(lm, reward, prompts, users, n=5, options=replace(OPTIONS, seed=4))
    assert [p.text for p in other] != [p.text for p in together]


def test_more_candidates_are_the_same_and_further_ones(lm, reward):
    few, many = (best_of(lm, reward, ["hi"], "ann", n=n, options=OPTIONS)[0] for n in (3, 9))
    assert {c.text for c in few.candidates} < {c.text for c in many.candidates}
    assert worth(many.text, "ann") >= worth(few.text, "ann")


def test_the_greedy_answer_is_among_the_candidates(lm, reward):
    greedy = lm.generate(["hi", "why?"], max_new_tokens=12)
    prompts = ["hi", "why?", "hi"]
    among, drawn = (
        best_of(lm, reward, prompts, ["ann", "bob", "bob"], n=5, greedy=g, options=OPTIONS) for g in (True, False)
    )
    for prompt, a, d in zip(prompts, among, drawn, strict=True):
        one = {greedy[prompts.index(prompt)]}
        assert one < {c.text for c in a.candidates} and not one & {c.text for c in d.candidates}
        assert len({c.text for c in a.candidates} - {c.text for c in d.candidates}) == 1  # the other four are the same
    assert best_of(lm, reward, ["hi"], "ann", n=1, options=OPTIONS)[0].text == greedy[0]


def test_unknown_people_are_the_generic_user(lm, reward):
    zoe, nobody = best_of(lm, reward, ["hi"] * 2, ["zoe", None], n=5, options=OPTIONS)
    assert zoe.candidates == nobody.candidates
    assert (zoe.known, nobody.known) == (False, True)


def test_as_user_draws_from_the_users_own_row(lm, reward):
    own, generic = (
        best_of(lm, reward, ["hi"], "ann", n=5, options=OPTIONS, as_user=as_user)[0] for as_user in (True, False)
    )
    assert {c.text for c in own.candidates} != {c.text for c in generic.candidates}


def test_equal_texts_are_scored_once(lm, reward):
    seen = []
    reward.worth = lambda text, user: seen.append(text) or worth(text, user)
    options = GenerationOptions(max_new_tokens=1, temperature=0.5, seed=1)
    (pick,) = best_of(lm, reward, ["hi"], "ann", n=40, options=options)
    scored = seen[: len(pick.candidates)]
    assert len(scored) == len(set(scored)) < 40
    assert sum(c.times for c in pick.candidates) <= 40


def test_tokens_by_hand(lm, reward):
    (pick,) = best_of(lm, reward, ["hi"], "ann", n=4, options=OPTIONS)
    prompt = len(encode(lm, Request("hi"), 1)[0])
    assert all(c.times == 1 for c in pick.candidates)
    lengths = [c.tokens + c.finished for c in pick.candidates]
    assert pick.spent.generated == sum(lengths) and pick.spent.ratio == pytest.approx(4)
    assert pick.spent.read == 2 * prompt  # the greedy answer is written in a pass of its own
    assert pick.spent.scored == sum(prompt + c.tokens for c in pick.candidates)


def test_lower_bound_takes_a_surer_answer(lm, reward):
    reward.shares = lambda text: [100.0 * (worth(text, "ann") > 130), 7.0]
    mean, lcb = (best_of(lm, reward, ["hi"], "ann", n=8, by=by, options=OPTIONS)[0] for by in ("mean", "lcb"))
    assert {c.text for c in mean.candidates} == {c.text for c in lcb.candidates}
    values = [c.mean - c.sd for c in lcb.candidates]
    assert values == sorted(values, reverse=True)


def test_a_pick_within_its_standard_deviation_is_unsure(lm, reward):
    reward.shares = lambda text: [1e3 * worth(text, "ann")]
    picks = best_of(lm, reward, ["hi"] * 3, ["ann", "zoe", None], n=6, options=OPTIONS)
    assert [p.unsure for p in picks] == [True, False, False]  # who is unknown is told of already
    assert not best_of(lm, reward, ["hi"], "ann", n=1, options=OPTIONS)[0].unsure
    for share, unsure in ((1.1, True), (0.9, False)):  # the standard deviation is so many times the worth
        reward.shares = lambda text, share=share: [share * worth(text, "ann")]
        assert best_of(lm, reward, ["hi"], "ann", n=6, options=OPTIONS)[0].unsure is unsure


def test_an_answer_goes_on_from_its_beginning(lm):
    options = GenerationOptions(max_new_tokens=12)
    (whole,) = respond(lm, [Request("hi", "ann", 1)], options)
    begun = replace(Request("hi", "ann", 1), begun=whole.tokens[:5], max_new_tokens=7)
    (rest,) = respond(lm, [begun], options)
    assert (rest.text, rest.tokens) == (whole.text, whole.tokens)


def test_beams_of_one_round_are_best_of_n(lm, reward):
    (whole,) = best_of(lm, reward, ["hi"], "ann", n=6, greedy=False, options=OPTIONS)
    (beams,) = best_of(lm, reward, ["hi"], "ann", n=6, beams=2, chunk=12, options=OPTIONS)
    assert [c.text for c in beams.candidates] == [c.text for c in whole.candidates[:2]]
    assert beams.spent.generated == whole.spent.generated and beams.spent.read == whole.spent.read


def test_beams_steer_and_do_not_depend_on_the_batch(lm, reward):
    how = Picking(n=6, beams=2, chunk=3)
    together = best_of(lm, reward, ["hi", "why?", "hi"], ["ann", "bob", "bob"], picking=how, options=OPTIONS)
    for prompt, user, pick in zip(["hi", "why?", "hi"], ["ann", "bob", "bob"], together, strict=True):
        (alone,) = best_of(lm, reward, [prompt], user, picking=how, options=OPTIONS)
        assert pick == alone
        assert len(pick.candidates) <= 2 and all(c.tokens <= 12 for c in pick.candidates)
    prompt = len(encode(lm, Request("hi"), 1)[0])
    spent = together[0].spent
    assert spent.generated <= 6 * 12
    assert spent.read <= prompt + 2 * ((prompt + 3) + (prompt + 6) + (prompt + 9))
    whole = best_of(lm, reward, ["hi"], "ann", n=6, options=OPTIONS)[0]
    assert worth(together[0].text, "ann") > worth(whole.text, "ann")  # for this seed


@pytest.mark.parametrize("beams", [0, 2])
def test_answers_end_with_the_context(base_folder, reward, beams):
    small = language_model(base_folder("llama", max_position_embeddings=32))
    options = GenerationOptions(max_new_tokens=100, temperature=1.0, seed=1)
    prompts = ["hi", "a question that is longer than the context of the model has room for"]
    for pick in best_of(small, reward, prompts, "ann", n=4, beams=beams, chunk=5, options=options):
        assert any(c.finished or c.tokens >= 8 for c in pick.candidates)  # a quarter of the context


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n": 0}, ConfigError, "n: found 0"),
        ({"n": 6, "beams": 4}, ConfigError, "divides n = 6"),
        ({"beams": 4, "chunk": 0}, ConfigError, "chunk: found 0"),
        ({"by": "worst"}, ConfigError, "by: found 'worst'"),
        ({"options": GenerationOptions()}, ConfigError, "temperature: found 0"),
        ({"users": ["ann"]}, DataError, "users: found 1 for 2 prompts"),
    ],
)
def test_bad_input(lm, reward, options, error, message):
    with pytest.raises(error, match=message):
        best_of(lm, reward, ["hi", "why?"], **options)


def test_one_greedy_answer_is_no_choice(lm, reward):
    (pick,) = best_of(lm, reward, ["hi"], "ann", n=1, options=GenerationOptions(max_new_tokens=6))
    assert pick.text == lm.generate(["hi"], max_new_tokens=6)[0]
    assert pick.candidates[0].mean == 0 and pick.candidates[0].sd == 0
