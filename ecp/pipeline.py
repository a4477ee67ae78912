"""The compiler as lists of named passes, from the imported graph to the parts of a bundle.

Passes of graphs give graphs, passes of placements (a graph with the storage of its values) give placements, passes of
launches give launches; ``PLACE`` and ``SELECT`` lead from one kind to the next. One driver runs them all. Where
``ECP_VERIFY=1`` is set, what a pass gave is verified before the next one sees it, and an error names the pass.
``python -m ecp explain MODEL --passes`` prints what each did.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np

from ecp.codegen import lower
from ecp.codegen.lower import Launches
from ecp.codegen.nvidia import lower_vit
from ecp.errors import VerifyError
from ecp.ir.graph import Graph
from ecp.options import CompileOptions, Switches
from ecp.passes.affine import affine
from ecp.passes.concat_slices import concat_of_slices
from ecp.passes.demand import narrow
from ecp.passes.fuse import fuse
from ecp.passes.gelu import gelu
from ecp.passes.hoist_scale import hoist_scale
from ecp.passes.layer_norm import layer_norm
from ecp.passes.split_concat import split_over_concat
from ecp.passes.split_slices import split_to_slices
from ecp.passes.storage import Placement, place
from ecp.plan import Plan

A = TypeVar("A")
B = TypeVar("B")
# Plan, kernel sources by file, contents of pools.
Lowered = tuple[Plan, dict[str, str], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Pass(Generic[A, B]):
    """``run`` gives the next form of the program and leaves the one it was given as it is."""

    name: str
    what: str
    run: Callable[[A, CompileOptions], B]


#: Called with every pass, what it was given and what it gave.
Watch = Callable[[Pass[Any, Any], Any, Any], None]


def _alone(run: Callable[[Graph], Graph]) -> Callable[[Graph, CompileOptions], Graph]:
    """A pass that no option changes."""
    return lambda graph, _: run(graph)


# The network as one kernel, or a sentence that says why there is none.
PERSISTENT: Pass[Graph, Lowered | str] = Pass(
    "persistent-vit", "a ViT in fp16 on NVIDIA becomes one kernel that stays for the whole network",
    lambda graph, options: lower_vit(graph, options.persistent_groups or 0),
)  # fmt: skip
CANONICAL: tuple[Pass[Graph, Graph], ...] = (
    Pass("layer-norm", "LayerNorm written out becomes one operator", _alone(layer_norm)),
    Pass("gelu", "GELU written out becomes one operator", _alone(gelu)),
    Pass("split-to-slices", "a Split becomes one Slice an output", _alone(split_to_slices)),
    Pass("concat-of-slices", "a Concat of Slices of one tensor becomes a Gather", _alone(concat_of_slices)),
    Pass("split-over-concat", "element-wise operators move above a Concat with a constant part, which is folded",
         _alone(split_over_concat)),
    Pass("hoist-scale", "scalar factors of a product's operands move behind it", _alone(hoist_scale)),
    Pass("slice-hoisting", "slices move up, so that only what is read is computed", _alone(narrow)),
    Pass("affine", "scale and shift of a LayerNorm move into the weights of the products that read it",
         _alone(affine)),
)  # fmt: skip
FUSION: tuple[Pass[Graph, Graph], ...] = (
    Pass("fuse", "operators that share a launch become one; layout operators become index maps of their readers",
         lambda graph, options: fuse(graph, fuse=options.fuse, eliminate=options.eliminate)),
)  # fmt: skip
PLACE: Pass[Graph, Placement] = Pass(
    "place", "every stored value gets a buffer, in the layout that its readers want; what cannot is copied",
    lambda graph, options: place(
        graph, half=options.precision == "fp16", layout_choice=options.layout_choice
    ),
)  # fmt: skip
PLACEMENT: tuple[Pass[Placement, Placement], ...] = (
    Pass("k-blocked-layout", "values that only products by wgmma read are stored in blocks of 8 along K",
         lower.k_blocked),
    Pass("unfuse-layer-norm", "a LayerNorm before a large product on a GPU gets a launch of its own",
         lower.unfuse_layer_norm),
)  # fmt: skip
SELECT: Pass[Placement, Launches] = Pass(
    "select-kernels", "every fused operator gets the kernel that serves it", lower.select_kernels
)
LAUNCHES: tuple[Pass[Launches, Launches], ...] = (
    Pass("write-kernels", "the statements of every kernel", lower.write_kernels),
    Pass("plan-memory", "buffers get their place in pools; those that never live at once share it",
         lower.place_memory),
    Pass("join-launches", "launches become one where a device keeps its work-items: megakernel, launch groups",
         lower.join),
)  # fmt: skip
ASSEMBLE: Pass[Launches, Lowered] = Pass(
    "assemble", "the plan, the text of the kernels and the contents of the pools", lower.assemble
)
#: All passes in order.
PASSES: tuple[Pass[Any, Any], ...] = (
    PERSISTENT, *CANONICAL, *FUSION, PLACE, *PLACEMENT, SELECT, *LAUNCHES, ASSEMBLE
)  # fmt: skip


class Runner:
    """Runs passes, one after the other. ``verify`` None: as ECP_VERIFY says."""

    def __init__(self, options: CompileOptions, watch: Watch | None = None, verify: bool | None = None):
        self.options, self.watch = options, watch
        self.verify = os.environ.get("ECP_VERIFY") == "1" if verify is None else verify

    def one(self, step: Pass[A, B], given: A) -> B:
        """What a pass gives, verified. Raises :class:`VerifyError` with the pass's name where it is wrong."""
        result = step.run(given, self.options)
        if self.verify:
            _verify(step, given, result)
        if self.watch is not None:
            self.watch(step, given, result)
        return result

    def all(self, steps: Iterable[Pass[A, A]], given: A) -> A:
        """What the last of some passes of one kind gives."""
        for step in steps:
            given = self.one(step, given)
        return given


