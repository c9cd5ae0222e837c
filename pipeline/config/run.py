"""The keys every method's configuration has."""

from pydantic import Field

from pipeline.config.base import Settings
from pipeline.config.data import DataSettings
from pipeline.config.runtime import RuntimeSettings


class RunConfig(Settings):
    """Keys shared by all methods; ``pipeline.config.methods.<method>.Config`` adds the rest."""

    run: str = Field(pattern=r"^[A-Za-z0-9][\w.-]*$", description="name of the run; results lie in results/<run>")
    method: str = Field(description="which method; a file of workflow/rules and of pipeline/config/methods")
    seed: int = Field(default=0, ge=0, description="seed of every random choice of the run")
    runtime: RuntimeSettings = RuntimeSettings()
    data: DataSettings
