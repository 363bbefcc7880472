import json

import pytest

from prlhf.config import Individual, ModelConfig
from prlhf.data.planted import AXES, World, answer, questions, utility
from prlhf.data.planted.draw import Draw
from prlhf.errors import ConfigError, DataError
from prlhf.evaluation.judge import judge_policies, oracle_of, policy_of, reference_of
from prlhf.lm import PersonalizedLM

WORLD = World(users=12, votes=1, test_pairs=1)
QUESTIONS = {q.text: q for q in questions()}


def best(prompts, users, sign=1):
    """The best answer that the grammar has for each user; sign -1: the worst."""
    levels = [tuple(2 if not p else 4 if p * sign > 0 else 0 for p in user.percents) for user in users]
    draws = (Draw("best", i) for i in range(len(prompts)))
    return [answer(QUESTIONS[p], level, d) for p, level, d in zip(prompts, levels, draws, strict=True)]


def worst(prompts, users):
    return best(prompts, users, -1)


def middling(prompts, users):
    return [answer(QUESTIONS[p], (2,) * len(AXES), Draw("mid", i)) for i, p in enumerate(prompts)]


def majority(prompts, users):
    """What most users want, for everybody."""
    return [answer(QUESTIONS[p], (0, 4, 4), Draw("majority", i)) for i, p in enumerate(prompts)]


def silent(prompts, users):
    return [""] * len(prompts)


def test_the_best_wins_the_worst_loses_and_the_same_ties():
    found = judge_policies(WORLD, {"best": best, "worst": worst, "again": best}, prompts_per_user=3, bootstrap=50)
    assert list(found.verdicts) == [("best", "worst"), ("best", "again"), ("worst", "again")]
    assert found.verdicts["best", "worst"].rate.per_user.value == 1
    assert found.verdicts["worst", "again"].rate.per_user.value == 0
    same = found.verdicts["best", "again"].rate
    assert same.rate.value == 0.5 and same.ties_share == 1 and same.count == 36


def test_by_group_and_by_profile():
    found = judge_policies(WORLD, {"majority": majority, "mid": middling}, prompts_per_user=2, bootstrap=50)
    verdict = found.verdicts["majority", "mid"]
    assert set(verdict.rate.groups) == {user.group for user in WORLD.users} == {"majority", "minority"}
    assert verdict.rate.groups["majority"].rate.value == 1 and verdict.rate.groups["minority"].rate.value == 0
    assert set(verdict.profiles) == {user.name for user in WORLD.users}
    assert sum(rate.count for rate in verdict.profiles.values()) == 24
    assert set(verdict.kinds) == {"single", "mixture"}
    expected = {user.id: float(user.group == "majority") for user in WORLD.users}
    assert {name: rate.rate.value for name, rate in verdict.rate.users.items()} == expected


def test_all_policies_get_the_same_held_out_prompts():
    asked = []

    def listening(prompts, users):
        asked.append((tuple(prompts), tuple(u.id for u in users)))
        return middling(prompts, users)

    def judge(**options):
        return judge_policies(WORLD, {"a": listening, "b": listening}, bootstrap=0, **options)

    found = judge(prompts_per_user=5)
    assert asked[0] == asked[1] and asked[0][0] == found.prompts
    assert set(found.prompts) <= set(WORLD.test_prompts)
    assert len(set(found.prompts[:5])) == 5 and found.prompts[:5] != found.prompts[5:10]
    judge(prompts_per_user=5)
    judge(prompts_per_user=5, seed=1)
    assert asked[2] == asked[0] and asked[4] != asked[0]
    judge(prompts_per_user=5, users=WORLD.users[2:3])
    assert asked[6][0] == asked[0][0][10:15]  # a user's prompts do not depend on the others


def test_no_answer_is_worse_than_the_worst_and_counted():
    found = judge_policies(WORLD, {"worst": worst, "silent": silent}, prompts_per_user=1, bootstrap=0)
    assert found.verdicts["worst", "silent"].rate.rate.value == 1
    assert found.answers["silent"].not_answers == 1 and found.answers["worst"].not_answers == 0


