"""Where a data set lies and how its images, splits, tags and masks are read."""

from typing import Literal

from pydantic import Field, model_validator

from pipeline.config.base import Settings
from pipeline.config.classes import ClassTable
from pipeline.config.scenes import SceneSettings

Source = Literal["voc", "coco", "csv", "scenes"]
TagSource = Literal["boxes", "masks", "table", "none"]


class DataSettings(Settings):
    """One data set; paths are relative to ``root``, which is relative to the data root of the machine."""

    source: Source = Field(description="layout: voc (also SBD), coco (instances JSON), csv (folder and table), scenes")
    root: str = Field(default=".", description="folder of the data set")
    classes: ClassTable | None = Field(default=None, description="classes; coco may take them from its JSON")
    images: str = Field(default="JPEGImages", description="folder of images")
    extension: str = Field(default=".jpg", description="file extension of images, where ids have none")
    splits: dict[str, str] = Field(
        default_factory=dict, description="voc, csv: id list of each split; coco: instances JSON of each split"
    )
    tags: TagSource = Field(default="boxes", description="where image tags come from")
    table: str | None = Field(
        default=None,
        description="tags: CSV with columns id,tags (names joined by ;) or id and one 0/1 column per class; or a .npy "
        "dictionary {id: 0/1 vector} such as cls_labels.npy",
    )
    aliases: dict[str, str] = Field(
        default_factory=dict, description="coco: category -> class it stands for, such as airplane: aeroplane"
    )
    only_with_objects: bool = Field(
        default=False, description="coco: images without an object of the classes are left out"
    )
    boxes: str = Field(default="Annotations", description="folder of VOC XML files")
    masks: str | None = Field(default="SegmentationClass", description="folder of index PNGs; null: no true masks")
    bad_items: Literal["stop", "set_aside"] = Field(
        default="stop", description="a bad image or label stops the import, or is listed and left out"
    )
    limit: int | None = Field(default=None, ge=1, description="use the first so many images of each split")
    scenes: SceneSettings | None = Field(default=None, description="what to draw, with source scenes")

    @property
    def of_images(self) -> "DataSettings":
        """What images, splits and tags depend on: places of labels that tags do not come from are left out."""
        unused: dict[str, str | None] = {}
        if self.tags != "masks":
            unused["masks"] = None
        if self.tags != "boxes":
            unused["boxes"] = ""
        return self.model_copy(update=unused)

    @model_validator(mode="after")
    def _source_has_what_it_needs(self) -> "DataSettings":
        if self.source == "scenes":
            if self.scenes is None:
                raise ValueError("source scenes needs the section data.scenes")
            return self
        if self.scenes is not None:
            raise ValueError(f"the section data.scenes has no use with source {self.source}; remove it")
        if not self.splits:
            raise ValueError("name at least one split and its file under data.splits")
        if self.source == "coco" and self.tags != "boxes":
            raise ValueError(f"source coco takes tags from its instances files; remove data.tags ('{self.tags}')")
        if self.classes is None and self.source != "coco":
            raise ValueError(f"source {self.source} needs data.classes")
        if self.tags == "table" and self.table is None:
            raise ValueError("tags: table needs data.table")
        return self
