"""Everyday questions, and answers that vary on three graded axes.

An answer has twelve slots, four for each axis, at fixed places of one sentence pattern:

    Great question! Quantify the constituents of your chain for ten minutes, my friend, and clean it iteratively
    in daylight twice a week. No rush, this minimises variance and saves money. Good luck!

    Not again. Check the bits of your chain, genius, and clean it slowly. Stop whining, this helps a lot. Go away.

The level of an axis (0..4) is the number of its slots that are high. Expertise and style slots have words of their
own for low; a low informativeness slot is simply left out.
"""

from __future__ import annotations

from dataclasses import dataclass

from prlhf.data.planted.draw import Draw

__all__ = ["AXES", "LEVELS", "SLOTS", "TEST_TOPICS", "TOPICS", "Levels", "Question", "Slot", "answer", "questions"]

AXES = ("expertise", "informativeness", "style")
"""The axes of P-SOUPS (Jang et al., arXiv 2310.11564), in the order of every triple of levels or weights."""

LEVELS = 5
Levels = tuple[int, int, int]
"""Expertise (elementary 0 .. expert 4), informativeness (concise .. complete), style (unfriendly .. friendly)."""


@dataclass(frozen=True)
class Slot:
    """One place of the answer: interchangeable phrases for either pole (an empty `low`: the place is left out)."""

    axis: int
    high: tuple[str, ...]
    low: tuple[str, ...]


SLOTS: dict[str, Slot] = {
    "E1": Slot(0, ("Quantify", "Analyse", "Characterise"), ("Check", "Look at", "Feel")),
    "E2": Slot(0, ("parameters", "constituents", "properties"), ("parts", "bits", "basics")),
    "E3": Slot(0, ("iteratively", "incrementally", "systematically"), ("slowly", "gently", "nicely")),
    "E4": Slot(
        0,
        ("minimises variance", "maximises efficiency", "optimises equilibrium"),
        ("helps a lot", "works well", "makes sense"),
    ),
    "I1": Slot(1, ("for ten minutes", "for half an hour", "for a moment"), ()),
    "I2": Slot(1, ("in daylight", "after breakfast", "before lunch"), ()),
    "I3": Slot(1, ("twice a week", "once a month", "every Sunday"), ()),
    "I4": Slot(1, ("and saves money", "and lasts for years", "and prevents trouble"), ()),
    "S1": Slot(2, ("Great question!", "Happy to help!", "Lovely idea!"), ("Not again.", "Oh please.", "Listen up.")),
    "S2": Slot(2, ("my friend", "dear", "sunshine"), ("genius", "lazybones", "you slob")),
    "S3": Slot(2, ("No rush", "Take your time", "Enjoy yourself"), ("Stop whining", "Do not dawdle", "Quit stalling")),
    "S4": Slot(2, ("Good luck!", "Have fun!", "You got this!"), ("Go away.", "Now scram.", "Leave me alone.")),
}

_PATTERN = "{S1} {E1} the {E2} of your {thing}{I1}, {S2}, and {verb} it {E3}{I2}{I3}. {S3}, this {E4}{I4}. {S4}"

_FORMS = (
    "How do I {verb} my {thing}?",
    "How should I {verb} my {thing}?",
    "What is a good way to {verb} my {thing}?",
    "Can you tell me how to {verb} my {thing}?",
)

TOPICS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "cooking": (("soup", "stew", "curry", "omelette", "sauce"), ("prepare", "season", "reheat")),
    "baking": (("bread", "cake", "pie", "dough", "pizza"), ("bake", "decorate", "store")),
    "garden": (("lawn", "hedge", "compost", "rosebush", "orchard"), ("water", "trim", "protect")),
    "sleep": (("nap", "bedtime", "pillow", "mattress", "bedroom"), ("improve", "plan", "choose")),
    "bicycle": (("chain", "saddle", "brake", "pedal", "helmet"), ("clean", "repair", "adjust")),
    "laundry": (("shirt", "sweater", "towel", "jacket", "curtain"), ("wash", "fold", "store")),
    "fitness": (("workout", "posture", "stretch", "balance", "stamina"), ("improve", "practise", "plan")),
    "music": (("guitar", "piano", "violin", "melody", "trumpet"), ("practise", "record", "choose")),
    "pets": (("kitten", "puppy", "parrot", "hamster", "goldfish"), ("feed", "calm", "protect")),
    "travel": (("suitcase", "passport", "backpack", "route", "visa"), ("choose", "prepare", "organise")),
    "money": (("budget", "loan", "pension", "invoice", "salary"), ("plan", "review", "improve")),
    "computer": (("laptop", "keyboard", "printer", "browser", "password"), ("update", "protect", "reset")),
    "photos": (("camera", "lens", "tripod", "album", "flashgun"), ("clean", "store", "adjust")),
    "kitchen": (("oven", "fridge", "kettle", "knife", "sink"), ("clean", "repair", "organise")),
    "office": (("desk", "calendar", "inbox", "meeting", "report"), ("organise", "prepare", "review")),
    "car": (("engine", "battery", "bumper", "windscreen", "clutch"), ("wash", "repair", "protect")),
    "language": (("accent", "grammar", "vocabulary", "spelling", "essay"), ("improve", "practise", "review")),
    "painting": (("canvas", "brush", "sketch", "portrait", "mural"), ("clean", "choose", "store")),
    "party": (("birthday", "picnic", "wedding", "menu", "playlist"), ("plan", "organise", "review")),
    "house": (("roof", "window", "door", "carpet", "chimney"), ("repair", "clean", "protect")),
}
"""Topic -> (things, verbs); no thing belongs to two topics."""

TEST_TOPICS = ("bicycle", "sleep", "laundry", "language")
"""Nobody votes on these; every evaluation is on them."""


@dataclass(frozen=True)
class Question:
    """A question of one topic, with what an answer needs to know about it."""

    topic: str
    verb: str
    thing: str
    text: str


def questions() -> tuple[Question, ...]:
    """Every question of the grammar (1,200), in a fixed order."""
    return tuple(
        Question(topic, verb, thing, form.format(verb=verb, thing=thing))
        for topic, (things, verbs) in TOPICS.items()
        for thing in things
        for verb in verbs
        for form in _FORMS
    )


def answer(question: Question, levels: Levels, draw: Draw) -> str:
    """An answer with exactly these `levels`; which slots are high and which phrases stand in them is random."""
    words = {"thing": question.thing, "verb": question.verb}
    for axis, level in enumerate(levels):
        names = [name for name, slot in SLOTS.items() if slot.axis == axis]
        for position, name in enumerate(draw.shuffled(names)):
            slot = SLOTS[name]
            phrases = slot.high if position < level else slot.low
            phrase = draw.pick(phrases) if phrases else ""
            words[name] = f" {phrase}" if phrase and not slot.low else phrase
    return _PATTERN.format(**words)
