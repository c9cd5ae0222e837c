"""Dense CRF: the pairwise terms, by preset or spelled out, and how long mean field runs."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline.config.base import Settings

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
CrfPreset = Literal["psa", "irn", "rrm", "dupl", "afa", "deeplab"]
BackendChoice = Literal["auto", "native", "torch", "pydensecrf"]


class CrfTerm(Settings):
    """One Gaussian-weighted pairwise term: of position alone, or (bilateral) of position and colour."""

    sxy: Positive = Field(description="standard deviation of position, pixels")
    srgb: Positive | None = Field(default=None, description="standard deviation of colour, 0..255; null: position only")
    compat: Finite | tuple[Finite, ...] | tuple[tuple[Finite, ...], ...] = Field(
        description="Potts weight; or, with pydensecrf's signs, energies per label (K) or per pair (K, K)"
    )


def _terms(gaussian: tuple[float, float], bilateral: tuple[float, float, float]) -> tuple[CrfTerm, CrfTerm]:
    """Terms from (sxy, compat) and (sxy, srgb, compat), the order every reference lists them in."""
    near, far = gaussian, bilateral
    return CrfTerm(sxy=near[0], compat=near[1]), CrfTerm(sxy=far[0], srgb=far[1], compat=far[2])


# All of them run 10 iterations. Where they are used: docs/crf.md.
PRESETS: dict[CrfPreset, tuple[CrfTerm, ...]] = {
    "psa": _terms((3, 3), (80, 13, 10)),
    "irn": _terms((3, 3), (50, 5, 10)),
    "rrm": _terms((3, 3), (83, 5, 4)),
    "dupl": _terms((1, 1), (121, 5, 4)),
    "afa": _terms((3, 3), (64, 5, 4)),
    "deeplab": _terms((1, 3), (67, 3, 4)),
}


class CrfSettings(Settings):
    """Terms of a dense CRF, by ``preset`` or as ``terms``."""

    preset: CrfPreset | None = Field(
        default=None,
        description="psa (also RRM, ASDT: CAM to label), irn (label CRF), rrm (also ASDT: final and online), "
        "dupl (also ToCo: test), afa (test), deeplab (DeepLab-v2, also BECO, KTSE)",
    )
    terms: tuple[CrfTerm, ...] = Field(default=(), description="pairwise terms where no preset is named")
    iterations: int = Field(default=10, ge=0, le=1000, description="mean-field iterations")
    backend: BackendChoice = Field(default="auto", description="engine; auto: the fastest one installed")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.preset is None) == (not self.terms):
            raise ValueError("name a preset or list terms, one of the two")
        return self

    @property
    def resolved(self) -> tuple[CrfTerm, ...]:
        """The pairwise terms, whichever way they were given."""
        return PRESETS[self.preset] if self.preset else self.terms
