"""Strong changes of colour for consistency training (RandAugment; the operations of DuPL's code)."""

from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as T

from pipeline.config.cotraining import StrongSettings

_OPERATIONS: tuple[Callable[[Tensor, float], Tensor], ...] = (
    lambda image, _: T.autocontrast(image),
    lambda image, _: T.equalize(image),
    lambda image, level: T.posterize(image, max(1, int(level * 6))),
    lambda image, level: T.adjust_saturation(image, 0.1 + 1.8 * level),
    lambda image, level: T.adjust_contrast(image, 0.1 + 1.8 * level),
    lambda image, level: T.adjust_brightness(image, 0.1 + 1.8 * level),
    lambda image, level: T.adjust_sharpness(image, 0.1 + 1.8 * level),
)


def strong_colours(images: Tensor, operations: int, magnitude: float) -> Tensor:
    """RGB 0..255 images (B, 3, H, W), each changed by random ``operations`` at ``magnitude`` of 30.

    Draws come from torch's global generator.
    """
    chosen = torch.randint(len(_OPERATIONS), (len(images), operations)).tolist()
    changed = []
    for image, numbers in zip(images.round().clamp(0, 255).to(torch.uint8), chosen, strict=True):
        for number in numbers:
            image = _OPERATIONS[number](image, magnitude / 30)
        changed.append(image)
    return torch.stack(changed).to(images.dtype)


def jitter_colours(images: Tensor, settings: StrongSettings) -> Tensor:
    """RGB 0..255 images (B, 3, H, W) with other colours, some grey, some blurred, each drawn for itself.

    Draws come from torch's global generator.
    """
    draws = torch.rand(len(images), 3)
    factors = torch.empty(len(images), 4).uniform_(-settings.strength, settings.strength)
    deviations = torch.empty(len(images)).uniform_(0.1, 2.0)
    changed = []
    for image, draw, factor, deviation in zip(images / 255, draws, factors.tolist(), deviations, strict=True):
        jittered, grey, blurred = (draw < torch.tensor((settings.jitter, settings.grey, settings.blur))).tolist()
        if jittered:
            image = T.adjust_brightness(image, 1 + factor[0])
            image = T.adjust_contrast(image, 1 + factor[1])
            image = T.adjust_saturation(image, 1 + factor[2])
            image = T.adjust_hue(image, factor[3] / 2)
        if grey:
            image = T.rgb_to_grayscale(image, 3)
        if blurred:
            image = T.gaussian_blur(image, [9, 9], [float(deviation)] * 2)
        changed.append(image)
    return torch.stack(changed) * 255
