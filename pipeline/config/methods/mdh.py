"""Settings of MDH: boxes to proposals, AnnNet with box priors, pseudo-masks in rounds, SegNet."""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from pipeline.config.base import Settings
from pipeline.config.data import DataSettings
from pipeline.config.inference import InferenceSettings
from pipeline.config.mdh import LabelledSettings, MdhSettings
from pipeline.config.network import NetworkSettings
from pipeline.config.proposals import GrabCutSettings, GroupingSettings, McgSettings
from pipeline.config.run import RunConfig

Source = Literal["grabcut", "grouping", "mcg"]


class ProposalSettings(Settings):
    """First masks of the boxes."""

    sources: tuple[Source, ...] = Field(
        default=("grabcut", "grouping"), min_length=1, description="whose masks are used; what several agree on counts"
    )
    grabcut: GrabCutSettings = GrabCutSettings()
    grouping: GroupingSettings = GroupingSettings()
    mcg: McgSettings | None = None

    @model_validator(mode="after")
    def _sources_are_there(self) -> "ProposalSettings":
        if len(set(self.sources)) < len(self.sources):
            raise ValueError("each source may be named once")
        if "mcg" in self.sources and self.mcg is None:
            raise ValueError("source mcg needs the section mcg with the folder of its files")
        return self


class RoundLabelSettings(Settings):
    """How AnnNet labels the images without masks (Eq. 3)."""

    tau: float = Field(default=0.9, ge=0, lt=1, description="least probability of a label; others are ignored")
    inference: InferenceSettings = InferenceSettings(stride=1)


class FinetuneSettings(Settings):
    """SegNet goes on with further images that have boxes alone (Sec. 4.4: 94 thousand of COCO)."""

    data: DataSettings
    split: str = Field(default="train", description="split of the further images, several joined by +")
    segnet: MdhSettings
    use_labelled: bool = Field(default=True, description="images with true masks take part")

    @model_validator(mode="after")
    def _parts_fit(self) -> "FinetuneSettings":
        known = self.data.splits if self.data.scenes is None else self.data.scenes.counts
        if unknown := set(self.split.split("+")) - known.keys():
            raise ValueError(f"finetune.split: the data have no '{min(unknown)}', only {', '.join(known)}")
        if self.segnet.start != "previous" or self.segnet.network.priors is not None:
            raise ValueError(
                "fine-tuning goes on with SegNet: set segnet.start to previous, segnet.network.priors to null"
            )
        if not self.use_labelled and self.segnet.heads.kind != "single":
            raise ValueError("without labelled images a strong head learns nothing; set segnet.heads.kind to single")
        return self


class Config(RunConfig):
    """Configuration of method ``mdh``."""

    decided: ClassVar[tuple[str, ...]] = (*RunConfig.decided, "pseudo.inference.split")

    method: Literal["mdh"]
    split: str = Field(default="train", description="split to train on, several joined by +; all its images have boxes")
    labelled: LabelledSettings = Field(
        default=LabelledSettings(), description="those of its images that have masks (F)"
    )
    proposals: ProposalSettings = ProposalSettings()
    annnet: MdhSettings = Field(description="the network that makes pseudo-masks")
    pseudo: RoundLabelSettings = RoundLabelSettings()
    segnet: MdhSettings = Field(description="the final network")
    rounds: int = Field(default=1, ge=1, le=9, description="AnnNets, each learning from the pseudo-masks before")
    segnets: Literal["last", "all"] = Field(default="all", description="rounds that get a SegNet (Table 6: all)")
    finetune: FinetuneSettings | None = Field(default=None, description="further images for the last SegNet")

    @model_validator(mode="after")
    def _parts_fit(self) -> "Config":
        if self.data.masks is None:
            raise ValueError("some images need true masks: set data.masks")
        if self.segnet.network.priors is not None:
            raise ValueError("SegNet sees no boxes: set segnet.network.priors to null")
        if "previous" in (self.annnet.start, self.segnet.start):
            raise ValueError("networks of a round start from their backbone: set start to backbone")
        if self.finetune is not None:
            self._check_same_network(self.segnet.network, self.finetune.segnet.network)
        return self

    @staticmethod
    def _check_same_network(before: NetworkSettings, after: NetworkSettings) -> None:
        """What fine-tuning goes on with is SegNet; only what leaves its weights as they are may change."""
        may_change = {"weights", "batch_norm", "decoder_dropout"}
        changed = [
            f"{name} ({new!r} instead of {getattr(before, name)!r})"
            for name, new in after
            if name not in may_change and new != getattr(before, name)
        ]
        if changed:
            raise ValueError(
                f"fine-tuning goes on with SegNet, but finetune.segnet.network has another {', '.join(changed)}"
            )

    @property
    def supervision(self) -> str:
        """Labels the run learns from, in words."""
        labelled = self.labelled
        amount = f"{labelled.count}" if labelled.count is not None else f"{labelled.fraction:.0%} of {labelled.split}"
        return f"boxes; masks of {amount}, subset seed {labelled.seed}"
