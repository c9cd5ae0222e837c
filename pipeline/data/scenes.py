"""Generated scenes with exact labels, on which activation maps fail the way they do on photographs.

Every object is an animal-like shape: a plain body in one of three colours that all classes share, one of them a little
more often, and a small head whose colour and marking belong to one class. A classifier needs little but the head, so
plain activation maps cover the head and miss most of the body. Classes prefer surroundings (meadow, sand, water, ...),
so maps leak into the background. Bodies contrast with the ground in colour, so refinement along colours recovers them.
"""

from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.artifacts.export import palette_image
from pipeline.config.classes import ClassTable
from pipeline.config.scenes import SceneSettings
from pipeline.data.randomness import generator

NAMES = ("heron", "otter", "toad", "viper", "lynx", "gecko")
# Hue of the head (OpenCV, 0..179) and its marking; heads differ between classes, bodies do not.
_HEADS = ((2, "disc"), (115, "stripes"), (60, "disc"), (145, "stripes"), (28, "disc"), (88, "stripes"))
_BODIES = ((18, 90, 190), (8, 60, 120), (105, 40, 170))  # HSV, drawn for any class
_GROUNDS = ((45, 120, 110), (24, 70, 200), (100, 110, 140), (150, 30, 90), (75, 80, 80), (12, 100, 70))  # HSV by class


