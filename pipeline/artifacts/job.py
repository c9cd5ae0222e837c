"""What a stage is told beside its settings and files: how to run, not what to compute."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.artifacts.manifest import Manifest
from pipeline.config.runtime import RuntimeSettings


@dataclass(frozen=True)
class Job:
    """One execution of a stage.

    Attributes:
        name: name of the stage in its run, for logs and pictures.
        key: key of the stage; equal keys mean equal results.
        runtime: devices, workers, data folder.
        scratch: folder that survives a kill and belongs to this key alone; training checkpoints live there.
        shard: (index, count); a sharded stage handles that part of the manifest.
    """

    name: str
    key: str
    runtime: RuntimeSettings
    scratch: Path
    shard: tuple[int, int] = (0, 1)

    def part(self, manifest: Manifest) -> Manifest:
        """The images of the manifest this job handles."""
        return manifest.shard(*self.shard)
