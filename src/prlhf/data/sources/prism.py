"""PRISM: people from many countries talk to language models and choose one of the replies of every turn.

`HannahRoseKirk/prism-alignment` (`survey.jsonl`, `conversations.jsonl`; arXiv 2404.16019), as P-RLHF uses it: a turn's
chosen reply is compared with every other reply of the turn; the prompt is the conversation so far, with the chosen
replies, and the new message. What a person said about themselves in the survey is the user text.

The sides are the published draw: 90 % of the people are seen, in the shuffled order of the survey; of each the
conversations are shuffled and 90 % (rounded down) trained on, the others are the test. Who is not seen, or has but one
conversation, is unseen. With the published seed and files they are the published sides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from prlhf.data import fields
from prlhf.data.fields import BadField, Interner, show
from prlhf.data.log import Log, Notes
from prlhf.data.options import one_of, whole, yes_or_no
from prlhf.data.rankings import pair_id
from prlhf.data.sources.published import Record, open_file, read, sides_of, within
from prlhf.errors import DataError
from prlhf.types import Comparison, Message

__all__ = ["prism"]

Turns = Literal["judgement", "comparison"]
Traits = Literal["rated", "shown"]
ATTRIBUTION = (
    "PRISM Alignment, Hannah Rose Kirk et al., arXiv 2404.16019 (HannahRoseKirk/prism-alignment). What people wrote: "
    "CC BY 4.0; what models wrote: CC BY-NC 4.0."
)
_WHERE = "source 'prism'"
_HUB = "HannahRoseKirk/prism-alignment"
_EXCLUDED = ("c2536", "c4146")  # no turn of these is short enough for the paper's limit on characters
_SHARE = 0.9
_TOP = 3
_FACTS = {
    "age": "Age",
    "gender": "Gender",
    "education": "Education",
    "employment_status": "Employment",
    "marital_status": "Marital status",
    "english_proficiency": "English",
}
_SURVEY = ("user_id", "num_completed_conversations", "self_description", "stated_prefs", "order_stated_prefs", *_FACTS)
_CONVERSATIONS = ("user_id", "conversation_id", "conversation_history", "generated_datetime")
_TRAITS = {
    "values": "sharing their values or culture",
    "creativity": "being creative",
    "fluency": "being well written",
    "factuality": "getting the facts right",
    "diversity": "showing several points of view",
    "safety": "being safe",
    "personalisation": "getting to know them",
    "helpfulness": "helping with what was asked",
}
"""Our words for the traits of answers that the survey asks about."""


@dataclass
class _Turn:
    """One message of the person and the replies of the models, in the order of the file."""

    asked: list[str] = field(default_factory=list)
    replies: list[tuple[str, bool]] = field(default_factory=list)
    """Each with whether it was chosen."""


@dataclass(frozen=True)
class _Conversation:
    id: str
    user: str
    comparisons: tuple[Comparison, ...]
    left_out: int
    """Turns that have no comparison."""


def prism(
    path: str = _HUB,
    text: bool = True,
    traits: Traits = "rated",
    turns: Turns = "judgement",
    seed: int = 123,
    max_characters: int | None = None,
) -> Log:
    """Every turn's chosen reply against each other one, with sides of its own: seen people's conversations, and unseen.

    Args:
        path: a folder with `survey.jsonl` and `conversations.jsonl`, or a hub id.
        text: whether comparisons carry the user text.
        traits: which three traits of answers the user text names: those that were `rated` highest (equals in the order
            of the survey), or, as in the published code, those that the questionnaire happened to have `shown` first.
        turns: `judgement`: the comparisons of one turn share the weight 1; `comparison`: each has weight 1.
        seed: of the sides; the default is the published one.
        max_characters: leave out comparisons whose last message and longer reply have more together.

    Raises:
        ConfigError: an option that does not fit.
        DataError: a file or field that is missing or not as published.
    """
    yes_or_no(_WHERE, "text", text)
    one_of(_WHERE, "traits", traits, get_args(Traits))
    one_of(_WHERE, "turns", turns, get_args(Turns))
    whole(_WHERE, "seed", seed, 0)
    if max_characters is not None:
        whole(_WHERE, "max_characters", max_characters, 1)
    people = _people(path, traits)
    texts = {user: words if text else None for user, words in people.items() if words is not None}
    reader = _Reader(set(people), texts, turns)
    read_rows = read(open_file("prism", path, "conversations.jsonl", _CONVERSATIONS), reader.conversation)
    kept = [row for row in read_rows if row.user in texts and row.id not in _EXCLUDED]
    if not kept:
        raise DataError(f"{path}: no conversation of anybody in survey.jsonl who completed one")
    sides = _sides(texts, kept, seed)
    found = [(c, sides[row.id]) for row in kept for c in row.comparisons if within(c, max_characters)]
    comparisons = tuple(c for c, _ in found)
    notes = Notes.of(comparisons, rows=len(read_rows), remarks=_remarks(people, kept, sides, comparisons))
    return Log(comparisons, "prism", ATTRIBUTION, notes, sides_of(found))


def _people(path: str, traits: Traits) -> dict[str, str | None]:
    """User id -> what they say about themselves, in the order of the survey; None who completed no conversation."""
    people: dict[str, str | None] = {}

    def person(_: int, record: Record) -> None:
        user = record.text("user_id")
        if user in people:
            raise BadField("user_id", f"{user!r} a second time", "a row for each person")
        words = _words(record, traits)
        people[user] = words if record.whole("num_completed_conversations") else None

    read(open_file("prism", path, "survey.jsonl", _SURVEY), person)
    return people


def _words(record: Record, traits: Traits) -> str:
    """The user text, in one line."""
    top = _rated(record.record("stated_prefs")) if traits == "rated" else _shown(record.record("order_stated_prefs"))
    told = [f"Matters most in an answer: {', '.join(_TRAITS.get(name, name) for name in top)}."] if top else []
    about = _said(record, "self_description")
    told += [f"About themselves: {about}"] if about else []
    facts = [(label, _said(record, name)) for name, label in _FACTS.items()]
    return " ".join([*told, *(f"{label}: {value}." for label, value in facts if value)])


def _said(record: Record, name: str) -> str:
    """An answer of the survey in one line; empty where there is none."""
    return "" if record.optional(name) is None else " ".join(record.text(name).split())


def _rated(ratings: Record) -> list[str]:
    """The three traits of the highest ratings."""
    given = {name: value for name, value in ratings.values.items() if name in _TRAITS and value is not None}
    for name, value in given.items():
        fields.number(ratings.at + name, value)
    return sorted(given, key=lambda name: -given[name])[:_TOP]


def _shown(order: Record) -> list[str]:
    """The three traits that stood first in the questionnaire."""
    places = {name: value for name, value in order.values.items() if value in range(1, _TOP + 1)}
    return sorted(places, key=lambda name: places[name])


@dataclass
class _Reader:
    """Rows of conversations.jsonl to comparisons."""

    known: set[str]
    texts: Mapping[str, str | None]
    weights: Turns
    ids: set[str] = field(default_factory=set)
    interner: Interner = field(default_factory=Interner)

    def conversation(self, _: int, record: Record) -> _Conversation:
        """All comparisons of one conversation, in the order of its turns."""
        user, name = record.text("user_id"), record.text("conversation_id")
        if user not in self.known:
            raise BadField("user_id", show(user), "a user_id of survey.jsonl")
        if name in self.ids:
            raise BadField("conversation_id", f"{name!r} a second time", "an id of its own for each conversation")
        self.ids.add(name)
        when = fields.moment("generated_datetime", record.optional("generated_datetime"))
        common = {"user": user, "user_text": self.texts.get(user), "timestamp": when}
        history: tuple[Message, ...] = ()
        found: list[Comparison] = []
        turns = self._turns(record)
        left_out = 0
        for number, turn in turns.items():
            history += tuple(Message("user", asked) for asked in turn.asked)
            made = self._turn(f"{name}/{number}", history, turn, common)
            found += made
            left_out += not made
            history += tuple(Message("assistant", reply) for reply, chosen in turn.replies if chosen)[:1]
        return _Conversation(name, user, tuple(found), left_out)

    def _turns(self, record: Record) -> dict[int, _Turn]:
        turns: dict[int, _Turn] = {}
        for item in record.records("conversation_history"):
            turn = turns.setdefault(item.whole("turn"), _Turn())
            role, content = item.text("role"), self.interner.text(f"{item.at}content", item.text("content"))
            if role == "user":
                turn.asked.append(content)
            elif role == "model":
                turn.replies.append((content, item.flag("if_chosen")))
            else:
                raise BadField(f"{item.at}role", show(role), "user or model")
        for number, turn in turns.items():
            if not turn.asked:
                raise BadField("conversation_history", f"no message of the user in turn {number}", "one in each turn")
        return dict(sorted(turns.items()))

    def _turn(self, name: str, history: tuple[Message, ...], turn: _Turn, common: dict[str, Any]) -> list[Comparison]:
        """The chosen reply (the first, were there several) against each that was not chosen."""
        chosen = next((i for i, (_, was_chosen) in enumerate(turn.replies) if was_chosen), None)
        others = [i for i, (_, was_chosen) in enumerate(turn.replies) if not was_chosen]
        if chosen is None:
            return []
        weight = 1 / len(others) if others and self.weights == "judgement" else 1.0
        texts = [reply for reply, _ in turn.replies]
        return [
            Comparison(history, texts[chosen], texts[other], weight=weight, id=pair_id(name, chosen, other), **common)
            for other in others
        ]


def _sides(people: Iterable[str], conversations: list[_Conversation], seed: int) -> dict[str, str]:
    """Conversation id -> train, test or unseen, by the published draw: the order of people and of each one's
    conversations in the files, one random stream for all."""
    of: dict[str, list[str]] = {user: [] for user in people}
    for conversation in conversations:
        of[conversation.user].append(conversation.id)
    draw = np.random.RandomState(seed)
    users = np.array([user for user, ids in of.items() if ids])
    draw.shuffle(users)
    sides: dict[str, str] = {}
    seen = int(len(users) * _SHARE)
    for place, user in enumerate(users.tolist()):
        ids = np.array(of[user])
        if place < seen:
            draw.shuffle(ids)
        train = int(len(ids) * _SHARE) if place < seen else 0
        rest = "test" if train else "unseen"
        sides.update({name: "train" if i < train else rest for i, name in enumerate(ids.tolist())})
    return sides


def _remarks(
    people: Mapping[str, str | None],
    kept: list[_Conversation],
    sides: Mapping[str, str],
    comparisons: tuple[Comparison, ...],
) -> tuple[str, ...]:
    users = {row.user for row in kept}
    unseen = {row.user for row in kept if sides[row.id] == "unseen"}
    number = Counter(sides[row.id] for row in kept)
    sizes = ", ".join(f"{side} {number[side]:,}" for side in ("train", "test", "unseen"))
    remarks = [
        f"Of {len(people):,} people {len(users):,} have a conversation that is used: "
        f"{len(users) - len(unseen):,} seen, {len(unseen):,} unseen.",
        f"Conversations: {sizes}; {sum(row.left_out for row in kept):,} turns without a choice between replies.",
    ]
    too_long = sum(len(row.comparisons) for row in kept) - len(comparisons)
    return (*remarks, f"Too long and left out: {too_long:,} comparisons.") if too_long else tuple(remarks)
