"""One contract for all user models, and each model's equation by hand."""

import copy

import pytest
import torch

from prlhf.config import Cluster, Individual, LowRank, Uniform
from prlhf.errors import ConfigError, UnknownUserError
from prlhf.users import UniformModel, make_user_model

N, WIDTH, TOKENS = 6, 5, 3
GENERIC = [
    Uniform(tokens=TOKENS),
    Individual(tokens=TOKENS),
    Individual(tokens=TOKENS, common=False),
    Cluster(tokens=TOKENS, clusters=4),
    LowRank(tokens=TOKENS, rank=4),
]
VOCABULARY_START = [c.model_copy(update={"start": "vocabulary"}) for c in GENERIC[1:]]
ALL = GENERIC + VOCABULARY_START


def name(config):
    bare = "" if getattr(config, "common", True) else "-bare"
    return f"{config.type}{bare}-{getattr(config, 'start', 'generic')}"


every_model = pytest.mark.parametrize("config", ALL, ids=name)
every_table = pytest.mark.parametrize("config", [c for c in ALL if c.type != "uniform"], ids=name)
generic_start = pytest.mark.parametrize("config", GENERIC, ids=name)
own_rows = pytest.mark.parametrize("config", [c for c in GENERIC if c.type != "uniform"], ids=name)


@pytest.fixture
def vocabulary():
    return torch.randn(40, WIDTH, generator=torch.Generator().manual_seed(5))


def make(config, vocabulary, n=N, seed=0):
    return make_user_model(config, n, vocabulary, seed)


def move_users_apart(model):
    """What training does: every user but the generic one gets a state of their own."""
    if model.table is not None:
        with torch.no_grad():
            model.table.weight[1:] += torch.randn(
                model.table.weight[1:].shape, generator=torch.Generator().manual_seed(8)
            )
    return model


@every_model
def test_shapes_type_and_seed(config, vocabulary):
    model = make(config, vocabulary)
    assert (model.n, model.tokens, model.width, model.config) == (N, TOKENS, WIDTH, config)
    out = model(torch.tensor([2, 0]))
    assert out.shape == (2, TOKENS, WIDTH) and out.dtype == torch.float32
    assert model(torch.zeros(4, 2, dtype=torch.long)).shape == (4, 2, TOKENS, WIDTH)
    assert model(torch.zeros(0, dtype=torch.long)).shape == (0, TOKENS, WIDTH)
    same, other = make(config, vocabulary), make(config, vocabulary, seed=1)
    rows = torch.arange(N)
    assert torch.equal(model(rows), same(rows)) and not torch.equal(model(rows), other(rows))


@every_model
def test_a_batch_equals_its_singles_bit_for_bit(config, vocabulary):
    model = move_users_apart(make(config, vocabulary))
    rows = torch.tensor([3, 0, 5, 3, 1])
    singles = torch.cat([model(row[None]) for row in rows])
    assert torch.equal(model(rows), singles)
    assert torch.equal(model(rows)[0], model(rows)[3])


@generic_start
def test_at_the_default_start_every_user_is_the_generic_one(config, vocabulary):
    model = make(config, vocabulary)
    out = model(torch.arange(N))
    assert torch.equal(out, out[:1].expand_as(out))
    assert out.abs().sum() > 0
    assert model.penalty(torch.arange(N)).tolist() == [0.0] * N


@pytest.mark.parametrize("config", VOCABULARY_START, ids=name)
def test_at_the_vocabulary_start_users_differ(config, vocabulary):
    out = make(config, vocabulary)(torch.arange(N)).flatten(1)
    assert torch.pdist(out).min() > 1e-3


@every_model
def test_a_step_from_the_start_moves_the_user(config, vocabulary):
    model = make(config, vocabulary)
    target = torch.randn(2, TOKENS, WIDTH, generator=torch.Generator().manual_seed(1))
    (model(torch.tensor([2, 4])) * target).sum().backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert any(g.abs().sum() > 0 for g in gradients)
    if model.table is not None:  # the state itself moves: no user is stuck at the generic start
        assert (model.table.weight.grad.to_dense()[[2, 4]] != 0).all()


