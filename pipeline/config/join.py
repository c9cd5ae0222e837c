"""How two data sets become one."""

from pydantic import Field

from pipeline.config.base import Settings


class JoinSettings(Settings):
    """Settings of the stage ``join_sets``."""

    split: str = Field(description="split of the second set that is added, several joined by +")
    name: str = Field(default="extra", description="split its images form")
