"""Combinatorial grouping: regions of several hierarchies, alone or two or three neighbours together, chosen by a box.

It has the role of MCG (Arbelaez et al., CVPR 2014) in MDH and is not MCG: edges are colour gradients, not learned ones,
all hierarchies share one partition into small regions, and nothing is ranked by learned scores. As there, eigenvectors
add cues of global shape; they are those of small regions rather than of pixels.
"""

from dataclasses import dataclass

import cv2
import higra
import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import ArpackNoConvergence, eigsh

from pipeline.artifacts.boxes import Corners
from pipeline.config.proposals import GroupingSettings as Settings
from pipeline.config.proposals import Hierarchy
from pipeline.proposals.candidates import Floats, Measures, Partition, fitness

_SIGMAS = (1.0, 2.0, 4.0)
_WEIGHTS = np.array([1, 2, 2], np.float32)  # of L, a and b: shading changes lightness more than colour
_VECTORS = 8
_BEAM = 16  # candidates that get a neighbour, and
_PARTNERS = 48  # how many neighbours are tried


class Regions:
    """All regions of an image.

    Args:
        image: uint8 RGB (H, W, 3).
        settings: which hierarchies.
        edges: uint8 (H, W) strength of boundaries; None: colour gradients.
    """

    def __init__(self, image: NDArray[np.uint8], settings: Settings, edges: NDArray[np.uint8] | None = None) -> None:
        lab = _float32(cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)) * _WEIGHTS
        if edges is None:
            gradients = [colour_gradient(lab, sigma) for sigma in _SIGMAS]
            fine, strength = gradients[1] + gradients[2], gradients[0] + gradients[1] + gradients[2]
        else:
            fine = strength = _float32(cv2.GaussianBlur(edges.astype(np.float32), (0, 0), 1.0))
        grid = higra.get_4_adjacency_graph(image.shape[:2])
        labels = higra.labelisation_watershed(grid, _between(grid, fine))
        graph = higra.make_region_adjacency_graph_from_labelisation(grid, labels)
        self.partition = Partition(_from_zero(labels, image.shape[:2]))
        self.trees: list[higra.Tree] = []
        self._neighbours = sparse.csr_matrix((len(self.partition), len(self.partition)), dtype=np.float32)
        if len(self.partition) > 1:
            cues = _cues(lab, strength, self.partition, grid, graph, settings.hierarchies)
            self.trees = [cues.tree(name) for name in settings.hierarchies]
            self._neighbours = _symmetric(np.ones(len(cues.pairs)), cues.pairs, len(self.partition))

    def choose(self, box: Corners, settings: Settings) -> NDArray[np.bool_]:
        """The region, or union of neighbouring ones, that fits a box best.

        Args:
            box: with area inside the image.
            settings: size of unions and what "best" means.

        Returns:
            bool (H, W).
        """
        cut = box if settings.choice.clip else None
        if not self.trees:
            return self.partition.mask(np.ones(1, bool), cut)
        beam, partners = self._single(box, settings)
        best, best_fit = beam.sets[0], beam.fit[0]
        for _ in range(settings.regions - 1):
            wider = self._with_neighbour(beam, partners, box, settings)
            if wider is None:
                break
            beam = wider
            if beam.fit[0] > best_fit:
                best, best_fit = beam.sets[0], beam.fit[0]
        return self.partition.mask(best, cut)

    def _single(self, box: Corners, settings: Settings) -> tuple["_Candidates", "_Candidates"]:
        """Single regions of all trees: those that fit best, and the largest mostly inside, to be joined to them."""
        leaves = self.partition.measures(box)
        found = [
            Measures(
                higra.accumulate_sequential(tree, leaves.sums, higra.Accumulators.sum),
                higra.accumulate_sequential(tree, leaves.corners, higra.Accumulators.min),
            )
            for tree in self.trees
        ]
        measured = Measures(np.concatenate([m.sums for m in found]), np.concatenate([m.corners for m in found]))
        area, inside, _ = measured.sums.T
        fit = np.where(inside > 0, fitness(measured, box, settings.choice), -1.0)
        best = np.argsort(-fit, kind="stable")[: _BEAM if settings.regions > 1 else 1]
        size = np.where(inside > area / 2, inside**2 / area, 0.0)
        largest = np.argsort(-size, kind="stable")[: _PARTNERS if settings.regions > 1 else 0]
        best, largest = best[fit[best] >= 0], largest[size[largest] > 0]
        return (
            _Candidates(self._leaves_below(best), measured[best], fit[best]),
            _Candidates(self._leaves_below(largest), measured[largest], fit[largest]),
        )

    def _with_neighbour(
        self, beam: "_Candidates", partners: "_Candidates", box: Corners, settings: Settings
    ) -> "_Candidates | None":
        """The best unions of a candidate with a region beside it."""
        ours, theirs = beam.sets.astype(np.float32), partners.sets.astype(np.float32)
        beside = (self._neighbours @ ours.T).T
        first, second = np.nonzero((ours @ theirs.T == 0) & (beside @ theirs.T > 0))
        if not len(first):
            return None
        measured = beam.measures[first].joined(partners.measures[second])
        fit = fitness(measured, box, settings.choice)
        kept = np.argsort(-fit, kind="stable")[:_BEAM]
        sets = beam.sets[first[kept]] | partners.sets[second[kept]]
        return _Candidates(sets, measured[kept], fit[kept])

    def _leaves_below(self, nodes: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Small regions of each node, the nodes of all trees numbered one after the other; bool (K, n)."""
        count = len(self.partition)
        result = np.zeros((len(nodes), count), bool)
        starts = np.cumsum([0, *(tree.num_vertices() for tree in self.trees)])
        for row, node in enumerate(nodes):
            number = int(np.searchsorted(starts, node, "right")) - 1
            own = np.zeros(self.trees[number].num_vertices(), np.uint8)
            own[node - starts[number]] = 1
            result[row] = higra.propagate_sequential(self.trees[number], own, own == 0)[:count] > 0
        return result


@dataclass(frozen=True)
class _Candidates:
    """Sets of small regions, bool (K, n)."""

    sets: NDArray[np.bool_]
    measures: Measures
    fit: Floats


@dataclass(frozen=True)
class _Cues:
    """What hierarchies are made from.

    Attributes:
        graph: adjacency of small regions.
        pairs: int (E, 2) regions each edge joins.
        boundary: (E,) mean strength along their common boundary, in units of its mean.
        lengths: (E,) pixels of it.
        area: (n,) pixels.
        features: (n, 5) mean L, a, b, weighted, and two local deviations of L.
        vectors: (n, V) scaled eigenvectors.
    """

    graph: higra.UndirectedGraph
    pairs: NDArray[np.int64]
    boundary: Floats
    lengths: Floats
    area: Floats
    features: Floats
    vectors: Floats

    def tree(self, name: Hierarchy) -> higra.Tree:
        if name == "boundary":
            return higra.binary_partition_tree_average_linkage(self.graph, self.boundary, self.lengths)[0]
        if name == "spectral_boundary":
            steps = np.abs(self.vectors[self.pairs[:, 0]] - self.vectors[self.pairs[:, 1]]).sum(1)
            both = self.boundary + steps / max(float(steps.mean()), 1e-12)
            return higra.binary_partition_tree_average_linkage(self.graph, both, self.lengths)[0]
        if name == "volume":
            return higra.watershed_hierarchy_by_volume(self.graph, self.boundary, self.area)[0]
        if name == "area":
            return higra.watershed_hierarchy_by_area(self.graph, self.boundary, self.area)[0]
        values = {"colour": self.features[:, :3], "texture": self.features, "spectral": self.vectors}[name]
        return higra.binary_partition_tree_ward_linkage(
            self.graph, np.ascontiguousarray(values), vertex_sizes=self.area
        )[0]


def _cues(
    lab: NDArray[np.float32],
    strength: NDArray[np.float32],
    partition: Partition,
    grid: higra.UndirectedGraph,
    graph: higra.UndirectedGraph,
    wanted: tuple[Hierarchy, ...],
) -> _Cues:
    weights = _between(grid, strength)
    boundary = higra.rag_accumulate_on_edges(graph, higra.Accumulators.mean, weights)
    boundary = boundary / max(float(boundary.mean()), 1e-12)
    lengths = higra.rag_accumulate_on_edges(graph, higra.Accumulators.sum, np.ones_like(weights))
    pairs = np.stack(graph.edge_list(), 1).astype(np.int64)
    vectors = np.zeros((len(partition), 1))
    if {"spectral", "spectral_boundary"} & set(wanted):
        vectors = eigenvectors(boundary, lengths, pairs, len(partition))
    return _Cues(graph, pairs, boundary, lengths, partition.area, _region_features(lab, partition), vectors)


def colour_gradient(lab: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Steepest change of colour at a scale, (H, W), in units of ``lab`` per ``sigma`` pixels (Di Zenzo 1986)."""
    smooth = cv2.GaussianBlur(lab, (0, 0), sigma)
    across, down = (cv2.Sobel(smooth, cv2.CV_32F, *order, ksize=3, scale=sigma / 8) for order in ((1, 0), (0, 1)))
    xx, yy, xy = (np.einsum("hwc,hwc->hw", a, b) for a, b in ((across, across), (down, down), (across, down)))
    result: NDArray[np.float32] = np.sqrt((xx + yy) / 2 + np.sqrt((xx - yy) ** 2 / 4 + xy**2))
    return result


def eigenvectors(boundary: Floats, lengths: Floats, pairs: NDArray[np.int64], count: int) -> Floats:
    """Smooth functions on the regions that change where boundaries are strong (normalised cuts, Shi and Malik 2000).

    Args:
        boundary: (E,) mean strength of each common boundary, in units of the mean.
        lengths: (E,) its length.
        pairs: (E, 2) regions it divides.
        count: number of regions n.

    Returns:
        (n, V): eigenvectors of unit deviation divided by the root of their eigenvalue, V up to 8.
    """
    wanted = min(_VECTORS, count - 2)
    if wanted < 1:
        return np.zeros((count, 1))
    steepness = boundary / max(float(np.percentile(boundary, 60)), 1e-12)
    # The strongest boundary still lets a little through: parts with nothing between them have no second eigenvector.
    affinity = _symmetric(np.exp(-np.minimum(steepness, 15)) * lengths, pairs, count)
    root = 1 / np.sqrt(np.asarray(affinity.sum(1)).ravel())
    scaled = sparse.diags(root) @ affinity @ sparse.diags(root)
    try:
        values, vectors = eigsh(scaled, wanted + 1, which="LA", tol=1e-3, v0=np.ones(count))
    except ArpackNoConvergence as error:
        values, vectors = error.eigenvalues, error.eigenvectors
    order = np.argsort(-values)[1:]
    if not len(order):
        return np.zeros((count, 1))
    smooth = vectors[:, order] * root[:, None]
    smooth = smooth / np.maximum(smooth.std(0), 1e-12)
    result: Floats = smooth / np.sqrt(np.maximum(1 - values[order], 1e-4))
    return result


def _region_features(lab: NDArray[np.float32], partition: Partition) -> Floats:
    light = lab[..., 0]
    channels = [*cv2.split(lab)]
    for sigma in _SIGMAS[1:]:
        variance = cv2.GaussianBlur(light * light, (0, 0), sigma) - cv2.GaussianBlur(light, (0, 0), sigma) ** 2
        channels.append(np.sqrt(np.maximum(variance, 0)))
    labels, area = partition.labels.ravel(), partition.area
    return np.stack([np.bincount(labels, channel.ravel(), len(area)) / area for channel in channels], 1)


def _between(grid: higra.UndirectedGraph, values: NDArray[np.float32]) -> Floats:
    """Strength of each edge between neighbouring pixels."""
    weights: Floats = higra.weight_graph(grid, values.astype(np.float64), higra.WeightFunction.mean)
    return weights


def _from_zero(labels: NDArray[np.integer], size: tuple[int, ...]) -> NDArray[np.int32]:
    result: NDArray[np.int32] = (labels - labels.min()).astype(np.int32).reshape(size)
    return result


def _float32(array: object) -> NDArray[np.float32]:
    return np.asarray(array, np.float32)


def _symmetric(values: Floats, pairs: NDArray[np.int64], count: int) -> sparse.csr_matrix:
    rows, columns = np.concatenate([pairs, pairs[:, ::-1]]).T
    return sparse.csr_matrix((np.tile(values, 2), (rows, columns)), shape=(count, count), dtype=values.dtype)
