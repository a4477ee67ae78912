"""The core-periphery graph and the MAC table of the notes (no torch)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecp.errors import UsageError
from ecp.model.graph import CorePeripheryGraph, centre_first, core_count, node_sizes
from ecp.model.macs import SHAPES, VitShape, attention_share, parameters, total_macs


def test_five_nodes_hold_40_39_39_39_39_patches():
    assert node_sizes(196, 5) == [40, 39, 39, 39, 39]


@given(st.integers(1, 300), st.data())
def test_node_rule(patches, data):
    nodes = data.draw(st.integers(1, patches))
    sizes = node_sizes(patches, nodes)
    assert sum(sizes) == patches and len(sizes) == nodes
    assert sizes.count(patches // nodes + 1) == patches % nodes
    assert sizes == sorted(sizes, reverse=True)


def test_ratio_rounding():
    assert core_count(0.1, 196) == 20
    assert core_count(1.0, 196) == 196
    assert core_count(0.5, 5) == 3


def test_centre_first_starts_in_the_middle():
    assert sorted(centre_first((14, 14))[:4]) == [90, 91, 104, 105]
    assert centre_first((3, 3))[0] == 4 and sorted(centre_first((3, 3))[-4:]) == [0, 2, 6, 8]


@pytest.mark.parametrize("ratio", [0.1, 0.3, 0.5, 1.0])
def test_adjacency_as_figure_4(ratio):
    """Black rows and columns of the core, white square of the periphery, diagonal included."""
    graph = CorePeripheryGraph.build(196, ratio, centre_first((14, 14)))
    adjacency, core = graph.adjacency(), core_count(ratio, 196)
    assert adjacency[:core].all() and adjacency[:, :core].all()
    assert not adjacency[core:, core:].any()
    assert (adjacency == adjacency.T).all()
    looped = graph.adjacency(self_loop=True)
    assert looped.diagonal().all() and looped.sum() - adjacency.sum() == 196 - core


def test_permutation_is_core_first_and_raster_inside():
    graph = CorePeripheryGraph.build(9, 3 / 9, [7, 2, 4, 0, 1, 3, 5, 6, 8])
    assert graph.permutation.tolist() == [2, 4, 7, 0, 1, 3, 5, 6, 8]


def test_grouped_nodes_are_core_as_a_whole():
    graph = CorePeripheryGraph.build(196, 0.2, list(range(195, -1, -1)), nodes=5)
    assert graph.core_nodes.tolist() == [4]
    assert graph.num_core == 39 and graph.is_core[157:].all()
    mask = graph.token_mask(prefix=1, self_loop=True)
    assert mask[40:80, 40:80].all() and not mask[40, 80]


def test_mask_has_prefix_as_core():
    mask = CorePeripheryGraph.build(16, 0.0, centre_first((4, 4))).token_mask(prefix=2)
    assert mask[:2].all() and mask[:, :2].all() and not mask[2:, 2:].any()


@pytest.mark.parametrize("ratio", [-0.1, 1.1, float("nan")])
def test_bad_ratio(ratio):
    with pytest.raises(UsageError, match="core ratio"):
        CorePeripheryGraph.build(16, ratio, centre_first((4, 4)))


@pytest.mark.parametrize("ranking", [[0, 1], [0] * 16, list(range(1, 17))])
def test_bad_ranking(ranking):
    with pytest.raises(UsageError, match="each of the 16 patches once"):
        CorePeripheryGraph.build(16, 0.5, ranking)


def test_bad_nodes():
    with pytest.raises(UsageError, match="17 nodes for 16 patches"):
        CorePeripheryGraph.build(16, 0.5, centre_first((4, 4)), nodes=17)


TABLE = {  # G MACs at core ratio 1.0, .9, .8, .1, 0 (class token alone), from notes/data-and-claims
    "vit_tiny": (1.254, 1.252, 1.247, 1.111, 1.077),
    "vit_small": (4.599, 4.595, 4.585, 4.313, 4.245),
    "vit_base": (17.564, 17.556, 17.536, 16.993, 16.856),
}


@pytest.mark.parametrize("name", TABLE)
def test_macs_table(name):
    got = [total_macs(SHAPES[name], ratio) / 1e9 for ratio in (1.0, 0.9, 0.8, 0.1, 0.0)]
    assert np.allclose(got, TABLE[name], atol=6e-4)


def test_parameters_table():
    got = [parameters(SHAPES[name]) / 1e6 for name in ("vit_tiny", "vit_small", "vit_base")]
    assert np.allclose(got, (5.717, 22.051, 86.568), atol=6e-4)


def test_attention_share_grows_with_resolution():
    small, large = (attention_share(VitShape(768, 12, 12, image=i)) for i in (224, 1024))
    assert small < 0.05 < 0.3 < large


def test_shape_is_checked():
    with pytest.raises(UsageError, match="multiple of patch"):
        VitShape(192, 12, 3, image=225)
