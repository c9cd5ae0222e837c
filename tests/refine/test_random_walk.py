import numpy as np
import pytest
import torch

from pipeline.refine.affinity import ends, links, path_affinity
from pipeline.refine.random_walk import random_walk


def on_the_way(start, end):
    """Cells less than a pixel from the straight way between two places."""
    (y0, x0), (y1, x1) = start, end
    dy, dx = y1 - y0, x1 - x0
    cells = [
        (y, x)
        for y in range(min(y0, y1), max(y0, y1) + 1)
        for x in range(min(x0, x1), max(x0, x1) + 1)
        if abs(dy * (x - x0) - dx * (y - y0)) / np.hypot(dy, dx) < 1 - 1e-9
    ]
    assert start in cells
    assert end in cells
    return cells


def dense_affinity(edge, radius):
    """Every pair of places, one at a time."""
    height, width = edge.shape
    places = [(y, x) for y in range(height) for x in range(width)]
    found = np.eye(len(places))
    for i, a in enumerate(places):
        for j, b in enumerate(places):
            if i != j and np.hypot(a[0] - b[0], a[1] - b[1]) < radius:
                found[i, j] = 1 - max(edge[cell] for cell in on_the_way(a, b))
    return found


@pytest.mark.parametrize("radius", [2, 3, 5])
def test_affinities_equal_all_pairs(radius):
    edge = np.random.default_rng(0).random((6, 7))
    dense = dense_affinity(edge, radius)
    number = torch.arange(42).view(6, 7)
    pairs = 0
    for link in links(radius):
        found = path_affinity(torch.from_numpy(edge), link)
        start, end = ends(number, link)
        np.testing.assert_allclose(found.numpy(), dense[start.numpy(), end.numpy()], atol=1e-12)
        pairs += found.numel()
    assert pairs == ((dense > 0).sum() - 42) / 2


@pytest.mark.parametrize("doublings", [0, 3, 8])
def test_the_walk_equals_squaring_the_dense_matrix(doublings):
    rng = np.random.default_rng(1)
    edge, maps = rng.random((7, 6)) ** 2, rng.random((3, 7, 6))
    weights = dense_affinity(edge, 4) ** 10
    transition = weights / weights.sum(0, keepdims=True)
    for _ in range(doublings):
        transition = transition @ transition
    expected = (maps * (1 - edge)).reshape(3, -1) @ transition
    found = random_walk(torch.from_numpy(maps), torch.from_numpy(edge), 4, 10.0, doublings)
    np.testing.assert_allclose(found.numpy(), expected.reshape(maps.shape), atol=1e-9)
    single = random_walk(torch.from_numpy(maps).float(), torch.from_numpy(edge).float(), 4, 10.0, doublings)
    np.testing.assert_allclose(single.numpy(), expected.reshape(maps.shape), atol=1e-4)


def test_a_wall_is_not_crossed():
    edge = torch.zeros(9, 9)
    edge[:, 4] = 1
    maps = torch.zeros(1, 9, 9)
    maps[0, 4, 1] = 1
    found = random_walk(maps, edge, 3, 10.0, 6)
    assert found[0, :, 5:].abs().max() == 0
    assert (found[0, :, :4] > 0).all()
