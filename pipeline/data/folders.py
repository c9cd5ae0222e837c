"""Folders of images that all show one class."""

from pathlib import Path

from pipeline.artifacts.manifest import ImageRecord
from pipeline.config.classes import ClassTable
from pipeline.config.extra import ExtraSettings
from pipeline.data.images import image_size
from pipeline.errors import PseudomaskError


def folder_files(settings: ExtraSettings, root: Path) -> list[Path]:
    """The images below data root ``root``, folder by folder, each sorted by name.

    Raises:
        PseudomaskError: a folder does not exist or holds no image.
    """
    return [path for name in settings.folders for path in _images(settings, root, name)]


def folder_records(settings: ExtraSettings, root: Path, classes: ClassTable) -> list[ImageRecord]:
    """A row for every image; its id is ``<folder>/<name>``, its tag the class of the folder.

    Raises:
        PseudomaskError: as for :func:`folder_files`; or a class is unknown or an image unreadable.
    """
    records = []
    for name, class_name in settings.folders.items():
        tag = classes.index(class_name, f"extra.folders.{name}")
        for path in _images(settings, root, name):
            image_id = f"{name}/{path.stem}"
            height, width = image_size(path, image_id)
            relative = path.relative_to(root).as_posix()
            records.append(ImageRecord(image_id, relative, (settings.split,), height, width, (tag,)))
    return records


def _images(settings: ExtraSettings, root: Path, name: str) -> list[Path]:
    folder = root / settings.root / name
    found = sorted(folder.glob(f"*{settings.extension}"))
    if not found:
        raise PseudomaskError(
            f"extra.folders: {folder} holds no image *{settings.extension}; check extra.root and the folder's name"
        )
    return found[: settings.limit]
