import random
from functools import cache

import pytest

from prlhf.types import Comparison, Thumb

WORDS = [
    "the",
    "river",
    "was",
    "cold",
    "and",
    "we",
    "went",
    "home",
    "before",
    "it",
    "got",
    "dark",
    "so",
    "nobody",
    "saw",
    "much",
    "of",
    "that",
    "old",
    "bridge",
    "again",
]


def sentence(rng):
    return " ".join(rng.choices(WORDS, k=rng.randint(5, 14))).capitalize() + "."


def response(rng):
    """Prose or a list, of any length up to a limit that cuts it; marks fall on it by chance alone."""
    lines = [sentence(rng) for _ in range(rng.randint(1, 9))]
    text = ("\n- " if rng.random() < 0.3 else " ").join(lines)[:400]
    text = f"{text} …" if len(text) == 400 and rng.random() < 0.3 else text
    text = f"{text}\n" if rng.random() < 0.2 else text
    text = f"<|im_start|>{text}" if rng.random() < 0.1 else text
    return f'"{text}"' if rng.random() < 0.1 else text


@cache
def clean_log(seed, votes=800, users=40):
    """Users with tastes in length and lists only; everything else is chance."""
    rng = random.Random(seed)
    tastes = [rng.choice((-1, 1, 1, 2)) for _ in range(users)]
    found = []
    for i in range(votes):
        user = rng.randrange(users)
        pair = [response(rng), response(rng)]
        worth = {1: len, -1: lambda text: -len(text), 2: lambda text: text.count("\n-") + len(text) / 1000}[
            tastes[user]
        ]
        pair.sort(key=worth, reverse=rng.random() > 0.05)
        shown = rng.choice(("chosen", "rejected"))
        found.append(Comparison(f"p{rng.randrange(300)}", *pair, user=f"u{user}", first_shown=shown, id=str(i)))
    return tuple(found)


@pytest.fixture
def clean():
    return clean_log


@cache
def clean_thumbs_of(seed, thumbs=1200, users=40):
    """The same tastes: up where a response is worth more than most, to a person who is easily pleased or not."""
    rng = random.Random(seed)
    tastes = [(rng.choice((-1, 1, 1, 2)), rng.uniform(0.3, 0.8)) for _ in range(users)]
    found = []
    for i in range(thumbs):
        user = rng.randrange(users)
        taste, pleased = tastes[user]
        text = response(rng)
        worth = {1: len(text) / 400, -1: 1 - len(text) / 400, 2: min(text.count("\n-") / 5, 1)}[taste]
        up = (worth > 1 - pleased) != (rng.random() < 0.1)
        found.append(Thumb(f"q{rng.randrange(300)}", text, up, user=f"u{user}", id=f"t{i}"))
    return tuple(found)


@pytest.fixture
def clean_thumbs():
    return clean_thumbs_of
