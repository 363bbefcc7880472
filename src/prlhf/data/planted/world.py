"""The planted world: users with hidden profiles who judge answers to everyday questions, in pairs or one by one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from prlhf.data.options import one_of, share, whole, yes_or_no
from prlhf.data.planted.draw import Draw
from prlhf.data.planted.grammar import AXES, LEVELS, TEST_TOPICS, Levels, Question, answer, questions
from prlhf.data.planted.judge import read_levels
from prlhf.data.planted.profiles import PlantedUser, population
from prlhf.errors import ConfigError
from prlhf.types import Comparison, Thumb

if TYPE_CHECKING:
    from prlhf.data.log import Log

__all__ = ["World"]


@dataclass(frozen=True)
class World:
    """Everything follows from these values; the votes of a user do not depend on how many users there are.

    `told`: every vote carries its user's profile in words as the user text, for methods that read it; `half`: half of
    it, always the same half (`PlantedUser.half_text`). `unseen`: so many users, the last ones, do not vote; their tests
    are the side of that name. `feedback`: the training side as `pairs`, or as `thumbs`: both answers of each pair
    judged alone. The test side is pairs.
    """

    users_count: int
    votes: int
    noise: float
    seed: int
    test_pairs: int
    told: bool | Literal["half"]
    unseen: int
    feedback: str

    def __init__(
        self,
        users: int = 60,
        votes: int = 100,
        noise: float = 0.1,
        seed: int = 0,
        test_pairs: int = 40,
        told: bool | Literal["half"] = False,
        unseen: int = 0,
        feedback: str = "pairs",
    ) -> None:
        counts = (("users", users, 6), ("votes", votes, 1), ("test_pairs", test_pairs, 0), ("unseen", unseen, 0))
        for name, value, least in counts:
            whole("planted world", name, value, least)
        if unseen >= users:
            raise ConfigError(f"planted world: option unseen: found {unseen}, expected fewer than the {users} users")
        whole("planted world", "seed", seed)
        share("planted world", "noise", noise, "the share of flipped votes")
        if told != "half":
            yes_or_no("planted world", "told", told)
        one_of("planted world", "feedback", feedback, ("pairs", "thumbs"))
        values = {"users_count": users, "votes": votes, "noise": noise, "seed": seed, "test_pairs": test_pairs}
        for name, given in (*values.items(), ("told", told), ("unseen", unseen), ("feedback", feedback)):
            object.__setattr__(self, name, given)

    @cached_property
    def users(self) -> tuple[PlantedUser, ...]:
        """The users, in the order of their ids."""
        return population(self.users_count, self.seed)

    @cached_property
    def train_prompts(self) -> tuple[str, ...]:
        """Every question that may be voted on."""
        return tuple(q.text for q in questions() if q.topic not in TEST_TOPICS)

    @cached_property
    def test_prompts(self) -> tuple[str, ...]:
        """Every question of the held-out topics."""
        return tuple(q.text for q in questions() if q.topic in TEST_TOPICS)

    def user(self, id: str) -> PlantedUser:
        """The user of that id.

        Raises:
            KeyError: nobody has it.
        """
        return {user.id: user for user in self.users}[id]

    def votes_of(self, user: PlantedUser) -> list[Comparison]:
        """The user's votes, `noise` of them flipped (an exact share, but for rounding)."""
        return self._comparisons(user, "train", self.votes, self._flipped("flips", user, self.votes))

    def thumbs_of(self, user: PlantedUser) -> list[Thumb]:
        """Both answers of each of the user's votes judged alone, without the vote: up where the answer is worth more to
        the user than the median of all answers; `noise` of them flipped."""
        pairs = self._comparisons(user, "train", self.votes, set())
        flipped = self._flipped("thumb flips", user, 2 * self.votes)
        draw, median = Draw(self.seed, "thumbs", user.id), user.median
        result: list[Thumb] = []
        for c in pairs:
            for response in draw.shuffled(c.responses):  # the better one is not always the first
                up = (user.value(read_levels(response)) > median) != (len(result) in flipped)
                id = f"{user.id}/thumb/{len(result)}"
                result.append(Thumb(c.prompt, response, up, c.user, c.user_text, group=c.group, id=id))
        return result

    def _flipped(self, name: str, user: PlantedUser, count: int) -> set[int]:
        """Which of `count` judgements are flipped."""
        draw = Draw(self.seed, name, user.id)
        flips = int(self.noise * count + draw.uniform())
        return set(draw.shuffled(range(count))[:flips])

    def tests_of(self, user: PlantedUser) -> list[Comparison]:
        """Noise-free comparisons on the held-out topics."""
        return self._comparisons(user, "test", self.test_pairs, set())

    def log(self) -> Log:
        """Votes and tests of everybody as one log that brings its own split."""
        from prlhf.data.log import Log, Notes
        from prlhf.data.splits import Split

        pairs, voters = self.feedback == "pairs", self.users[: self.users_count - self.unseen]
        votes = [vote for user in voters for vote in (self.votes_of(user) if pairs else ())]
        tests = [vote for user in voters for vote in self.tests_of(user)]
        others = [vote for user in self.users[len(voters) :] for vote in self.tests_of(user)]
        thumbs = [thumb for user in voters for thumb in (() if pairs else self.thumbs_of(user))]
        given = (*votes, *tests, *others)
        log = Log(given, "planted", _ATTRIBUTION, Notes.of([*given, *thumbs]), thumbs=tuple(thumbs))
        tested, unseen = len(votes) + len(tests), len(given)
        return replace(
            log,
            fixed_split=Split(
                train=tuple(range(len(votes)) if pairs else range(unseen, len(log))),
                test=tuple(range(len(votes), tested)),
                unseen=tuple(range(tested, unseen)),
            ),
        )

    def _comparisons(
        self, user: PlantedUser, side: Literal["train", "test"], count: int, flipped: set[int]
    ) -> list[Comparison]:
        pool = [q for q in questions() if (q.topic in TEST_TOPICS) == (side == "test")]
        draw = Draw(self.seed, side, user.id)
        text = self.text_of(user)
        result = []
        for number in range(count):
            prompt, better, worse = _pair(user, pool, draw)
            chosen, rejected = (worse, better) if number in flipped else (better, worse)
            id = f"{user.id}/{side}/{number}"
            result.append(Comparison(prompt, chosen, rejected, user=user.id, user_text=text, group=user.group, id=id))
        return result

    def text_of(self, user: PlantedUser) -> str | None:
        """The user text of all comparisons of a user; None where the world tells nothing of them."""
        if self.told == "half":
            return user.half_text(first=Draw(self.seed, "half", user.id).below(2) == 0)
        return user.text if self.told else None


_ATTRIBUTION = "Generated by prlhf.data.planted; no real people. Axes after P-SOUPS (Jang et al., arXiv 2310.11564)."


def _levels(draw: Draw) -> Levels:
    e, i, s = (draw.below(LEVELS) for _ in AXES)
    return e, i, s


def _pair(user: PlantedUser, pool: list[Question], draw: Draw) -> tuple[str, str, str]:
    """A question, the answer the user prefers and the other one. Both are independent draws; only pairs of equal
    value to the user are drawn again."""
    while True:
        question, a, b = draw.pick(pool), _levels(draw), _levels(draw)
        gain = user.value(a) - user.value(b)
        if gain:
            better, worse = (a, b) if gain > 0 else (b, a)
            return question.text, answer(question, better, draw), answer(question, worse, draw)
