"""Class names, colours and the ignore value: data of the data set, never constants in code."""

from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from pipeline.config.base import Settings
from pipeline.errors import PseudomaskError


def voc_colour(index: int) -> tuple[int, int, int]:
    """Colour of ``index`` in the bit-interleaved palette PASCAL VOC made common."""
    red = green = blue = 0
    for bit in range(8):
        red |= (index >> 0 & 1) << (7 - bit)
        green |= (index >> 1 & 1) << (7 - bit)
        blue |= (index >> 2 & 1) << (7 - bit)
        index >>= 3
    return red, green, blue


class ClassTable(Settings):
    """Ordered class names (index 0 is the background) with their colours."""

    names: tuple[str, ...] = Field(description="class names by index; the first is the background")
    colours: tuple[tuple[int, int, int], ...] = Field(default=(), description="RGB per class; empty: VOC palette")
    ignore: int = Field(default=255, ge=0, le=255, description="mask value of pixels without a label")

    @field_validator("names")
    @classmethod
    def _names_are_unique(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(names) < 2:
            raise ValueError("needs the background and at least one class")
        doubles = sorted({name for name in names if names.count(name) > 1})
        if doubles:
            raise ValueError(f"named twice: {', '.join(doubles)}")
        return names

    @model_validator(mode="after")
    def _sizes_agree(self) -> "ClassTable":
        if len(self.names) > self.ignore:
            raise ValueError(f"{len(self.names)} classes do not fit below the ignore value {self.ignore}")
        if self.colours and len(self.colours) != len(self.names):
            raise ValueError(f"{len(self.colours)} colours for {len(self.names)} classes")
        return self

    def __len__(self) -> int:
        return len(self.names)

    @property
    def foreground(self) -> tuple[str, ...]:
        """Class names without the background."""
        return self.names[1:]

    @property
    def palette(self) -> NDArray[np.uint8]:
        """Colours of all 256 mask values, uint8 (256, 3); the ignore value is near-white as in VOC."""
        palette = np.array([voc_colour(index) for index in range(256)], np.uint8)
        if self.colours:
            palette[: len(self)] = self.colours
        palette[self.ignore] = (224, 224, 192)
        return palette

    def index(self, name: str, where: str = "") -> int:
        """Index of a class.

        Raises:
            PseudomaskError: the name is unknown; the message says ``where`` and suggests the nearest name.
        """
        if name in self.names:
            return self.names.index(name)
        near = get_close_matches(name, self.names, 1)
        hint = f" (did you mean '{near[0]}'?)" if near else f"; known: {', '.join(self.names)}"
        raise PseudomaskError(f"{where + ': ' if where else ''}class '{name}' is not in classes{hint}")
