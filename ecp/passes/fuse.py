"""Group the graph into launches: every key operator ends up in exactly one ``Fused`` node.

A Fused node's body is a graph whose meaning the interpreter evaluates, so that the result of this pass is
checked like any other. Views stay outside as index maps, except those between two fused operators.
"""

from __future__ import annotations

from collections.abc import Mapping

from ecp.ir.graph import Graph, Node
from ecp.ir.op_layout import RUNTIME_INDEXED
from ecp.passes.regions import MAX_REGION, Finder, Region
from ecp.passes.rewrite import BIJECTIVE, is_elementwise, is_view, readers, toposort

# Loops over a row for every output: nothing is fused with them.
SCANS = ("ArgMax", "ArgMin", "CumSum", "TopK")
# Views on views that a kernel evaluates at every read; exports have ten at most.
MAX_VIEWS = 32


def fuse(graph: Graph, *, fuse: bool = True, eliminate: bool = True) -> Graph:
    """The graph of launches.

    ``fuse=False`` gives every key operator its own launch; ``eliminate=False`` turns every transformative
    operator into a copy launch, as frameworks without index maps run it (the ablation of the study).
    """
    finder = Finder(graph, through_views=eliminate)
    regions: list[Region] = []
    absorbed: set[str] = set()
    if fuse:
        regions += _attentions(finder)
    regions += _anchors(finder, fuse)
    regions += _elementwise(finder, fuse)
    if fuse:
        regions = _absorb_producers(finder, regions)
        if eliminate:
            regions, absorbed = _join_with_slices(finder, regions)
    if not eliminate:
        regions += [
            Region("copy", [n], n.outputs[0], "elimination is off") for n in graph.nodes if is_view(n)
        ]
    else:
        regions += _chain_copies(graph, regions, absorbed)
    regions += _output_copies(graph, regions)
    fused = [_fused_node(graph, r) for r in regions]
    if fuse:
        fused = _merge_attention(graph, fused)
    inside = {n.outputs[0] for r in regions for n in r.nodes if not is_view(n)}
    inside |= absorbed | {r.output for r in regions}
    inside |= {r.nodes[0].outputs[0] for r in regions if r.kind == "copy"}
    views = [n for n in graph.nodes if n.outputs[0] not in inside]
    defined = [*graph.inputs, *graph.constants]
    return _prune(graph, toposort([*views, *fused], defined))


def _claim(finder: Finder, nodes: list[Node]) -> None:
    finder.taken.update(o for n in nodes if not is_view(n) for o in n.outputs)


def _attentions(finder: Finder) -> list[Region]:
    regions = []
    for node in finder.graph.nodes:
        if node.op != "Softmax":
            continue
        nodes = finder.attention(node)
        if nodes is None:
            continue
        _claim(finder, nodes)
        tail, end = finder.grow(nodes[-1].output)
        _claim(finder, tail)
        regions.append(Region("attention", nodes + tail, end))
    return regions


def _anchors(finder: Finder, fuse: bool) -> list[Region]:
    graph, regions = finder.graph, []
    folded = _foldable_norms(finder) if fuse else {}
    for node in graph.nodes:
        if (
            node.outputs[0] in finder.taken
            or is_view(node)
            or is_elementwise(node)
            or node.outputs[0] in folded
        ):
            continue
        kinds = {"MatMul": "matmul", "Conv": "conv", **dict.fromkeys(RUNTIME_INDEXED, "map")}
        kind = kinds.get(node.op, "reduce")
        before: list[Node] = []
        if node.op == "MatMul" and fuse:
            chain = finder.normalized_by(node.inputs[0])
            if chain is not None and chain[0].outputs[0] in folded:
                before = chain
        _claim(finder, [node])
        grows = fuse and node.op not in SCANS and len(node.outputs) == 1
        tail, end = finder.grow(node.outputs[0]) if grows else ([], node.outputs[0])
        _claim(finder, tail)
        region = Region(kind, [*before, node, *tail], end)
        region.extra_outputs = list(node.outputs[1:])
        regions.append(region)
    finder.taken.update(folded)
    return regions


def _foldable_norms(finder: Finder) -> dict[str, Node]:
    """LayerNormalization outputs that only products by constants read, through row-permuting views."""
    graph, folded = finder.graph, {}
    for node in graph.nodes:
        if node.op != "LayerNormalization":
            continue
        ends = readers(graph, finder.users, node.output, lambda _: finder.through_views)
        if ends and all(
            user.op == "MatMul"
            and user.inputs[0] == value
            and len(graph.types[user.inputs[1]].shape) == 2
            and user.inputs[1] in graph.constants
            and (chain := finder.normalized_by(value)) is not None
            and chain[0] is node
            for value, user in ends
        ):
            folded[node.output] = node
    return folded


