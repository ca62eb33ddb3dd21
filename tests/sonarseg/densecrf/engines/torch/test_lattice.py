"""The torch lattice against one kept in a dictionary, and tiles that must not touch."""

import itertools

import numpy as np
import pytest
import torch

from sonarseg.densecrf.engines.lattice_cache import KeptLattices
from sonarseg.densecrf.engines.torch import bags
from sonarseg.densecrf.engines.torch import engine as torch_engine
from sonarseg.densecrf.engines.torch import lattice as torch_lattice
from sonarseg.densecrf.engines.torch.lattice import Lattice
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.densecrf.tile import CrfTile
from sonarseg.errors import UserError
from tests.support.crf_oracles import speckled_tile

CPU = torch.device("cpu")
CUDA = pytest.param(
    torch.device("cuda"),
    marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
)


def simplex_of(point):
    """Vertices, as tuples of d + 1 coordinates, and weights of one point (Adams et al. 2010, section 3.1)."""
    d = len(point)
    scaled = [point[i] * np.sqrt(2 / 3) * (d + 1) / np.sqrt((i + 1) * (i + 2)) for i in range(d)]
    elevated = np.array([sum(scaled[i:]) - (i * scaled[i - 1] if i else 0) for i in range(d + 1)])
    nearest = np.round(elevated / (d + 1)) * (d + 1)
    excess = round(nearest.sum() / (d + 1))
    by_difference = np.argsort(nearest - elevated, kind="stable")
    if excess > 0:
        nearest[by_difference[d + 1 - excess :]] -= d + 1
    elif excess < 0:
        nearest[by_difference[:-excess]] += d + 1
    descending = np.argsort(nearest - elevated, kind="stable")
    offset = (elevated - nearest)[descending] / (d + 1)
    vertices, weights = [], []
    for r in range(d + 1):
        lower = descending[d + 1 - r :]
        vertex = nearest + r
        vertex[lower] -= d + 1
        vertices.append(tuple(vertex.astype(int).tolist()))
        weights.append(offset[d - r] - offset[d + 1 - r] if r else 1 - offset[0] + offset[d])
    return vertices, weights


def dictionary_filter(features, tile, values):
    """Splat, blur and slice with vertices in a dictionary, float64; symmetrically normalised."""
    d = features.shape[1]
    simplices = [simplex_of(point) for point in features]
    keys = {(t, v) for t, (vertices, _) in zip(tile, simplices, strict=True) for v in vertices}

    def apply(columns):
        lattice = {key: np.zeros(columns.shape[1]) for key in keys}
        for t, (vertices, weights), row in zip(tile, simplices, columns, strict=True):
            for vertex, weight in zip(vertices, weights, strict=True):
                lattice[t, vertex] += weight * row
        for axis in range(d + 1):
            step = np.ones(d + 1, dtype=int)
            step[axis] = -d
            before = dict(lattice)
            for t, vertex in keys:
                for sign in (1, -1):
                    neighbour = (t, tuple((vertex + sign * step).tolist()))
                    lattice[t, vertex] = lattice[t, vertex] + 0.5 * before.get(neighbour, 0)
        sliced = [
            sum(weight * lattice[t, vertex] for vertex, weight in zip(*simplex, strict=True))
            for t, simplex in zip(tile, simplices, strict=True)
        ]
        return np.array(sliced) / (1 + 2.0**-d)

    norm = 1 / np.sqrt(apply(np.ones((len(features), 1))) + 1e-20)
    return norm * apply(norm * values), len(keys)


def scattered(seed, dimensions, count=60):
    """Points in a cloud and a few far outside, on both sides of 0, of three tiles."""
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(count, dimensions)) * generator.choice([0.5, 2, 40], (count, 1))
    return features.astype(np.float32), generator.integers(0, 3, count), generator.random((count, 4))


@pytest.mark.parametrize("device", [CPU, CUDA], ids=str)
@pytest.mark.parametrize("atomic", [False, True])
@pytest.mark.parametrize("dimensions", [1, 2, 3, 5])
def test_equals_a_lattice_in_a_dictionary(dimensions, atomic, device):
    features, tile, values = scattered(dimensions, dimensions)
    lattice = Lattice(
        torch.from_numpy(features).to(device), torch.from_numpy(tile).to(device), deterministic=True
    )
    if atomic:
        lattice.sorted = None
    found = lattice.filter(torch.from_numpy(values).float().to(device)).cpu()
    expected, size = dictionary_filter(features.astype(float), tile, values)
    assert lattice.size == size
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_tiles_do_not_touch():
    features, _, values = (torch.from_numpy(a) for a in scattered(7, 3))
    values, halves = values.float(), (slice(0, 25), slice(25, 60))
    tile = torch.tensor([0] * 25 + [1] * 35)
    together = Lattice(features, tile).filter(values)
    for half in halves:
        assert torch.equal(together[half], Lattice(features[half]).filter(values[half]))


