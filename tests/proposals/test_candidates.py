import numpy as np
import pytest
from scipy.io import savemat

from pipeline.config.proposals import ChoiceOfCandidate, GroupingSettings
from pipeline.errors import PseudomaskError
from pipeline.proposals.candidates import Partition, fitness, soft_ellipse
from pipeline.proposals.grouping import Regions, eigenvectors
from pipeline.proposals.mcg import McgCandidates

BOX = (3, 2, 11, 9)


def blob_image(size=(60, 80)):
    """A red ellipse on a noisy green ground, and where it is."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[: size[0], : size[1]]
    inside = ((y - 30) / 14) ** 2 + ((x - 40) / 20) ** 2 <= 1
    image = np.where(inside[..., None], (200, 40, 30), (60, 140, 50)) + random.normal(0, 6, (*size, 3))
    return image.clip(0, 255).astype(np.uint8), inside, (20, 16, 61, 45)


def slow_fitness(mask, box, by):
    """Painted, from the definitions."""
    x0, y0, x1, y1 = box
    frame = np.zeros(mask.shape, bool)
    frame[y0:y1, x0:x1] = True

    def tight(part):
        rows, columns = np.flatnonzero(part.any(1)), np.flatnonzero(part.any(0))
        painted = np.zeros(mask.shape, bool)
        if len(rows):
            painted[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
        return painted

    filled = (mask & frame).sum() / (mask | frame).sum()
    if by == "filled_box":
        return filled
    if by == "tight_box":
        return (tight(mask) & frame).sum() / (tight(mask) | frame).sum() + 1e-3 * filled
    soft = np.zeros(mask.shape)
    soft[y0:y1, x0:x1] = soft_ellipse(y1 - y0, x1 - x0)
    common = soft[mask].sum()
    overlap = common / (soft.sum() + mask.sum() - common)
    return tight(mask & frame).sum() / frame.sum() + (mask & frame).sum() / mask.sum() + overlap


@pytest.mark.parametrize("by", ["balanced", "tight_box", "filled_box"])
def test_fitness_of_regions_and_unions_equals_that_of_painted_masks(by):
    random = np.random.default_rng(1)
    labels = np.repeat(np.repeat(random.permutation(20).reshape(4, 5), 3, 0), 3, 1).astype(np.int32)
    partition, choice = Partition(labels), ChoiceOfCandidate(by=by)
    measures = partition.measures(BOX)
    pairs = np.array([(a, b) for a in range(20) for b in range(a)])
    unions = measures[pairs[:, 0]].joined(measures[pairs[:, 1]])
    slow = [slow_fitness(labels == index, BOX, by) for index in range(20)]
    np.testing.assert_allclose(fitness(measures, BOX, choice), slow)
    slow = [slow_fitness(np.isin(labels, pair), BOX, by) for pair in pairs]
    np.testing.assert_allclose(fitness(unions, BOX, choice), slow)


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


@pytest.mark.parametrize("regions", [1, 2, 3])
def test_grouping_finds_a_blob_of_its_own_colour(regions):
    image, truth, box = blob_image()
    settings = GroupingSettings(regions=regions)
    assert iou(Regions(image, settings).choose(box, settings), truth) > 0.9


def test_two_halves_of_different_colour_are_joined():
    image, truth, box = blob_image()
    # The left half is more like the ground than like the right half, so no tree of colours has the two as one region.
    image[:, :40][truth[:, :40]] = (100, 170, 60)
    image[:, 40:][truth[:, 40:]] = (40, 30, 200)
    found = {}
    for regions in (1, 2):
        settings = GroupingSettings(hierarchies=("colour",), regions=regions)
        found[regions] = iou(Regions(image, settings).choose(box, settings), truth)
    assert found[2] > 0.9
    assert found[1] < 0.7


def test_given_edges_replace_gradients():
    image, truth, box = blob_image()
    flat = np.full_like(image, 120)
    edges = np.zeros(truth.shape, np.uint8)
    edges[1:] |= (truth[1:] != truth[:-1]) * np.uint8(255)
    edges[:, 1:] |= (truth[:, 1:] != truth[:, :-1]) * np.uint8(255)
    settings = GroupingSettings(hierarchies=("boundary",))
    assert iou(Regions(flat, settings, edges).choose(box, settings), truth) > 0.85


def test_grouping_gives_the_same_mask_twice():
    image, _, box = blob_image()
    settings = GroupingSettings()
    first, second = (Regions(image, settings).choose(box, settings) for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 2), (30, 30)])
def test_plain_and_tiny_images_give_the_box(size):
    image = np.full((*size, 3), 90, np.uint8)
    settings = GroupingSettings()
    found = Regions(image, settings).choose((0, 0, size[1], size[0]), settings)
    assert found.shape == size
    assert found.all()


@pytest.mark.parametrize("clip", [True, False])
def test_clipping_cuts_the_candidate_at_the_box(clip):
    image, _, box = blob_image()
    narrow = (25, box[1], 55, box[3])
    settings = GroupingSettings(choice=ChoiceOfCandidate(clip=clip))
    found = Regions(image, settings).choose(narrow, settings)
    outside = found.copy()
    outside[narrow[1] : narrow[3], narrow[0] : narrow[2]] = False
    assert outside.any() != clip


def test_eigenvectors_tell_two_loosely_tied_cliques_apart():
    pairs = np.array([(a, b) for c in (0, 5) for a in range(c, c + 5) for b in range(c, a)] + [(0, 5)])
    boundary = np.where(np.arange(len(pairs)) == len(pairs) - 1, 30.0, 0.1)
    first = eigenvectors(boundary, np.ones(len(pairs)), pairs, 10)[:, 0]
    assert np.sign(first[:5]).min() == np.sign(first[:5]).max()
    assert np.sign(first[0]) != np.sign(first[5])


def write_mat(path, superpixels, candidates, **more):
    labels = np.empty((len(candidates), 1), object)
    for row, members in enumerate(candidates):
        labels[row, 0] = np.array(members, np.uint32)[:, None]
    savemat(path, {"superpixels": superpixels, "labels": labels, **more})


def test_precomputed_candidates_are_chosen_by_box_and_their_scores_not_read(tmp_path):
    superpixels = np.repeat(np.repeat(np.arange(1, 13).reshape(3, 4), 4, 0), 4, 1)
    # Scores would put the whole image first.
    write_mat(tmp_path / "a.mat", superpixels, [[*range(1, 13)], [6, 7], [6], [2, 3, 6, 7]], scores=[9, 1, 1, 1])
    found = McgCandidates(tmp_path / "a.mat", "a", (12, 16))
    for box, members in (((4, 4, 12, 8), [6, 7]), ((4, 0, 12, 8), [2, 3, 6, 7]), ((4, 4, 8, 8), [6])):
        mask = found.choose(box, ChoiceOfCandidate(by="tight_box"))
        assert np.array_equal(mask, np.isin(superpixels, members))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "do not exist"),
        (lambda path: path.write_bytes(b"no mat"), "cannot be read"),
        (lambda path: savemat(path, {"scores": [1]}), "expected 'superpixels' and 'labels'"),
        (lambda path: write_mat(path, np.ones((3, 3)), [[1], [1]]), "are for 3x3, the image is 16x12"),
        (lambda path: write_mat(path, np.ones((12, 16)), [[2], [1]]), "names a superpixel"),
    ],
)
def test_unusable_candidates_are_named(tmp_path, make, message):
    make(tmp_path / "a.mat")
    with pytest.raises(PseudomaskError, match=message):
        McgCandidates(tmp_path / "a.mat", "a", (12, 16))
