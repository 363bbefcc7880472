"""How many comparisons share a forward pass where no gradient is taken."""

from prlhf.lm.layout import slices


def test_batches_are_bounded_in_number_and_in_tokens():
    short = [(2, 10)] * 5
    assert slices(short, 2, 1000) == [slice(0, 2), slice(2, 4), slice(4, 5)]
    assert slices(short, 9, 60) == [slice(0, 3), slice(3, 5)]  # 3 * 2 rows of 10 tokens
    assert slices([], 9, 60) == []


def test_padding_counts_and_a_long_one_is_alone():
    extents = [(1, 10), (1, 10), (1, 25), (1, 200), (1, 10)]
    # with the third the batch would have 3 rows of 25 tokens
    assert slices(extents, 9, 60) == [slice(0, 2), slice(2, 3), slice(3, 4), slice(4, 5)]
