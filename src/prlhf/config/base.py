"""The base of every configuration model: frozen, and an unknown key is an error."""

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from prlhf.config.explain import explain
from prlhf.config.options import Options
from prlhf.errors import ConfigError

__all__ = ["Config"]


def _explaining(metaclass: Any) -> Any:
    """A metaclass by which `Config(...)` in Python raises ConfigError; `model_validate` stays pydantic's own."""

    class Explained(metaclass):  # type: ignore[misc]
        def __call__(cls, *args: Any, **options: Any) -> Any:
            try:
                return super().__call__(*args, **options)
            except ValidationError as e:
                known = Options(cls)
                raise ConfigError("\n".join(explain(known, error) for error in e.errors())) from e

    return Explained


_Explained: Any = _explaining(type(BaseModel))  # whose own name is not public


class Config(BaseModel, metaclass=_Explained):
    """A frozen pydantic model that refuses unknown keys; a union without `type` is its default variant.

    Raises:
        ConfigError: an unknown option (the message names the nearest), or a value that does not fit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, protected_namespaces=())

    @classmethod
    def options_in(cls, held: dict[str, Any]) -> dict[str, Any]:
        """The options among what a result kept as `config.json`; here that is nothing else."""
        return held

    @model_validator(mode="before")
    @classmethod
    def _default_variants(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        data = dict(data)
        for name, field in cls.model_fields.items():
            value = data.get(name)
            if field.discriminator and isinstance(value, dict) and "type" not in value:
                data[name] = {"type": field.get_default().type, **value}
        return data
