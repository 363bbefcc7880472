"""Numbers and names in sentences."""

from prlhf.words import counted, some


def test_one_and_many():
    assert [counted(n, "vote") for n in (0, 1, 2, 1234)] == ["0 votes", "1 vote", "2 votes", "1,234 votes"]


def test_the_first_of_many():
    assert some([]) == "" and some(["ann", "bob"]) == "ann, bob" and some(range(7), 2) == "0, 1, …"
