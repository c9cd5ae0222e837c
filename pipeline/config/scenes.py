"""The generated scenes: how many, how large, how hard."""

from pydantic import Field

from pipeline.config.base import Settings


class SceneSettings(Settings):
    """Textured scenes with objects whose small head tells the class and whose large plain body does not."""

    counts: dict[str, int] = Field(default={"train": 400, "val": 100}, description="images of each split")
    size: int = Field(default=128, ge=48, le=1024, description="side of an image, pixels")
    classes: int = Field(default=4, ge=2, le=6, description="foreground classes")
    objects: tuple[int, int] = Field(default=(1, 3), description="fewest and most objects of a scene")
    context: float = Field(
        default=0.5, ge=0, le=1, description="probability that an object stands in its class's surroundings"
    )
    seed: int = Field(default=0, ge=0, description="seed of all scenes")
