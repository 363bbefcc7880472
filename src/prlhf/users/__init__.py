"""User models: which row belongs to whom (`UserIndex`), and what embedding a row gives (`UserModel`). Names load on
first use: an index needs no torch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prlhf.users.base import UserModel
    from prlhf.users.index import Ids, UserIndex
    from prlhf.users.models import (
        ClusterModel,
        IndividualModel,
        LowRankModel,
        UniformModel,
        make_user_model,
        new_user_model,
        subset,
    )
    from prlhf.users.size import check_size, oversize, training_bytes
    from prlhf.users.store import load_users, save_users

_PUBLIC = {
    "ClusterModel": "prlhf.users.models",
    "Ids": "prlhf.users.index",
    "IndividualModel": "prlhf.users.models",
    "LowRankModel": "prlhf.users.models",
    "UniformModel": "prlhf.users.models",
    "UserIndex": "prlhf.users.index",
    "UserModel": "prlhf.users.base",
    "check_size": "prlhf.users.size",
    "load_users": "prlhf.users.store",
    "make_user_model": "prlhf.users.models",
    "new_user_model": "prlhf.users.models",
    "oversize": "prlhf.users.size",
    "save_users": "prlhf.users.store",
    "subset": "prlhf.users.models",
    "training_bytes": "prlhf.users.size",
}

__all__ = [
    "ClusterModel",
    "Ids",
    "IndividualModel",
    "LowRankModel",
    "UniformModel",
    "UserIndex",
    "UserModel",
    "check_size",
    "load_users",
    "make_user_model",
    "new_user_model",
    "oversize",
    "save_users",
    "subset",
    "training_bytes",
]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'prlhf.users' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
