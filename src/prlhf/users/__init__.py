"""User models: which row belongs to whom (`UserIndex`), and what embedding a row gives (`UserModel`)."""

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
