import numpy as np
import pytest

from pipeline.config.classes import ClassTable
from pipeline.config.evaluation import Protocol
from pipeline.errors import PseudomaskError
from pipeline.evaluation.boundary import boundary_counts
from pipeline.evaluation.confusion import centre_crop, confusion_of, joint_counts
from pipeline.evaluation.measure import measure
from pipeline.evaluation.metrics import mean_iou, per_class
from pipeline.evaluation.table import markdown

CLASSES = ClassTable(names=("background", "a", "b", "c"))


def pair(seed=0, shape=(9, 11)):
    draw = np.random.default_rng(seed)
    values = np.array([0, 1, 2, 255], np.uint8)
    return draw.choice(values, shape), draw.choice(values, shape)


@pytest.mark.parametrize("ignored_as", ["background", "excluded"])
def test_confusion_equals_counting_pixel_by_pixel(ignored_as):
    truth, predicted = pair()
    expected = np.zeros((4, 4), np.int64)
    for t, p in zip(truth.ravel(), predicted.ravel(), strict=True):
        if t == 255 or (p == 255 and ignored_as == "excluded"):
            continue
        expected[t, 0 if p == 255 else p] += 1
    np.testing.assert_array_equal(confusion_of(joint_counts(truth, predicted), 4, 255, ignored_as), expected)


def test_bad_predictions_are_named():
    truth, predicted = pair()
    with pytest.raises(PseudomaskError, match=r"holds value 2; allowed: 0\.\.1 and 255"):
        confusion_of(joint_counts(truth, predicted), 2, 255, "background")
    with pytest.raises(PseudomaskError, match=r"the mask is \(8, 11\)"):
        confusion_of(joint_counts(truth, predicted[:8]), 4, 255, "background")


def test_scores_by_hand_and_absent_classes():
    matrix = np.array([[5, 1, 0], [2, 4, 0], [0, 0, 0]])
    values = per_class(matrix)
    assert values["iou"] == [5 / 8, 4 / 7, None]
    assert values["precision"] == [5 / 7, 4 / 5, None]
    assert values["recall"] == [5 / 6, 4 / 6, None]
    assert values["over_activation"] == [2 / 8, 1 / 7, None]
    assert mean_iou(matrix) == pytest.approx((5 / 8 + 4 / 7) / 2)
    assert mean_iou(matrix, [1, 2]) == pytest.approx(4 / 7)


def test_boundary_counts_equal_a_slow_reference():
    truth, predicted = (np.kron(mask, np.ones((4, 4), np.uint8)) for mask in pair(3, (6, 7)))
    distance = max(1, round(0.05 * np.hypot(*truth.shape)))

    def band(mask, index):
        found = np.zeros(mask.shape, bool)
        padded = np.pad(mask == index, distance)
        for y, x in zip(*np.nonzero(mask == index), strict=True):
            found[y, x] = not padded[y : y + 2 * distance + 1, x : x + 2 * distance + 1].all()
        return found & (truth != 255)

    counts = boundary_counts(truth, predicted, 4, 255, 0.05)
    for index in range(4):
        ours, theirs = band(truth, index), band(predicted, index)
        assert counts[index].tolist() == [(ours & theirs).sum(), (ours | theirs).sum()]


def test_a_perfect_mask_scores_one_and_coverage_counts_open_pixels():
    truth = pair()[0]
    truth[truth == 255] = 0
    found = measure([(truth, truth)], CLASSES, Protocol(boundary=True))
    assert found.mean_iou() == 1
    assert [value for value in found.per_class()["boundary_iou"] if value is not None] == [1, 1, 1]
    half = truth.copy()
    half[:, :5] = 255
    found = measure([(truth, half)], CLASSES, Protocol())
    assert found.coverage == pytest.approx(6 / 11)
    right = truth[:, 5:]
    expected = [(right == index).sum() / (truth == index).sum() for index in range(3)]
    assert found.per_class()["coverage"] == [*map(pytest.approx, expected), None]


@pytest.mark.parametrize(("ignored_as", "expected"), [("background", [1.0, 1.0]), ("excluded", [None, 1.0])])
def test_boundaries_treat_open_pixels_as_the_protocol_says(ignored_as, expected):
    truth = np.zeros((20, 20), np.uint8)
    truth[5:15, 5:15] = 1
    opened = np.where(truth == 0, 255, truth).astype(np.uint8)
    found = measure([(truth, opened)], CLASSES, Protocol(boundary=True, ignored_as=ignored_as)).per_class()
    assert found["boundary_iou"][:2] == found["iou"][:2] == expected


def test_protocols_have_names_of_their_own():
    assert Protocol().name == "full"
    assert Protocol(size="center_crop", ignored_as="excluded").name == "centre crop 513, open pixels excluded"


def test_the_centre_crop_is_square_and_central():
    mask = np.zeros((20, 40), np.uint8)
    mask[:, 10:30] = 1
    assert (centre_crop(mask, 30) == 1).all()
    assert centre_crop(mask, 30).shape == (30, 30)


def test_a_published_number_has_a_column_of_its_own_where_there_is_one():
    row = {"name": "student", "split": "val", "images": 3, "crf": False, "seed": 0, "protocol": "full"}
    row |= {"supervision": "tags", "mean_iou": 0.5, "subsets": {}, "coverage": 1.0, "published": None}
    assert "published" not in markdown([row])
    header, _, first, second = markdown([row, row | {"published": 0.722}]).splitlines()
    column = [cell.strip() for cell in header.split("|")].index("published")
    assert [line.split("|")[column].strip() for line in (first, second)] == ["n/a", "72.2"]
