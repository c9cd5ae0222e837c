"""Settings of KTSE's classification: class-aware features, simulated erasing, self-supervision, alignment."""

from typing import Literal

from pydantic import Field, model_validator

from pipeline.config.base import Settings, Share
from pipeline.config.network import NetworkSettings, Undecoded
from pipeline.config.refine import ParSettings
from pipeline.config.training import TrainingSettings


class HeadSettings(Settings):
    """From the backbone's features to class-aware maps and an image's logits."""

    width: int = Field(default=256, ge=1, description="channels between features and maps")
    pool: Literal["gpp", "gap"] = Field(
        default="gpp", description="gpp: pyramid of means at four scales (AEFT); gap: plain mean of the maps"
    )


class SieSettings(Settings):
    """Simulated inter-image erasing (Eq. 3): beside another image an object loses activation it has alone."""

    perturb: Literal["concatenate", "cutmix"] = Field(
        default="concatenate", description="concatenate: both images whole, side by side; cutmix: a rectangle of one"
    )
    partner: Literal["dataset", "batch"] = Field(
        default="dataset",
        description="an image with a class of the anchor, of the data set (code), or of the batch, which costs nothing "
        "extra; where there is none, the anchor itself",
    )
    axis: Literal["height", "width"] = Field(default="height", description="direction in which images are joined")
    pairs: int = Field(default=4, ge=1, description="first images of a micro-batch that get a partner")
    align: Literal["anchor", "both"] = Field(
        default="both", description="halves compared: the anchor's (paper) or both, for tags of either image (code)"
    )
    margin: float = Field(default=0.05, ge=0, description="losses of activation up to this are free (code)")
    weight: float = Field(default=1.0, ge=0, description="weight of the knowledge transfer; 0: the pairs alone")
    stop_gradient: Literal["none", "alone", "joined"] = Field(
        default="none", description="maps that take no gradient: of the images alone (negative control), or joined"
    )
    reduce: Literal["all", "present"] = Field(
        default="all", description="mean over all maps, absent ones being 0 (code), or over those of present classes"
    )


class InterClassSettings(Settings):
    """Where several classes are present the second strongest is pushed down (Eq. 6 and 7)."""

    weight: float = Field(default=0.005, gt=0, description="lambda")
    threshold: Share = Field(default=0.2, description="beta_f: activation from which on a pixel counts")
    detach_strongest: bool = Field(default=True, description="the strongest class takes no gradient (code)")


class SsrSettings(Settings):
    """Self-supervised regularisation (Eq. 4 to 7): the network's own maps, refined, as labels."""

    high: Share = Field(default=0.3, description="beta_h: above is foreground")
    low: Share = Field(default=0.15, description="beta_l: below is background")
    refine: ParSettings | None = Field(default=ParSettings(), description="refinement of the labels; null: none")
    ce_anchor: bool = Field(default=True, description="cross-entropy on images alone")
    ce_simulated: bool = Field(default=True, description="cross-entropy on joined images")
    foreground_weight: float = Field(default=0.0125, ge=0, description="w_fg: weight of foreground pixels")
    rectified: bool = Field(default=True, description="cross-entropy of ReLU(maps), as the code has it")
    simple_complex_split: bool = Field(
        default=True, description="images of several classes: no cross-entropy of foreground, but `inter`"
    )
    inter: InterClassSettings | None = InterClassSettings()
    stride: int = Field(
        default=1, ge=1, description="image pixels per label (code: 1); refine.scale is relative to labels"
    )

    @model_validator(mode="after")
    def _ordered(self) -> "SsrSettings":
        if self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}")
        return self


class MgaSettings(Settings):
    """Multi-granularity alignment (Eq. 8 and 9): an image without its strongest parts keeps class and maps."""

    threshold: Share = Field(default=0.6, description="activation from which on pixels are erased")
    erase: Literal["hard", "soft"] = Field(
        default="hard", description="soft: what is left is weighed by its activation (AEFT)"
    )
    guidance: Literal["cam_gap", "rigid_cls", "gpp_feature"] | None = Field(
        default="cam_gap",
        description="global part: means of the maps (Eq. 8); or rows of Table 7: tags of the erased image, means of "
        "the pyramid's features; null: none",
    )
    guidance_weight: float = Field(default=1.0, gt=0, description="weight of the global part")
    local: bool = Field(default=True, description="local part: maps must not grow where nothing was erased (Eq. 9)")
    margin: float = Field(default=0.05, ge=0, description="growth up to this is free (code)")

    @model_validator(mode="after")
    def _something_is_left(self) -> "MgaSettings":
        if self.guidance is None and not self.local:
            raise ValueError("guidance null and local false leave nothing: set mga to null")
        return self


class KtseSettings(Settings):
    """The classification network and its losses; each part is left out by null."""

    network: Undecoded = NetworkSettings()
    training: TrainingSettings = TrainingSettings()
    lr_scale: float = Field(default=1.0, gt=0, description="factor on the learning rate of the head")
    head: HeadSettings = HeadSettings()
    warmup_steps: int = Field(default=0, ge=0, description="steps with the tags alone (code: the first 10 epochs)")
    warmup_batch: int | None = Field(
        default=None, ge=1, description="images of a micro-batch used in the warm-up (code: 8 of 16); null: all"
    )
    sie: SieSettings | None = SieSettings()
    ssr: SsrSettings | None = SsrSettings()
    mga: MgaSettings | None = MgaSettings()

    @model_validator(mode="after")
    def _parts_fit(self) -> "KtseSettings":
        if self.sie is not None and self.sie.weight == 0 and (self.ssr is None or not self.ssr.ce_simulated):
            raise ValueError("nothing is learned of the pairs: set sie to null, or sie.weight or ssr.ce_simulated")
        if self.mga is not None and self.mga.guidance == "gpp_feature" and self.head.pool != "gpp":
            raise ValueError("mga.guidance gpp_feature needs head.pool gpp")
        return self