def test_a_vertex_beyond_the_corner_of_the_box_is_no_neighbour():
    # All corners of a box of cells: a step out of it must not come in again on the other side.
    corners = np.array(list(itertools.product([-4.0, 4.0], repeat=3)), dtype=np.float32)
    tile = np.repeat([0, 1], len(corners))
    features, values = np.concatenate([corners, corners]), np.random.default_rng(0).random((16, 2))
    found = Lattice(torch.from_numpy(features), torch.from_numpy(tile)).filter(
        torch.from_numpy(values).float()
    )
    expected, _ = dictionary_filter(features.astype(float), tile, values)
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize("dimensions, reach", [(2, 1e7), (5, 1e5)])
def test_features_beyond_the_keys_are_refused_in_one_sentence(dimensions, reach):
    # 1e7 widths leave float32 no room within a cell; 1e5 along each of five axes pass 62 bits together.
    features = torch.cat([torch.zeros(1, dimensions), torch.diag(torch.full((dimensions,), reach))])
    with pytest.raises(
        UserError, match=r"^[^.]* cannot resolve sigma_beta 1e-05 on a tile.*times as wide\.$"
    ):
        Lattice(features, kernel="sigma_beta 1e-05")


@pytest.mark.parametrize("device", [CPU, CUDA], ids=str)
def test_deterministic_filters_are_equal_bit_for_bit(device):
    generator = torch.Generator().manual_seed(0)
    features = (torch.rand(5000, 3, generator=generator) * 2).to(device)
    values = torch.rand(5000, 6, generator=generator).to(device)
    runs = [Lattice(features, deterministic=True).filter(values) for _ in range(2)]
    assert torch.equal(*runs)


def test_spatial_lattices_are_kept_up_to_a_number_of_bytes(monkeypatch):
    one = torch_lattice.spatial_lattice(30, 41, 2.0, CPU, True)
    # Three corners a pixel: vertices, weights, and both sorted by vertex
    assert one.nbytes > 4 * 3 * 4 * 30 * 41
    assert torch_lattice.spatial_lattice(30, 41, 2.0, CPU, True) is one
    monkeypatch.setattr(torch_lattice, "_spatial", KeptLattices(2 * one.nbytes))
    for sigma in (2.01, 2.02, 2.03, 2.04):
        torch_lattice.spatial_lattice(30, 41, sigma, CPU, True)
        assert 0 < torch_lattice._spatial.nbytes <= 2 * one.nbytes


@pytest.mark.parametrize("device", [CPU, CUDA], ids=str)
def test_no_bag_is_long_and_the_sums_stay_those_of_the_vertices(device):
    # Vertices of none, few, exactly one bag, more than one and more than a bag of bags
    counts = torch.tensor([3, 64, 1, 65, 5000, 128], device=device)
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(int(counts.sum()), generator=generator).to(device)
    weights = torch.rand(len(order), 1, generator=generator).to(device)
    values = torch.rand(len(order), 4, generator=generator).to(device)
    entries = bags.SortedEntries(order, counts, weights)
    assert len(entries.levels) == 3
    assert all(int(starts.diff().max()) <= bags.LONGEST_BAG for starts in entries.levels)
    parts = torch.split((weights * values)[order].double(), counts.tolist())
    expected = torch.stack([part.sum(0) for part in parts] + [torch.zeros(4, device=device)])
    np.testing.assert_allclose(entries.sums(values).cpu(), expected.cpu(), rtol=1e-5)


def test_the_labels_do_not_depend_on_the_length_of_the_bags(monkeypatch):
    tiles = [CrfTile(scores, image) for image, scores, _ in (speckled_tile(48, 40, 5, s) for s in range(3))]
    parameters = CrfParameters(sigma_alpha=30, sigma_beta=40, sigma_gamma=9, unary="soft", iterations=6)
    bounded = torch_engine.label_history(tiles, parameters, 6, device=CPU)
    monkeypatch.setattr(bags, "LONGEST_BAG", 10**9)
    monkeypatch.setattr(torch_lattice, "_spatial", KeptLattices(2**20))
    whole = torch_engine.label_history(tiles, parameters, 6, device=CPU)
    assert all(np.array_equal(one, two) for one, two in zip(bounded, whole, strict=True))
