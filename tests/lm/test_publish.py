"""What reaches the hub: a model that loads, and not one word of or about its users."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub.errors import HfHubHTTPError

import prlhf.lm.publish as publish
from prlhf.config import Cluster, Full, Individual, Lora, LowRank, ModelConfig, Uniform
from prlhf.errors import CheckpointError, ConfigError
from prlhf.lm import PersonalizedLM
from prlhf.lm.merging import merged
from prlhf.lm.publish import hashed_id, write_public
from prlhf.lm.publish_card import THUMBS
from prlhf.users import UserIndex

USERS = ["planted-user-ann", "planted-user-bob", "planted-user-zoë"]
SECRETS = [*USERS, "planted-prompt", "planted-response", "planted-group", "planted-path"]
ESTIMATE = {"value": 0.75, "low": 0.7, "high": 0.8, "standard_error": None, "users": 3, "comparisons": 40}


@torch.no_grad()
def trained(base: str = "planted", user_model=None, tuning=None, **options) -> PersonalizedLM:
    config = ModelConfig(base=base, tuning=tuning or Lora(), **options)
    lm = PersonalizedLM.create(config, user_model or Individual(tokens=2), USERS, seed=1)
    lm.users = lm.users.counted([USERS[0]] * 7)
    torch.manual_seed(2)
    for p in lm.parameters():
        if p.requires_grad:
            p.add_(torch.randn_like(p) * 0.1)
    return lm.eval()


@pytest.fixture
def run(tmp_path) -> Path:
    """A run's folder whose files hold, beside the numbers, all that must not get out."""
    folder = tmp_path / "planted-path" / "run"
    folder.mkdir(parents=True)
    notes = " ".join(SECRETS)
    data = {"source": f"/{notes}", "fingerprint": "0123456789abcdef", "notes": notes, "attribution": notes}
    overall = {"accuracy_seen": ESTIMATE, "personal_gain": {**ESTIMATE, "low": None}, notes: ESTIMATE}
    overall["accuracy_generic"] = {"value": notes}
    measured = {"overall": overall, "comparisons": 40, "users": 3, "groups": {"planted-group": {}}, notes: 1}
    (folder / "data.json").write_text(json.dumps(data))
    (folder / "evaluation.json").write_text(json.dumps(measured))
    return folder


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub in a folder: what was called, and the files that were uploaded."""
    calls: list[tuple] = []

    class Api:
        def __init__(self, token=None):
            calls.append(("token", token))

        def create_repo(self, repo_id, *, private, exist_ok):
            calls.append(("create_repo", repo_id, private, exist_ok))
            return f"https://hub/{repo_id}"

        def repo_info(self, repo_id):
            return SimpleNamespace(private=place.private)

        def upload_folder(self, *, repo_id, folder_path, commit_message):
            calls.append(("upload_folder", repo_id, commit_message))
            Path(folder_path).rename(tmp_path / "uploaded")

    place = SimpleNamespace(calls=calls, folder=tmp_path / "uploaded", private=True)
    monkeypatch.setattr(publish, "HfApi", Api)
    return place


def leaks(folder: Path, secrets) -> list[str]:
    """Which files hold one of the words, in any of the ways in which they may be written."""
    found = []
    for path in folder.rglob("*"):
        held = path.read_bytes() if path.is_file() else b""
        words = [form for s in secrets for form in (s.encode(), json.dumps(s).strip('"').encode())]
        found += [f"{path.name}: {w!r}" for w in words if w in held or w in str(path.relative_to(folder)).encode()]
    return found


def test_a_push(hub, run):
    lm = trained()
    assert lm.push_to_hub("me/mine", run=run, token="t") == "https://hub/me/mine"
    assert hub.calls == [
        ("token", "t"),
        ("create_repo", "me/mine", True, True),
        ("upload_folder", "me/mine", "Upload a prlhf model"),
    ]
    again = PersonalizedLM.from_pretrained(hub.folder)
    ids = torch.tensor([lm.encode_prompt("a question", 0)])
    assert torch.equal(again(ids).logits, lm(ids).logits)  # the generic user answers as before
    assert len(again.users) == 0 and again.user_model.n == 1


@pytest.mark.parametrize("users", ["none", "hashed"])
@pytest.mark.parametrize("tuning", [Lora(), Full()], ids=["lora", "full"])
def test_nothing_of_the_users_gets_out(base_folder, tmp_path, run, users, tuning):
    base = tmp_path / "planted-path" / "base"
    base.symlink_to(base_folder(), target_is_directory=True)
    lm = merged(trained(str(base), tuning=tuning))
    folder = write_public(lm, tmp_path / "out", users=users, salt="s" if users == "hashed" else None, run=run)
    assert leaks(folder, SECRETS) == []
    lora = write_public(trained(), tmp_path / "lora", run=run)  # of a base inside the package, by its name
    assert leaks(lora, [*SECRETS, str(Path(publish.__file__).parent)]) == []
    assert leaks(write_public(lm, tmp_path / "ids", users="ids"), SECRETS)  # the search does find them


def test_the_card(base_folder, tmp_path, run):
    text = (write_public(trained(), tmp_path / "out", run=run) / "README.md").read_text()
    for words in (
        "the feedback of 3 users",
        "| texts about users | none |",
        "`0123456789abcdef`",
        "`individual`, 2 user tokens at `start`",
        "| users in this repository | 0 and the generic one |",
        "On held-out votes (40 comparisons, 3 users)",
        "| accuracy, users with their own row | 0.750 | 0.700 to 0.800 |",
        "| own row minus generic row | 0.750 |  |",
        "## Intended use",
        "The rows of the users are not in this repository",
    ):
        assert words in text
    assert "base_model" not in text and "everybody with the generic row" not in text  # no numbers: not shown
    bare = write_public(trained(), tmp_path / "bare", intended_use="For tests.", users="hashed", salt="s")
    text = (bare / "README.md").read_text()
    for words in ("not given", "None given.", "For tests.", "These rows are personal data", "3 and the generic one"):
        assert words in text
    text = (write_public(trained(), tmp_path / "ids", users="ids") / "README.md").read_text()
    assert "**under the user's id**" in text and not any(user in text for user in USERS)


def test_the_card_of_a_run_on_thumbs_with_texts(tmp_path, run):
    path = run / "evaluation.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "of": THUMBS}))
    lm = trained()
    lm.with_user_text = True
    text = (write_public(lm, tmp_path / "out", run=run) / "README.md").read_text()
    assert "On held-out thumbs (40 pairs of thumbs, 3 users)" in text and "mostly to different prompts" in text
    assert "a prompt wants the text of its user" in text


@torch.no_grad()
@pytest.mark.parametrize("user_model", [Individual(tokens=2), Cluster(tokens=2, clusters=3), LowRank(tokens=2, rank=2)])
def test_hashed_users_keep_their_rows_and_nothing_else(tmp_path, user_model):
    lm = trained(user_model=user_model)
    again = PersonalizedLM.from_pretrained(write_public(lm, tmp_path / "out", users="hashed", salt="salty"))
    hashed = [hashed_id(user, "salty") for user in USERS]
    assert again.users.ids() == sorted(hashed) != hashed
    assert not again.users.counts.any() and lm.users.counts.any()
    theirs = again.user_model(torch.tensor(again.lookup([None, *hashed])))
    assert torch.equal(theirs, lm.user_model(torch.tensor([0, 1, 2, 3])))
    assert hashed_id(USERS[0], "other") != hashed[0] and len(hashed[0]) == 32


@torch.no_grad()
@pytest.mark.parametrize("user_model", [Uniform(tokens=2), Individual(tokens=2, common=False), Cluster(tokens=2)])
def test_without_users_the_generic_one_stays(tmp_path, user_model):
    lm = trained(user_model=user_model)
    again = PersonalizedLM.from_pretrained(write_public(lm, tmp_path / "out"))
    assert torch.equal(again.user_model(torch.tensor([0])), lm.user_model(torch.tensor([0])))
    assert again.user_model.n == 1 and lm.user_model.n == 4


def test_a_table_with_ids_is_as_it_was(tmp_path):
    lm = trained()
    write_public(lm, tmp_path / "out", users="ids")
    index = UserIndex.load(tmp_path / "out" / "user_model" / "users.parquet")
    assert index.ids() == USERS and index.counts.tolist() == lm.users.counts.tolist()


def test_a_public_repository_of_that_name_gets_nothing(hub):
    hub.private = False
    with pytest.raises(CheckpointError, match="is there already and public, and private=True was asked"):
        trained().push_to_hub("me/mine")
    assert not hub.folder.exists()
    trained().push_to_hub("me/mine", private=False)
    assert hub.folder.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"users": "all"}, "users: found 'all', expected one of none, hashed, ids"),
        ({"users": "hashed"}, "found users='hashed' and no salt"),
        ({"salt": "s"}, "found users='none' and a salt"),
    ],
)
def test_options_that_do_not_fit(hub, options, message):
    with pytest.raises(ConfigError, match=message):
        trained().push_to_hub("me/mine", **options)
    assert not hub.calls


def test_what_the_others_could_not_load_or_read(hub, base_folder, tmp_path):
    with pytest.raises(ConfigError, match="a folder that nobody else has; publish the merged model"):
        trained(base_folder()).push_to_hub("me/mine")
    with pytest.raises(CheckpointError, match=r"is no folder of `prlhf train` \(data.json"):
        trained().push_to_hub("me/mine", run=tmp_path)
    assert not hub.calls


def test_what_the_hub_refuses(hub, monkeypatch):
    def refuse(*args, **kwargs):
        response = SimpleNamespace(headers={}, request=None)
        raise HfHubHTTPError("401 Unauthorized\nmore", response=response)

    monkeypatch.setattr(publish.HfApi, "create_repo", refuse)
    with pytest.raises(CheckpointError, match=r"^me/mine cannot be written on the hub: 401 Unauthorized$"):
        trained().push_to_hub("me/mine")