def lower_graph(
    graph: Graph, device_class: str, options: CompileOptions, watch: Watch | None = None
) -> tuple[Lowered, str | None]:
    """(parts of a bundle, None where one persistent kernel computes the network, else why there is none).

    ``options``: with the schedule and the resident work-groups of the device.
    """
    run = Runner(options, watch)
    reason = ""
    if device_class == "nvidia":
        reason = "an idea is switched off"
        if options.precision == "fp16" and options.switches() == Switches():
            whole = run.one(PERSISTENT, graph)
            if not isinstance(whole, str):
                return whole, None
            reason = whole
    canonical = run.all(CANONICAL, graph)
    placed = run.one(PLACE, run.all(FUSION, canonical))
    return launches(replace(placed, views=canonical), run), reason


def launches(placed: Placement, run: Runner) -> Lowered:
    """The parts of a bundle from a placed graph."""
    selected = run.one(SELECT, run.all(PLACEMENT, placed))
    return run.one(ASSEMBLE, run.all(LAUNCHES, selected))


def canonicalize(graph: Graph) -> Graph:
    """The graph after all passes before fusion."""
    return Runner(CompileOptions()).all(CANONICAL, graph)


def _verify(step: Pass[Any, Any], given: object, result: object) -> None:
    # Imported here: whoever does not verify does not load it.
    from ecp.codegen.verify import verify_launches, verify_parts
    from ecp.ir.verify import same_ports, verify
    from ecp.passes.verify import verify_placement

    try:
        if isinstance(result, Graph):
            verify(result)
        elif isinstance(result, Placement):
            verify_placement(result)
        elif isinstance(result, Launches):
            verify_launches(result)
        elif isinstance(result, tuple):
            verify_parts(*result)
        if isinstance(given, Graph) and isinstance(result, Graph):
            same_ports(given, result)
    except VerifyError as error:
        raise VerifyError(f"after the pass {step.name}: {error}") from error