def _elementwise(finder: Finder, fuse: bool) -> list[Region]:
    regions = []
    for node in finder.graph.nodes:
        if node.outputs[0] in finder.taken or not is_elementwise(node):
            continue
        _claim(finder, [node])
        tail, end = finder.grow(node.output) if fuse else ([], node.output)
        _claim(finder, tail)
        regions.append(Region("map", [node, *tail], end))
    return regions


def _absorb_producers(finder: Finder, regions: list[Region]) -> list[Region]:
    """Compute a map region inside its only reader where that reads each element a bounded number of times."""
    graph = finder.graph
    readers: dict[str, list[Region]] = {}
    for region in regions:
        for value in dict.fromkeys(v for n in region.nodes for v in n.inputs if v):
            readers.setdefault(value, []).append(region)
    gone: set[int] = set()
    for region in regions:
        if (
            region.kind != "map"
            or region.output in graph.outputs
            or any(n.op in RUNTIME_INDEXED for n in region.nodes)
        ):
            continue
        users = finder.users.get(region.output, [])
        target = readers.get(region.output, [])
        if (
            len(users) != 1
            or len(target) != 1
            or target[0] is region
            or target[0].kind not in ("reduce", "map")
            or len(region.nodes) + len(target[0].nodes) > MAX_REGION
        ):
            continue
        if graph.types[users[0].outputs[0]].size > graph.types[region.output].size:
            continue  # a broadcast would compute it again for every reader
        if users[0].op in ("MaxPool", "AveragePool", *SCANS):
            continue
        target[0].nodes = [*region.nodes, *target[0].nodes]
        gone.add(id(region))
    return [r for r in regions if id(r) not in gone]


def _join_with_slices(finder: Finder, regions: list[Region]) -> tuple[list[Region], set[str]]:
    """Compute a Concat of map regions and of slices of stored values in one launch: a slice alone would be a copy.

    So rotary embeddings, which pair slices of a row and leave the class token as it is, move nothing without
    computing. Second result: values between a region and its Concat, which are inside the launch now.
    """
    graph, maps = finder.graph, {r.output: r for r in regions if r.kind == "map"}
    made, absorbed = graph.producers(), set[str]()
    for concat in (n for n in graph.nodes if n.op == "Concat"):
        parts = list(dict.fromkeys(p for p in concat.inputs if p not in graph.constants))
        chains = {p: _behind_views(finder, made, p) for p in parts}
        own = {
            p: (source, views)
            for p, (source, views) in chains.items()
            if source in maps and views is not None
        }
        rest = [p for p in parts if p not in own]
        sources = list(dict.fromkeys(source for source, _ in own.values()))
        if not own or len(sources) != len(own) or not rest or not all(_is_sliced(made, p) for p in rest):
            continue
        joined, *others = (maps.pop(source) for source in sources)
        between = [n for _, views in own.values() for n in views or ()]
        joined.nodes = [*joined.nodes, *(n for r in others for n in r.nodes), *between, concat]
        joined.output = concat.output
        maps[concat.output] = joined
        regions = [r for r in regions if not any(r is other for other in others)]
        absorbed |= {n.output for n in between}
    return regions, absorbed


def _behind_views(finder: Finder, made: Mapping[str, Node], value: str) -> tuple[str, list[Node] | None]:
    """(value behind bijective views, the views from it on); None for views where anyone else reads on the way."""
    views: list[Node] = []
    alone = True
    while True:
        alone = alone and len(finder.users.get(value, [])) == 1 and value not in finder.graph.outputs
        node = made.get(value)
        if node is None or node.op not in BIJECTIVE:
            return value, views[::-1] if alone else None
        views.append(node)
        value = node.inputs[0]


def _is_sliced(made: Mapping[str, Node], value: str) -> bool:
    """Whether ``value`` is a view of some of a stored value's elements, which its launch writes elsewhere."""
    node = made.get(value)
    while node is not None and node.op in BIJECTIVE:
        node = made.get(node.inputs[0])
    return node is not None and is_view(node) and node.op != "Concat"


