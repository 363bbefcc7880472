"""What every test shares: no network, one thread, a cache of its own, tiny base models."""

import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

from tiny_models import make_model, make_tokenizer

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRLHF_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory):
    """`base_folder(architecture, bos=, chat=, dtype=, …)`: a folder with a tiny model and its tokenizer, made once."""
    made: dict[str, Path] = {}

    def folder(
        architecture: str = "llama",
        *,
        bos: bool = True,
        chat: bool = False,
        dtype: torch.dtype = torch.float32,
        **options,
    ):
        key = "-".join(map(str, (architecture, bos, chat, dtype, *sum(options.items(), ())))).replace(".", "-")
        if key not in made:
            path = tmp_path_factory.mktemp("bases") / key
            make_model(architecture, dtype, **options).save_pretrained(path)
            make_tokenizer(bos=bos, chat=chat).save_pretrained(path)
            made[key] = path
        return str(made[key])

    return folder
