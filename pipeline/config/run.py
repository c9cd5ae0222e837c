"""The keys every method's configuration has."""

from collections.abc import Iterator
from typing import Any, ClassVar, Protocol, Self

from pydantic import BaseModel, Field, model_validator

from pipeline.config.base import Settings
from pipeline.config.data import DataSettings
from pipeline.config.evaluation import EvaluationSettings
from pipeline.config.expected import Expected
from pipeline.config.inference import InferenceSettings
from pipeline.config.network import NetworkSettings
from pipeline.config.refine import CrfStage
from pipeline.config.report import ReportSettings
from pipeline.config.runtime import RuntimeSettings
from pipeline.config.training import TrainingSettings


class TrainedSettings(Protocol):
    """What settings of all objectives share."""

    network: NetworkSettings
    training: TrainingSettings

    def model_dump(self, *, mode: str = ..., exclude: set[str] | None = ...) -> dict[str, Any]:
        """As pydantic's models have it."""
        ...


class RunConfig(Settings):
    """Keys shared by all methods; ``pipeline.config.methods.<method>.Config`` adds the rest."""

    decided: ClassVar[tuple[str, ...]] = ("predict.branch",)
    """Settings of shared sections that the method decides itself, so that nobody else may."""

    run: str = Field(pattern=r"^[A-Za-z0-9][\w.-]*$", description="name of the run; results lie in results/<run>")
    method: str = Field(description="which method; a file of workflow/rules and of pipeline/config/methods")
    seed: int = Field(default=0, ge=0, description="seed of every random choice of the run")
    runtime: RuntimeSettings = RuntimeSettings()
    data: DataSettings
    predict: InferenceSettings = InferenceSettings(split="val")
    predict_crf: CrfStage | None = None
    evaluation: EvaluationSettings | None = None
    report: ReportSettings = ReportSettings()
    expected: Expected | None = Field(default=None, description="what a publication reports; changes nothing")

    @model_validator(mode="after")
    def _results_can_be_made(self) -> Self:
        for part in ("evaluation", "threshold"):
            if self.data.masks is None and getattr(self, part, None) is not None:
                raise ValueError(f"without true masks (data.masks: null) set {part}: null")
        if self.predict.split is None:
            raise ValueError("predict.split must name a split: it is measured on")
        return self

    @model_validator(mode="after")
    def _images_are_in_the_data(self) -> Self:
        """Else the mistake would be found after the trainings."""
        known = set(self.data.splits if self.data.scenes is None else self.data.scenes.counts)
        if (extra := getattr(self, "extra", None)) is not None:
            known.add(extra.split)
        for path in ("split", "choose_on", "labelled.split", "cams.split", "threshold.split", "predict.split"):
            split = _at(self, path) or ""
            if unknown := {name for name in split.split("+") if name} - known:
                raise ValueError(f"{path}: the data have no '{min(unknown)}', only {', '.join(sorted(known))}")
        return self

    @model_validator(mode="after")
    def _classes_are_in_the_data(self) -> Self:
        """Else the mistake would be found at the very end; coco may take its classes from its files."""
        named = {"threshold.classes": _at(self, "threshold.classes") or ()}
        if self.evaluation is not None:
            named |= {f"evaluation.subsets.{name}": subset for name, subset in self.evaluation.subsets.items()}
        if self.data.classes is not None:
            for path, names in named.items():
                for name in names:
                    self.data.classes.index(name, path)
        return self

    @model_validator(mode="after")
    def _nothing_is_ignored(self) -> Self:
        for path in self.decided:
            if _at(self, path) is not None:
                raise ValueError(f"{path} follows from the method; remove it")
        return self

    @model_validator(mode="after")
    def _batches_fit_the_devices(self) -> Self:
        for name, settings in self.trained():
            try:
                settings.training.per_device(self.runtime.processes)
            except ValueError as error:
                raise ValueError(f"{name}.training: {error}") from None
        return self

    def trained(self) -> Iterator[tuple[str, TrainedSettings]]:
        """Settings of everything that is trained, by their path."""
        return _find(self, ())

    @property
    def supervision(self) -> str:
        """Labels the run learns from, in words; every number carries it."""
        return f"tags from {self.data.tags}"


def _at(settings: object, path: str) -> Any:
    """The setting at a path with dots; None where a part of it is null or unknown to the method."""
    for part in path.split("."):
        settings = getattr(settings, part, None)
    return settings


def _find(settings: BaseModel, path: tuple[str, ...]) -> Iterator[tuple[str, TrainedSettings]]:
    for name, value in settings:
        if isinstance(getattr(value, "training", None), TrainingSettings):
            yield ".".join((*path, name)), value
        elif isinstance(value, BaseModel):
            yield from _find(value, (*path, name))