def _chain_copies(graph: Graph, regions: list[Region], absorbed: set[str]) -> list[Region]:
    """Copies that cut chains of views which no kernel should evaluate at every read. A Concat is stored anyway."""
    inside = absorbed | {o for r in regions for n in r.nodes for o in n.outputs}
    depth: dict[str, int] = {}
    copies = []
    for node in graph.nodes:
        if not is_view(node) or node.op == "Concat":
            continue
        own = 1 + max(depth.get(i, 0) for i in node.inputs)
        if own > MAX_VIEWS and len(node.outputs) == 1 and node.output not in inside:
            reason = f"more than {MAX_VIEWS} views one upon the other"
            copies.append(Region("copy", [node], node.output, reason))
            own = 0
        depth.update(dict.fromkeys(node.outputs, own))
    return copies


def _output_copies(graph: Graph, regions: list[Region]) -> list[Region]:
    """Copies for graph outputs that are views: of inputs, of constants, or of values that others read too."""
    made, users = graph.producers(), graph.consumers()
    written = {r.output for r in regions} | {o for r in regions for o in r.extra_outputs}
    copies = []
    for output in graph.outputs:
        value, pushed = output, True
        while value not in written and (node := made.get(value)) is not None and is_view(node):
            if node.op == "Concat" and pushed:
                written.add(value)  # its parts are written straight into the output
                break
            pushed = pushed and node.op in BIJECTIVE and (value == output or value not in graph.outputs)
            value = node.inputs[0]
            pushed = pushed and len(users[value]) == 1
        if output in written or (
            value in written and pushed and (value == output or value not in graph.outputs)
        ):
            continue
        reason = "a model output is a view of a value that is also needed as it is"
        node = made.get(output)
        if node is None:
            continue
        copies.append(Region("copy", [node], output, reason))
    return copies


def _fused_node(graph: Graph, region: Region) -> Node:
    nodes = toposort(region.nodes, [])
    made = {o for n in nodes for o in n.outputs}
    inputs = tuple(dict.fromkeys(i for n in nodes for i in n.inputs if i and i not in made))
    outputs = (region.output, *region.extra_outputs)
    types = {v: graph.types[v] for v in (*inputs, *made)}
    body = Graph(tuple(nodes), inputs, outputs, {}, types)
    sources = tuple(dict.fromkeys(s for n in nodes for s in (n.sources or (n.name,)) if s))
    name = f"{region.kind}:{region.output}"
    attrs = {"kind": region.kind, "body": body, "reason": region.reason}
    return Node("Fused", inputs, outputs, attrs, name, sources)


def _merge_attention(graph: Graph, fused: list[Node]) -> list[Node]:
    """Attentions that write parts of one Concat become one launch (core and periphery queries)."""
    made = {o: n for n in fused for o in n.outputs}
    views = {o: n for n in graph.nodes if is_view(n) for o in n.outputs}
    out = list(fused)
    for concat in (n for n in graph.nodes if n.op == "Concat"):
        parts = []
        for value in concat.inputs:
            while value in views and views[value].op in BIJECTIVE:
                value = views[value].inputs[0]
            if value in made and made[value].attrs["kind"] == "attention":
                parts.append(made[value])
        if len(parts) < 2 or len(parts) != len(concat.inputs) or len({p.name for p in parts}) != len(parts):
            continue
        if any(o in p.inputs for p in parts for q in parts for o in q.outputs):
            continue
        merged = _join(parts)
        out = [n for n in out if n not in parts] + [merged]
        made.update({o: merged for o in merged.outputs})
    return out


def _join(parts: list[Node]) -> Node:
    inputs = tuple(dict.fromkeys(i for p in parts for i in p.inputs))
    outputs = tuple(o for p in parts for o in p.outputs)
    nodes = tuple(n for p in parts for n in p.attrs["body"].nodes)
    types = {k: t for p in parts for k, t in p.attrs["body"].types.items()}
    body = Graph(nodes, inputs, outputs, {}, types)
    sources = tuple(dict.fromkeys(s for p in parts for s in p.sources))
    return Node(
        "Fused", inputs, outputs, {"kind": "attention", "body": body, "reason": ""}, parts[0].name, sources
    )


def _prune(graph: Graph, nodes: list[Node]) -> Graph:
    needed, kept = set(graph.outputs), []
    for node in reversed(nodes):
        if any(o in needed for o in node.outputs):
            kept.append(node)
            needed.update(node.inputs)
    return graph.with_nodes(kept[::-1])