@every_table
def test_gradients_are_sparse_and_touch_only_rows_of_the_batch(config, vocabulary):
    model = make(config, vocabulary)
    (model(torch.tensor([4, 2, 4, 0])).square().sum() + model.penalty(torch.tensor([2])).sum()).backward()
    gradient = model.table.weight.grad
    assert gradient.is_sparse
    assert gradient.coalesce().indices()[0].tolist() == ([2, 4] if model.pinned else [0, 2, 4])
    assert all(not p.grad.is_sparse for key, p in model.named_parameters() if not key.startswith("table"))


@pytest.mark.parametrize(
    ("config", "pinned"),
    [
        (Individual(tokens=2), True),
        (Individual(tokens=2, common=False), False),
        (LowRank(tokens=2), True),
        (Cluster(tokens=2), False),
    ],
)
def test_the_generic_state_is_pinned_where_there_is_a_common_part(config, pinned, vocabulary):
    for start in ("generic", "vocabulary"):
        model = make(config.model_copy(update={"start": start}), vocabulary)
        assert model.pinned is pinned
        if pinned:
            assert (model.state(torch.tensor([0])) == 0).all()
            assert torch.equal(model(torch.tensor([0]))[0], model.common)


@every_table
def test_penalty_is_half_the_squared_distance_from_the_generic_state(config, vocabulary):
    model = move_users_apart(make(config, vocabulary))
    rows = torch.tensor([0, 2, 5])
    state = model.state(rows).detach().double()
    by_hand = [0.5 * float(((s - state[0]) ** 2).sum()) for s in state]
    assert model.penalty(rows).tolist() == pytest.approx(by_hand, rel=1e-5)
    assert model.penalty(rows)[0] == 0 and model.penalty(rows[None].expand(2, 3)).shape == (2, 3)
    model.penalty(rows).sum().backward()
    gradient = model.table.weight.grad.to_dense()
    assert torch.allclose(gradient[2], model.table.weight[2] - model.table.weight[0])
    assert (gradient[0] == 0).all(), "users are pulled to the generic one, never it to them"


@every_model
def test_adding_users_keeps_all_others_and_starts_at_the_generic_one(config, vocabulary):
    model = move_users_apart(make(config, vocabulary))
    before = model(torch.arange(N)).detach()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    model.add(3)
    after = model(torch.arange(N + 3))
    assert model.n == N + 3 and torch.equal(after[:N], before)
    assert torch.equal(after[N:], before[:1].expand(3, -1, -1))
    for key, value in model.state_dict().items():
        assert torch.equal(value[:N] if key == "table.weight" else value, state[key])
    assert model.penalty(torch.tensor([N + 1])).tolist() == [0.0]
    assert all(p.requires_grad for p in model.parameters())
    if model.table is not None:
        after.sum().backward()
        assert model.table.weight.grad.is_sparse


@every_model
@pytest.mark.parametrize("row", [-1, N, 10**9])
def test_a_row_outside_the_table_is_an_error(config, row, vocabulary):
    model = make(config, vocabulary)
    for method in (model, model.state, model.penalty):
        with pytest.raises(UnknownUserError, match=f"row {row} is outside the user table"):
            method(torch.tensor([0, row]))


@every_model
def test_no_user_tokens(config, vocabulary):
    model = make(config.model_copy(update={"tokens": 0}), vocabulary)
    rows = torch.tensor([1, 0])
    assert model(rows).shape == (2, 0, WIDTH) and model.penalty(rows).tolist() == [0.0, 0.0]
    assert list(model.parameters()) == [] and model.table is None
    model.add(2)
    assert model(torch.tensor([N + 1])).shape == (1, 0, WIDTH)
    with pytest.raises(UnknownUserError):
        model(torch.tensor([N + 2]))


