"""Settings of a network with a strong and a weak head, and of what it learns from."""

from typing import Literal

from pydantic import Field, model_validator

from pipeline.config.base import Settings
from pipeline.config.network import NetworkSettings
from pipeline.config.training import TrainingSettings, check_batch


class HeadsSettings(Settings):
    """Which head learns from which images (Sec. 3.3), and how many of each a batch holds.

    The paper gives the ratio alone. Two readings of its batch of 32: ``strong_batch: 32, weak_batch: 32``, the default
    (28 + 4 for the strong head, the 4 being among the 32 of the weak one), and ``strong_batch: 16, weak_batch: 16,
    shared: false``, 32 images in all.
    """

    kind: Literal["single", "dual", "mixed"] = Field(
        default="mixed",
        description="single: one head, all images alike; dual: strong from masks, weak from pseudo-masks; mixed: the "
        "strong one sees some of the pseudo-masks too",
    )
    ratio: tuple[int, int] = Field(default=(7, 1), description="masks to pseudo-masks for the strong head of mixed")
    strong_batch: int = Field(default=32, ge=1, description="images per step for the strong head, or the single one")
    weak_batch: int = Field(default=32, ge=1, description="images per step for the weak head")
    shared: bool = Field(default=True, description="pseudo-masks the strong head sees are among those of the weak head")
    weak_weight: float = Field(default=1.0, gt=0, description="weight of the weak head's loss")

    @model_validator(mode="after")
    def _numbers_are_whole(self) -> "HeadsSettings":
        if min(self.ratio) < 1:
            raise ValueError(f"ratio must be two whole numbers from 1, found {self.ratio}")
        if self.kind == "mixed" and self.strong_batch % sum(self.ratio):
            raise ValueError(f"strong_batch {self.strong_batch} cannot be split {self.ratio[0]}:{self.ratio[1]}")
        if self.kind == "mixed" and self.shared and self.mixed_in > self.weak_batch:
            raise ValueError(f"{self.mixed_in} shared images do not fit into weak_batch {self.weak_batch}")
        return self

    @property
    def mixed_in(self) -> int:
        """Pseudo-masks per step that the strong head sees."""
        return self.strong_batch * self.ratio[1] // sum(self.ratio) if self.kind == "mixed" else 0

    @property
    def images(self) -> int:
        """Images per step."""
        if self.kind == "single":
            return self.strong_batch
        return self.strong_batch + self.weak_batch - (self.mixed_in if self.shared else 0)


class MdhSettings(Settings):
    """One training run of AnnNet or SegNet; AnnNet is the one with ``network.priors``."""

    network: NetworkSettings = NetworkSettings(decoder="deeplabv3plus", head="hidden")
    training: TrainingSettings = TrainingSettings()
    heads: HeadsSettings = HeadsSettings()
    lr_scale: float = Field(default=1.0, gt=0, description="factor on the learning rate of decoder and heads")
    start: Literal["backbone", "previous"] = Field(
        default="backbone", description="initial weights: of the backbone alone, or of the network trained before"
    )

    @model_validator(mode="after")
    def _parts_fit(self) -> "MdhSettings":
        if self.network.head != "hidden":
            raise ValueError("the heads are 1x1 convolutions with a hidden layer: set network.head to hidden")
        if self.training.batch_size != self.heads.images:
            raise ValueError(
                f"training.batch_size is {self.training.batch_size}, but heads asks for {self.heads.images} images"
            )
        check_batch(self.network, self.training)
        return self


class LabelledSettings(Settings):
    """The images whose true masks are used (F)."""

    split: str = Field(default="train", description="split they are drawn from, several joined by +")
    count: int | None = Field(default=None, ge=1, description="how many; null: `fraction`")
    fraction: float = Field(default=1.0, gt=0, le=1, description="share of the split, where count is null")
    seed: int = Field(default=0, ge=0, description="seed of the order; of one seed, smaller sets lie in larger ones")


class LabelledStage(LabelledSettings):
    """Settings of the stage ``pick_labelled``."""

    among: str = Field(description="split to train on; its images that are not picked have boxes alone")
