import pytest
import torch
from torch.nn import functional as F

from pipeline.config.refine import ParSettings
from pipeline.refine.par import refine_par
from pipeline.refine.two_threshold import two_threshold_labels


def slow_labels(maps, tags, low, high, size, par, image):
    """One image, one threshold, one pixel at a time."""
    result = []
    for b in range(len(maps)):
        present = [c for c in range(maps.shape[1]) if tags[b, c]]
        work = list(size) if par is None else [max(1, round(side * par.scale)) for side in size]
        chosen = F.interpolate(maps[b : b + 1, present], work, mode="bilinear", align_corners=False)
        winners = []
        for threshold in (float(high[b]), low):
            background = torch.full((1, 1, *work), threshold)
            scores = torch.cat([background, chosen], 1)
            if par is not None:
                small = F.interpolate(image[b : b + 1], work, mode="bilinear", align_corners=False, antialias=True)
                scores = refine_par(small, scores.softmax(1), par)
                scores = F.interpolate(scores, size, mode="bilinear", align_corners=False)
            winners.append(scores.argmax(1)[0])
        label = torch.empty(size, dtype=torch.int64)
        for y in range(size[0]):
            for x in range(size[1]):
                strict, lenient = int(winners[0][y, x]), int(winners[1][y, x])
                label[y, x] = present[strict - 1] + 1 if strict else (0 if not lenient else 255)
        result.append(label)
    return torch.stack(result)


@pytest.mark.parametrize("par", [None, ParSettings(dilations=(1, 2), iterations=3)])
def test_labels_equal_a_loop_over_images_and_pixels(par):
    torch.manual_seed(0)
    maps, tags = torch.rand(3, 4, 6, 7), torch.tensor([[1.0, 0, 1, 1], [0, 0, 1, 0], [0, 1, 0, 1]])
    high, image = torch.tensor([0.7, 0.6, 0.65]), torch.rand(3, 3, 24, 28) * 255
    found = two_threshold_labels(maps, tags, 0.4, high, (24, 28), 255, image, par)
    slow = slow_labels(maps, tags, 0.4, high, (24, 28), par, image)
    assert torch.equal(found, slow)
    assert {0, 255} <= set(found.unique().tolist()) or par is not None


def test_an_image_without_tags_is_background_or_open_never_foreground():
    found = two_threshold_labels(torch.rand(1, 3, 4, 4), torch.zeros(1, 3), 0.3, torch.tensor([0.7]), (8, 8), 255)
    assert set(found.unique().tolist()) == {0}
