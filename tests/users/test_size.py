"""The size of a user table is told before it is allocated, with a way out where it is foolish or impossible."""

import logging

import pytest
import torch

from prlhf.config import Cluster, Individual, LowRank, ModelConfig, Uniform
from prlhf.errors import ConfigError
from prlhf.lm import PersonalizedLM
from prlhf.users import check_size, new_user_model, oversize, training_bytes

GB = 10**9


def planned(config, n, width):
    with torch.device("meta"):
        return new_user_model(config, n, width)


@pytest.mark.parametrize(
    ("config", "numbers"),
    [
        # rows x (their numbers + two of the optimiser's), and four for each shared number
        (Individual(tokens=2), 11 * (2 * 8 + 2) + 4 * 2 * 8),
        (Individual(tokens=2, common=False), 11 * (2 * 8 + 2)),
        (Cluster(tokens=2, clusters=3), 11 * (3 + 2) + 4 * 3 * 2 * 8),
        (LowRank(tokens=2, rank=3), 11 * (3 + 2) + 4 * (1 + 3) * 2 * 8),
        (Uniform(tokens=2), 4 * 2 * 8),
        (Uniform(), 0),
    ],
)
def test_bytes_in_training_by_hand(config, numbers):
    assert training_bytes(planned(config, 11, 8)) == 4 * numbers


def test_ten_million_users_with_sixteen_factors_leave_room_for_their_ids_in_two_gigabytes():
    needed = training_bytes(planned(LowRank(tokens=4, rank=16), 10**7 + 1, 256))
    assert needed == 4 * ((10**7 + 1) * 18 + 4 * 17 * 4 * 256)
    ids = 10**7 * (8 + 12 + 3 * 8)  # offset, a dozen bytes, and row, count and version
    assert needed + ids <= 2 * GB


def test_a_table_that_is_no_trouble_is_not_mentioned(caplog):
    with caplog.at_level(logging.INFO):
        check_size(Individual(), 100, 256, trained=10**6, free=20 * GB)
    assert [r.levelname for r in caplog.records] == ["INFO"]
    assert oversize(LowRank(), 10**6, 256, trained=10, free=20 * GB) is None


def test_a_large_individual_table_is_told_in_gigabytes_and_the_small_way_is_named(caplog):
    check_size(Individual(), 200_001, 4096, free=50 * GB)
    [record] = [record for record in caplog.records if record.levelname == "WARNING"]
    assert record.message == (
        "user_model.type = individual: 200,000 users with 40,960 numbers each take 32.8 GB of memory in training, and "
        "50.0 GB are free. `low_rank` with 8 numbers each takes 13.9 MB: --set user_model.type=low_rank"
    )


def test_more_numbers_than_the_language_model_has_are_told_whatever_the_memory():
    found = oversize(Individual(tokens=10), 1001, 100, trained=50_000, free=1000 * GB)
    assert found is not None and "that is 20 times the parameters trained in the language model" in found
    assert oversize(Individual(tokens=10), 501, 100, trained=50_000, free=1000 * GB) is not None
    assert oversize(Individual(tokens=10), 401, 100, trained=50_000, free=1000 * GB) is None


@pytest.mark.parametrize(
    ("config", "way_out"),
    [
        (Individual(tokens=10), "--set user_model.type=low_rank"),
        (LowRank(tokens=10, rank=64), "a smaller user_model.rank"),
        (Cluster(tokens=10, clusters=64), "fewer user_model.clusters"),
    ],
)
def test_what_cannot_fit_is_an_error_with_a_way_out(config, way_out):
    with pytest.raises(ConfigError, match="does not fit") as error:
        check_size(config, 10**9, 64, free=16 * GB)
    assert way_out in str(error.value) and "16.0 GB are free" in str(error.value)


def test_nothing_is_allocated_before_the_size_is_told(base_folder, monkeypatch):
    def too_late(*_, **__):
        pytest.fail("the table was made")

    monkeypatch.setattr("prlhf.lm.personalized.make_user_model", too_late)
    monkeypatch.setattr("prlhf.users.size.free_memory", lambda: 1000)
    with pytest.raises(ConfigError, match="individual: 3 users with 320 numbers each"):
        PersonalizedLM.create(ModelConfig(base=base_folder()), Individual(tokens=10), ["a", "b", "c"])