def test_json_names_are_stable():
    found = judge_policies(WORLD, {"best": best, "worst": worst}, prompts_per_user=2, bootstrap=20)
    made = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert made["users"] == 12 and made["prompts_per_user"] == 2
    assert made["policies"]["best"]["mean_utility"] > 0.7
    (pair,) = made["pairs"]
    assert (pair["a"], pair["b"], pair["wins"]) == ("best", "worst", 24)
    assert {"rate", "per_user", "ties_share", "users", "groups", "profiles", "kinds"} <= set(pair)
    assert list(found.rates("best")) == ["worst"] and found.rates("worst") == {}


def test_refusals():
    with pytest.raises(ConfigError, match=r"\(a, c\), expected two different ones of a, b"):
        judge_policies(WORLD, {"a": best, "b": best}, pairs=[("a", "c")])
    with pytest.raises(ConfigError, match=r"\(a, a\)"):
        judge_policies(WORLD, {"a": best, "b": best}, pairs=[("a", "a")])
    with pytest.raises(ConfigError, match="1 to 240"):
        judge_policies(WORLD, {"a": best, "b": best}, prompts_per_user=1000)
    with pytest.raises(DataError, match="'b' gave 1 answers to 12"):
        judge_policies(WORLD, {"a": best, "b": lambda p, u: ["x"]}, prompts_per_user=1)


@pytest.fixture(scope="module")
def lm():
    config = ModelConfig(base="planted")
    return PersonalizedLM.create(config, Individual(tokens=2), [u.id for u in WORLD.users])


def test_policies_sample_each_on_their_own_and_repeatably(lm):
    users, prompts = WORLD.users[:2], list(WORLD.test_prompts[:2])
    short = {"max_new_tokens": 12}
    first = reference_of(lm, **short)(prompts, users)
    assert first == reference_of(lm, **short)(prompts, users)
    assert first != reference_of(lm, "sft again", **short)(prompts, users)
    assert first != reference_of(lm, seed=1, **short)(prompts, users)
    greedy = [policy_of(lm, name, temperature=0, **short)(prompts, users) for name in ("a", "b")]
    assert greedy[0] == greedy[1] != first


def test_a_policy_knows_who_asks_and_the_generic_one_does_not(lm):
    calls = []

    class Listening:
        config = lm.config

        def generate(self, prompts, users=None, **options):
            calls.append((users, options.get("user_texts"), options.get("reference", False)))
            return ["x"] * len(prompts)

    users, prompts = WORLD.users[:2], ["?", "?"]
    for policy in (policy_of, reference_of, oracle_of):
        policy(Listening(), "name")(prompts, users)
    policy_of(Listening(), "name", generic=True)(prompts, users)
    policy_of(Listening(), "name", text_of=lambda user: user.text)(prompts, users)
    ids, texts = [u.id for u in users], [u.text for u in users]
    none = [None, None]
    known = [(ids, none, False), (None, None, True), (None, texts, True), (None, none, False), (ids, texts, False)]
    assert calls == known


def test_the_oracle_of_the_bundled_model_pleases_its_users_more_than_the_plain_one(lm):
    users = WORLD.users[:4]
    policies = {"oracle": oracle_of(lm), "sft": reference_of(lm)}
    found = judge_policies(WORLD, policies, users=users, prompts_per_user=2, bootstrap=0)
    assert found.verdicts["oracle", "sft"].rate.rate.value > 0.5
    assert found.answers["sft"].not_answers < 0.3
    assert utility(users[0], found.answers["oracle"].texts[0]) == found.answers["oracle"].utilities[0]


def test_an_oracle_that_would_not_see_the_profile_is_refused(base_folder):
    config = ModelConfig(base=base_folder("llama"), reference_user_text=False)
    blind = PersonalizedLM.create(config, Individual(tokens=1), ["ann"])
    with pytest.raises(ConfigError, match="reference_user_text"):
        oracle_of(blind)
