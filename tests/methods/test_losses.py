import math

import pytest
import torch
from torch.nn import functional as F

from pipeline.methods.losses import balanced_loss, cross_entropy, distillation_loss, probabilities_of


def softmax(scores):
    powers = [math.exp(value) for value in scores]
    return [power / sum(powers) for power in powers]


@pytest.fixture
def logits():
    torch.manual_seed(0)
    return torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)


def pixels(shape):
    return torch.cartesian_prod(*(torch.arange(length) for length in shape)).tolist()


def test_balanced_loss_is_half_background_half_foreground_in_value_and_gradient(logits):
    labels = torch.randint(0, 3, (2, 4, 5))
    labels[0, :2] = 255
    counts = [(labels == 0).sum().item(), ((labels > 0) & (labels < 255)).sum().item()]
    slow, gradient = 0.0, torch.zeros_like(logits)
    for b, y, x in pixels(labels.shape):
        label = labels[b, y, x].item()
        if label == 255:
            continue
        share = 0.5 / counts[label > 0]
        probabilities = softmax(logits[b, :, y, x].tolist())
        slow -= share * math.log(probabilities[label])
        for c, probability in enumerate(probabilities):
            gradient[b, c, y, x] = share * (probability - (c == label))
    loss = balanced_loss(logits, labels, 255)
    loss.backward()
    assert loss.item() == pytest.approx(slow)
    torch.testing.assert_close(logits.grad, gradient, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("present", [0, 1, 255])
def test_a_kind_of_pixel_that_is_missing_adds_nothing(logits, present):
    labels = torch.full((2, 4, 5), present)
    loss = balanced_loss(logits, labels, 255)
    loss.backward()
    assert logits.grad.isfinite().all()
    if present == 255:
        assert loss.item() == 0
        assert not logits.grad.any()
    else:
        slow = [-math.log(softmax(logits[b, :, y, x].tolist())[present]) for b, y, x in pixels(labels.shape)]
        assert loss.item() == pytest.approx(sum(slow) / len(slow) / 2)


def test_distillation_is_the_mean_over_valid_pixels_in_value_and_gradient(logits):
    targets, valid = torch.rand(2, 3, 4, 5, dtype=torch.float64).softmax(1), torch.rand(2, 4, 5) > 0.3
    slow, gradient = 0.0, torch.zeros_like(logits)
    for b, y, x in valid.nonzero().tolist():
        probabilities = softmax(logits[b, :, y, x].tolist())
        for c in range(3):
            slow -= targets[b, c, y, x].item() * math.log(probabilities[c]) / valid.sum().item()
            gradient[b, c, y, x] = (probabilities[c] - targets[b, c, y, x]) / valid.sum()
    loss = distillation_loss(logits, targets, valid)
    loss.backward()
    assert loss.item() == pytest.approx(slow)
    torch.testing.assert_close(logits.grad, gradient)
    assert distillation_loss(logits, targets, torch.zeros_like(valid)).item() == 0


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_cross_entropy_and_softmax_are_torchs_own_in_both_memory_layouts(logits, layout):
    labels = torch.randint(0, 3, (2, 4, 5))
    labels[0, :2] = 255
    laid_out = logits.contiguous(memory_format=layout)
    torch.testing.assert_close(
        cross_entropy(laid_out, labels, 255), F.cross_entropy(logits, labels, ignore_index=255, reduction="none")
    )
    torch.testing.assert_close(probabilities_of(laid_out), logits.softmax(1))


def test_softmax_keeps_the_classes_of_a_pixel_side_by_side(logits):
    side_by_side = logits.contiguous(memory_format=torch.channels_last)
    assert probabilities_of(side_by_side).is_contiguous(memory_format=torch.channels_last)
