"""Which requests share a batch, and which beginnings are computed once."""

from prlhf.lm.batching import Batch, plan


def text(*parts: tuple[int, int]) -> list[int]:
    """`(token, times)`, …"""
    return [token for token, times in parts for _ in range(times)]


def test_like_answers_and_like_prompts_share_a_batch():
    prompts = [text((1, n)) for n in (5, 3, 9, 4)]
    assert plan(prompts, [8] * 4, 2, share=False) == [Batch((1, 3)), Batch((0, 2))]
    assert plan(prompts, [8, 2, 8, 2], 2, share=False) == [Batch((1, 3)), Batch((0, 2))]
    assert plan(prompts, [8, 2, 2, 8], 2, share=False) == [Batch((1, 2)), Batch((3, 0))]
    assert plan([], [], 2, share=True) == []


def test_a_prompt_without_room_for_the_answers_of_its_batch_stays_alone():
    prompts = [text((1, n)) for n in (5, 3, 9, 4)]
    assert plan(prompts, [8] * 4, 4, share=False, context=16) == [Batch((1, 3, 0)), Batch((2,))]
    (roomy, *alone) = plan(prompts, [2, 2, 2, 8], 4, share=False, context=12)
    assert set(roomy.rows) == {1, 3} and {b.rows for b in alone} == {(0,), (2,)}


def test_a_common_beginning_is_computed_once():
    prompts = [[*text((1, 100)), 10 + i, *text((2, i))] for i in range(4)]
    (batch,) = plan(prompts, [8] * 4, 4, share=True)
    assert batch == Batch((0, 1, 2, 3), (100,) * 4)
    assert batch.beginnings(prompts) == [tuple(text((1, 100)))] and batch.rests(prompts) == [1, 2, 3, 4]
    assert plan(prompts, [8] * 4, 4, share=False) == [Batch((0, 1, 2, 3))]


def test_samples_of_a_prompt_leave_one_token_to_go_on_from():
    prompts = [text((1, 50))] * 3 + [text((2, 40))] * 3
    (batch,) = plan(prompts, [8] * 6, 8, share=True)
    assert dict(zip(batch.rows, batch.shared, strict=True)) == {0: 49, 1: 49, 2: 49, 3: 39, 4: 39, 5: 39}
    assert len(batch.beginnings(prompts)) == 2


def test_groups_within_a_group_part_where_it_saves_most():
    document = {k: text((1, 20), (k, 80)) for k in (5, 6)}
    prompts = [[*document[5 + i % 2], 10 + i] for i in range(8)]
    assert {b.shared for b in plan(prompts, [8] * 8, 4, share=True)} == {(100,) * 4}
    many = [[*text((1, 80)), 5 + i, 7, 7] for i in range(8)]
    assert {b.shared for b in plan(many, [8] * 8, 4, share=True)} == {(80,) * 4}


def test_what_saves_too_little_is_not_shared():
    short = [[1, 2, 3, 10 + i] for i in range(8)]
    assert plan(short, [8] * 8, 8, share=True) == [Batch(tuple(range(8)))]
    alone = [[10 + i, *text((1, 100))] for i in range(8)]
    assert plan(alone, [8] * 8, 8, share=True) == [Batch(tuple(range(8)))]


def test_padding_within_a_row_stays_out_of_windows_that_would_count_it():
    ragged = [[*text((1, 100)), *text((10 + i, 1 + i))] for i in range(4)]
    even = [[*text((1, 100)), 10 + i] for i in range(4)]
    for prompts, length, shares in ((ragged, 64, False), (ragged, 112, True), (even, 64, True)):
        (batch,) = plan(prompts, [8] * 4, 4, share=True, window=length)
        assert bool(batch.shared) is shares
    wide = [*even[:3], text((2, 20))]  # 100 columns for beginnings, 20 for rests
    for context, shares in ((127, False), (128, True)):
        (batch,) = plan(wide, [8] * 4, 4, share=True, context=context)
        assert bool(batch.shared) is shares
