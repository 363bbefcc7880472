"""The base of every configuration model: frozen, and an unknown key is an error."""

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

__all__ = ["Config"]


class Config(BaseModel):
    """A frozen pydantic model that refuses unknown keys; a union without `type` is its default variant."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, protected_namespaces=())

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