@every_model
def test_copies_and_gradient_check(config, vocabulary):
    model = copy.deepcopy(move_users_apart(make(config, vocabulary))).double()
    rows = torch.tensor([1, 3])
    weight = torch.randn(2, TOKENS, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    loss = lambda: (model(rows) * weight).sum() + model.penalty(rows).sum()  # noqa: E731
    loss().backward()
    for key, p in model.named_parameters():
        gradient = (p.grad.to_dense() if p.grad.is_sparse else p.grad).flatten()
        index = (1 if key == "table.weight" else 0) * p[0].numel()
        flat = p.data.view(-1)
        old = flat[index].item()
        flat[index] = old + 1e-6
        up = loss().item()
        flat[index] = old - 1e-6
        down = loss().item()
        flat[index] = old
        assert (up - down) / 2e-6 == pytest.approx(gradient[index].item(), rel=1e-5, abs=1e-8)


def test_individual_by_hand(vocabulary):
    # e_2 = e_0 + o_2 = (1, 2) + (10, -1) = (11, 1), t = 1, d = 2
    model = make_user_model(Individual(tokens=1), 3, torch.ones(4, 2))
    with torch.no_grad():
        model.common.copy_(torch.tensor([[1.0, 2.0]]))
        model.table.weight[2] = torch.tensor([10.0, -1.0])
    assert model(torch.tensor([2, 0])).tolist() == [[[11.0, 1.0]], [[1.0, 2.0]]]
    assert model.penalty(torch.tensor([2])).tolist() == [50.5]  # (100 + 1) / 2


def test_cluster_by_hand():
    # softmax(ln 3, 0) = (3/4, 1/4); e = 3/4 (4, 0) + 1/4 (0, 8) = (3, 2); the generic user: 1/2 and 1/2 = (2, 4)
    model = make_user_model(Cluster(tokens=1, clusters=2), 2, torch.ones(4, 2))
    with torch.no_grad():
        model.centres.copy_(torch.tensor([[[4.0, 0.0]], [[0.0, 8.0]]]))
        model.table.weight[1] = torch.tensor([3.0, 1.0]).log()
    assert torch.allclose(model(torch.tensor([1, 0])), torch.tensor([[[3.0, 2.0]], [[2.0, 4.0]]]))


def test_low_rank_by_hand():
    # e = (1, 1) + 2 (1, 0) - 3 (0, 1) = (3, -2), and the opposite user (-1, 4): factors are signed
    model = make_user_model(LowRank(tokens=1, rank=2), 3, torch.ones(4, 2))
    with torch.no_grad():
        model.common.copy_(torch.ones(1, 2))
        model.directions.copy_(torch.eye(2)[:, None])
        model.table.weight[1:] = torch.tensor([[2.0, -3.0], [-2.0, 3.0]])
    assert model(torch.arange(3)).tolist() == [[[1.0, 1.0]], [[3.0, -2.0]], [[-1.0, 4.0]]]


def test_starts_are_at_the_scale_of_the_vocabulary(vocabulary):
    rows = {tuple(row) for row in vocabulary.tolist()}
    for config in [Uniform(tokens=3), Individual(tokens=3), Individual(tokens=3, common=False), LowRank(tokens=3)]:
        generic = make(config, vocabulary)(torch.tensor([0]))[0]
        assert {tuple(row) for row in generic.tolist()} <= rows and len(generic.unique(dim=0)) == 3
    centres = make(Cluster(tokens=3, clusters=2), vocabulary).centres
    assert {tuple(row) for row in centres.flatten(0, 1).tolist()} <= rows
    big = make(LowRank(tokens=8, rank=64), 0.02 * vocabulary)
    assert big.directions.std().item() == pytest.approx(1, rel=0.1)  # factors are in units of the embedding
    offsets = make(Individual(tokens=3, start="vocabulary"), vocabulary).state(torch.arange(1, N)).reshape(-1, WIDTH)
    assert {tuple(row) for row in offsets.tolist()} <= rows


def test_a_vocabulary_smaller_than_the_table_and_other_types_are_fine():
    model = make_user_model(Individual(tokens=4, start="vocabulary"), 5000, torch.randn(3, 2).to(torch.float64))
    assert model.table.weight.shape == (5000, 8) and model.table.weight.dtype == torch.float32
    assert (model.table.weight[1:].abs().sum(1) > 0).all()


def test_impossible_sizes_are_refused(vocabulary):
    with pytest.raises(ConfigError, match="at least the generic user's row"):
        make_user_model(Uniform(), 0, vocabulary)
    with pytest.raises(ConfigError, match=r"vocabulary is a matrix"):
        make_user_model(Uniform(), 2, vocabulary[0])
    assert isinstance(make_user_model(Uniform(), 1, vocabulary), UniformModel)


@pytest.mark.parametrize(
    ("config", "scale"),
    [
        (Individual(), 0.02),
        (LowRank(), 0.02),  # directions of size 1
        (LowRank(start="vocabulary"), 1.0),
        (Cluster(), 1.0),  # logits
        (Cluster(start="vocabulary"), 1.0),
    ],
)
def test_the_scale_of_rows(config, scale):
    model = make_user_model(config, 3, 0.02 * torch.randn(50, 8, generator=torch.Generator().manual_seed(0)))
    assert model.row_scale(0.02) == scale