@dataclass(frozen=True)
class Instance:
    """One object of a scene.

    Attributes:
        class_index: its class, from 1.
        mask: bool (H, W), its visible pixels.
    """

    class_index: int
    mask: NDArray[np.bool_]

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(x0, y0, x1, y1) of the visible pixels, end exclusive."""
        rows, columns = np.flatnonzero(self.mask.any(1)), np.flatnonzero(self.mask.any(0))
        return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


@dataclass(frozen=True)
class Scene:
    """A generated image with all its labels.

    Attributes:
        id: name, ``<split>_<index>``.
        image: uint8 RGB (H, W, 3).
        mask: uint8 (H, W) of class indices.
        instances: visible objects, back to front.
    """

    id: str
    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    instances: tuple[Instance, ...]


def class_table(settings: SceneSettings) -> ClassTable:
    """Classes of the scenes."""
    return ClassTable(names=("background", *NAMES[: settings.classes]))


def make_scene(settings: SceneSettings, split: str, index: int) -> Scene:
    """Draw one scene; it depends on (seed, split, index) alone."""
    stream = list(settings.counts).index(split)
    draw = generator(settings.seed, stream, index)
    size = settings.size
    count = int(draw.integers(settings.objects[0], settings.objects[1] + 1))
    main = int(draw.integers(settings.classes))
    ground = main if draw.random() < settings.context else int(draw.integers(len(_GROUNDS)))
    image = _ground(size, _GROUNDS[ground], draw)
    mask = np.zeros((size, size), np.uint8)
    instances: list[Instance] = []
    for number in range(count):
        # A companion is mostly of the same class, as herds are.
        kind = main if number == 0 or draw.random() < 0.5 else int(draw.integers(settings.classes))
        shape = _paint_object(image, kind, draw)
        mask[shape] = kind + 1
        instances = [Instance(old.class_index, old.mask & ~shape) for old in instances]
        instances.append(Instance(kind + 1, shape))
    noise = draw.normal(0, 4, image.shape)
    lit = image * np.linspace(draw.uniform(0.8, 1.2), draw.uniform(0.8, 1.2), size)[None, :, None] + noise
    # A few pixels peeping out behind another object are no object anyone would label.
    visible = tuple(instance for instance in instances if instance.mask.sum() >= 12)
    for instance in instances:
        if instance.mask.sum() < 12:
            mask[instance.mask] = 0
    return Scene(f"{split}_{index:05d}", np.clip(lit, 0, 255).astype(np.uint8), mask, visible)


def _ground(size: int, colour: tuple[int, int, int], draw: np.random.Generator) -> NDArray[np.float64]:
    """Textured ground: noise of several octaves around a colour, with pale clutter of no class."""
    texture = np.zeros((size, size))
    for octave in (3, 7, 15, 31):
        coarse = draw.normal(0, 1, (octave, octave))
        texture += cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC) / np.sqrt(octave)
    base = np.array(_rgb(colour), float) * draw.uniform(0.8, 1.2)
    image: NDArray[np.float64] = base + texture[..., None] * draw.uniform(14, 26) * np.array([1, 0.9, 0.8])
    for _ in range(int(draw.integers(2, 6))):
        centre = tuple(int(value) for value in draw.integers(0, size, 2))
        axes = tuple(int(value) for value in draw.integers(2, max(3, size // 12), 2))
        shade = tuple(float(value) for value in base * draw.uniform(0.6, 1.5))
        cv2.ellipse(image, centre, axes, float(draw.uniform(0, 180)), 0, 360, shade, -1, cv2.LINE_AA)
    return image


def _paint_object(image: NDArray[np.float64], kind: int, draw: np.random.Generator) -> NDArray[np.bool_]:
    """Paint body, legs and head; returns the pixels covered."""
    size = image.shape[0]
    length = draw.uniform(0.12, 0.26) * size
    height = length * draw.uniform(0.5, 0.75)
    x, y = draw.uniform(0.2, 0.8, 2) * size
    side = 1 if x < size / 2 else -1  # towards the middle: a head outside the picture would leave nothing to learn
    tilt = float(draw.uniform(-20, 20))
    parts = np.zeros((size, size), np.uint8)
    cv2.ellipse(parts, (round(x), round(y)), (round(length), round(height)), tilt, 0, 360, 1, -1)
    leg = max(2, round(height * 0.3))
    for offset in (-0.55, 0.5):
        foot = round(x + offset * length)
        cv2.line(parts, (foot, round(y)), (foot, round(y + height * 1.7)), 1, leg)
    body = parts.astype(bool)
    colour = kind % len(_BODIES) if draw.random() < 0.5 else int(draw.integers(len(_BODIES)))
    shade = np.array(_rgb(_BODIES[colour]), float) * draw.uniform(0.85, 1.15)
    grain = cv2.resize(draw.normal(0, 1, (size // 4, size // 4)), (size, size), interpolation=cv2.INTER_LINEAR)
    image[body] = (shade + grain[..., None] * 9)[body]
    radius = max(4, round(height * draw.uniform(0.5, 0.7)))
    centre = (round(x + side * length * 0.95), round(y - height * 0.6))
    head = np.zeros((size, size), np.uint8)
    cv2.circle(head, centre, radius, 1, -1)
    _paint_head(image, head.astype(bool), centre, radius, kind, draw)
    covered: NDArray[np.bool_] = body | head.astype(bool)
    return covered


def _paint_head(
    image: NDArray[np.float64],
    head: NDArray[np.bool_],
    centre: tuple[int, int],
    radius: int,
    kind: int,
    draw: np.random.Generator,
) -> None:
    """The part that tells the class: its hue, and a disc or stripes."""
    hue, marking = _HEADS[kind]
    image[head] = np.array(_rgb((hue, 200, 210)), float) * draw.uniform(0.85, 1.15)
    sign = np.zeros(head.shape, np.uint8)
    if marking == "disc":
        cv2.circle(sign, centre, max(1, radius // 2), 1, -1)
    else:
        for shift in range(-radius, radius + 1, max(3, radius // 2)):
            cv2.line(sign, (centre[0] + shift, centre[1] - radius), (centre[0] + shift, centre[1] + radius), 1, 1)
    image[sign.astype(bool) & head] = _rgb((hue, 60, 250 if marking == "disc" else 60))


def _rgb(hsv: tuple[int, int, int]) -> tuple[int, int, int]:
    red, green, blue = cv2.cvtColor(np.array([[hsv]], np.uint8), cv2.COLOR_HSV2RGB)[0, 0]
    return int(red), int(green), int(blue)


def write_voc_layout(settings: SceneSettings, folder: Path) -> None:
    """Write all scenes as a data set in VOC layout, the same bytes every time.

    Images are PNG, so that no codec's version changes a pixel.
    """
    classes = class_table(settings)
    for name in ("JPEGImages", "SegmentationClass", "Annotations", "ImageSets"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for split, count in settings.counts.items():
        ids = []
        for index in range(count):
            scene = make_scene(settings, split, index)
            ids.append(scene.id)
            Image.fromarray(scene.image).save(folder / f"JPEGImages/{scene.id}.png", compress_level=1)
            palette_image(scene.mask, classes).save(folder / f"SegmentationClass/{scene.id}.png")
            (folder / f"Annotations/{scene.id}.xml").write_text(_annotation(scene, settings))
        (folder / f"ImageSets/{split}.txt").write_text("".join(f"{image_id}\n" for image_id in ids))


def _annotation(scene: Scene, settings: SceneSettings) -> str:
    """VOC XML; its boxes are 1-based and inclusive."""
    names = class_table(settings).names
    objects = []
    for instance in scene.instances:
        x0, y0, x1, y1 = instance.box
        box = f"<xmin>{x0 + 1}</xmin><ymin>{y0 + 1}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax>"
        objects.append(f"<object><name>{escape(names[instance.class_index])}</name><bndbox>{box}</bndbox></object>")
    size = f"<size><width>{settings.size}</width><height>{settings.size}</height><depth>3</depth></size>"
    return f"<annotation><filename>{scene.id}.png</filename>{size}{''.join(objects)}</annotation>\n"
