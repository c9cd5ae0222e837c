"""The base of every settings model."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(gt=0, lt=1)]
Scale = Annotated[float, Field(gt=0, le=8)]
"""Factor on the size of an image."""


class Settings(BaseModel):
    """Frozen, strict about names: a key nobody reads is an error, never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
