"""The core-periphery graph of the paper's section 3.2: nodes, patches, adjacency and token order.

Nothing here needs torch. A *ranking* lists all patches (raster index) from most to least important;
the core set is its head. The token order keeps raster order inside the core and inside the periphery,
because only membership matters and ascending indices gather in longer runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ecp.errors import UsageError


def node_sizes(num_patches: int, nodes: int) -> list[int]:
    """Patches per node: ``num_patches mod nodes`` nodes get one more (196 over 5: 40, 39, 39, 39, 39)."""
    if not 1 <= nodes <= num_patches:
        raise UsageError(f"{nodes} nodes for {num_patches} patches: use between 1 and {num_patches}")
    small, larger = divmod(num_patches, nodes)
    return [small + 1] * larger + [small] * (nodes - larger)


def core_count(ratio: float, nodes: int) -> int:
    """Core nodes at a core ratio, ``round(ratio * nodes)`` with halves up; the class token is not counted."""
    if not 0.0 <= ratio <= 1.0:
        raise UsageError(f"core ratio {ratio}: use a number from 0 to 1")
    return int(np.floor(ratio * nodes + 0.5))


def centre_first(grid: tuple[int, int]) -> list[int]:
    """Patches by distance to the middle of a ``(rows, columns)`` grid: the order used without any data."""
    rows, columns = grid
    y, x = np.divmod(np.arange(rows * columns), columns)
    distance = (2 * y - (rows - 1)) ** 2 + (2 * x - (columns - 1)) ** 2
    return [int(i) for i in np.argsort(distance, kind="stable")]


def check_ranking(ranking: Sequence[int], num_patches: int) -> list[int]:
    """The ranking as a list; raises :class:`UsageError` unless it names every patch exactly once."""
    order = [int(i) for i in ranking]
    if sorted(order) != list(range(num_patches)):
        raise UsageError(
            f"core order with {len(order)} entries: it must name each of the {num_patches} patches once"
        )
    return order


@dataclass(frozen=True)
class CorePeripheryGraph:
    """Nodes of one or more patches, of which some are core.

    ``ranking`` orders the patches by importance; with several patches in a node, a node ranks by the
    mean rank of its patches. Nodes hold consecutive patches in raster order.
    """

    num_patches: int
    core_ratio: float
    ranking: tuple[int, ...]
    nodes: int

    @classmethod
    def build(
        cls, num_patches: int, core_ratio: float, ranking: Sequence[int], nodes: int | None = None
    ) -> CorePeripheryGraph:
        """A checked graph; ``nodes`` defaults to one patch per node."""
        count = num_patches if nodes is None else nodes
        node_sizes(num_patches, count)
        core_count(core_ratio, count)
        return cls(num_patches, core_ratio, tuple(check_ranking(ranking, num_patches)), count)

    @property
    def node_of_patch(self) -> np.ndarray:
        """Node index of every patch, int64 ``[num_patches]``."""
        return np.repeat(np.arange(self.nodes), node_sizes(self.num_patches, self.nodes))

    @property
    def core_nodes(self) -> np.ndarray:
        """Core node indices, ascending."""
        rank = np.empty(self.num_patches)
        rank[list(self.ranking)] = np.arange(self.num_patches)
        owner = self.node_of_patch
        mean_rank = np.bincount(owner, rank) / np.bincount(owner)
        return np.sort(np.argsort(mean_rank, kind="stable")[: core_count(self.core_ratio, self.nodes)])

    @property
    def is_core(self) -> np.ndarray:
        """Whether each patch is core, bool ``[num_patches]`` in raster order."""
        return np.isin(self.node_of_patch, self.core_nodes)

    @property
    def num_core(self) -> int:
        """Core patches (the class token comes on top)."""
        return int(self.is_core.sum())

    @property
    def permutation(self) -> np.ndarray:
        """Raster index of each token: core patches first, both parts in raster order, int64."""
        core = self.is_core
        return np.concatenate([np.flatnonzero(core), np.flatnonzero(~core)])

    def adjacency(self, self_loop: bool = False) -> np.ndarray:
        """Node adjacency as in Figure 4, bool ``[nodes, nodes]``, core nodes first.

        ``[i, j]`` says whether queries of node i see keys of node j: always if either is core. A periphery
        node does not see itself (equation 2) unless ``self_loop``, an ablation (equation 1).
        """
        core = np.arange(self.nodes) < len(self.core_nodes)
        edges: np.ndarray = core[:, None] | core[None, :]
        return edges | np.eye(self.nodes, dtype=bool) if self_loop else edges

    def token_mask(self, prefix: int = 1, self_loop: bool = False, raster: bool = False) -> np.ndarray:
        """Adjacency of tokens, bool ``[prefix + num_patches] * 2``; prefix tokens are core.

        Tokens stand in model order (core first), or with ``raster`` in the order of the picture. With
        ``self_loop`` a periphery patch also sees the patches of its own node.
        """
        order = np.arange(self.num_patches) if raster else self.permutation
        core = np.concatenate([np.ones(prefix, dtype=bool), self.is_core[order]])
        mask: np.ndarray = core[:, None] | core[None, :]
        if self_loop:
            owner = np.concatenate([-1 - np.arange(prefix), self.node_of_patch[order]])
            mask = mask | (owner[:, None] == owner[None, :])
        return mask
