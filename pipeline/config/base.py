"""The base of every settings model."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Frozen, strict about names: a key nobody reads is an error, never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
