"""The user's files that proposals are made from, beside images."""

from pathlib import Path

from pipeline.config.data import DataSettings
from pipeline.config.methods.mdh import ProposalSettings, Source
from pipeline.data.importing import image_ids


def proposal_files(settings: ProposalSettings, source: Source, data: DataSettings, root: Path) -> list[Path]:
    """Files of one source of proposals; opens id lists alone.

    Raises:
        PseudomaskError: a list is missing.
    """
    if data.source == "scenes":
        return []
    if source == "mcg" and settings.mcg is not None:
        return [root / settings.mcg.folder / f"{image_id}.mat" for image_id in image_ids(data, root)]
    if source == "grouping" and settings.grouping.edges is not None:
        return [root / settings.grouping.edges / f"{image_id}.png" for image_id in image_ids(data, root)]
    return []
