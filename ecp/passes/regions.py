"""Find what runs in one launch: an anchor with what can be computed on its result in registers.

The growth rule is DNNFusion's green cells: a many-to-many anchor takes one-to-one operators behind it,
with views in between, as long as a single value leaves the region.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ecp.index.expr import var
from ecp.index.maps import pull
from ecp.ir.graph import Graph, Node
from ecp.passes.rewrite import BIJECTIVE, is_elementwise, is_view, keeps_elements

VECTOR_DTYPES = {"float32", "float16", "bool"}
MAX_STEP = 16  # nodes looked at to close a diamond such as x * sigmoid(x)
MAX_REGION = 64  # operators computed in one expression; a longer chain is several launches


@dataclass
class Region:
    """Nodes of one launch in topological order, and the value that leaves it."""

    kind: str
    nodes: list[Node]
    output: str
    reason: str = ""
    extra_outputs: list[str] = field(default_factory=list)


class Finder:
    """Region growth over one graph. ``taken`` holds outputs of nodes that already belong to a region."""

    def __init__(self, graph: Graph, through_views: bool = True):
        self.graph = graph
        self.made = graph.producers()
        self.users = graph.consumers()
        self.position = {n.outputs[0]: i for i, n in enumerate(graph.nodes)}
        self.taken: set[str] = set()
        self.through_views = through_views

    def grow(self, value: str) -> tuple[list[Node], str]:
        """Element-wise operators (and views between them) computable on ``value``; the last value's name.

        Behind a float only operators on floats and booleans: kernels of vectors hold nothing else.
        """
        nodes: list[Node] = []
        pending: list[Node] = []
        end = value
        while len(nodes) + len(pending) < MAX_REGION and (step := self._close(value)) is not None:
            pending += step
            value = step[-1].output
            # Views at the end stay outside: their consumer or the storage of the value absorbs them.
            if any(not is_view(n) for n in step):
                nodes, pending, end = nodes + pending, [], value
        return nodes, end

    def _close(self, value: str) -> list[Node] | None:
        """The shortest run of operators behind ``value`` after which a single value is left."""
        if value in self.graph.outputs:
            return None
        size = self.graph.types[value].size
        inside, nodes = {value}, list[Node]()
        while len(nodes) < MAX_STEP:
            users = [n for v in inside for n in self.users.get(v, []) if n.outputs[0] not in inside]
            if not users:
                return None
            node = min(users, key=lambda n: self.position[n.outputs[0]])
            if not self._fusable(node, size, self.graph.types[value].dtype in VECTOR_DTYPES):
                return None
            nodes.append(node)
            inside.add(node.output)
            if not self._escapes(inside - {node.output}, inside):
                return nodes
        return None

    def _escapes(self, values: set[str], inside: set[str]) -> bool:
        return any(
            v in self.graph.outputs or any(n.outputs[0] not in inside for n in self.users.get(v, []))
            for v in values
        )

    def _fusable(self, node: Node, size: int, vectors: bool) -> bool:
        if (
            len(node.outputs) != 1
            or node.outputs[0] in self.taken
            or self.graph.types[node.output].size != size
        ):
            return False
        dtypes = {self.graph.types[v].dtype for v in (*node.inputs, *node.outputs) if v}
        if vectors and not dtypes <= VECTOR_DTYPES:
            return False
        return is_elementwise(node) or (self.through_views and keeps_elements(self.graph, node))

    def attention(self, softmax: Node) -> list[Node] | None:
        """MatMul, scores' element-wise chain, Softmax, MatMul: the nodes of one attention, else None."""
        graph = self.graph
        if softmax.attrs["axis"] != len(graph.types[softmax.output].shape) - 1:
            return None
        scores = self._score_product(softmax.inputs[0])
        if scores is None:
            return None
        chain, end = self.grow(scores.output)
        views, end = self._views_behind(end)
        chain += views
        if end != softmax.inputs[0] or len(self.users[end]) != 1 or end in graph.outputs:
            return None
        after, probabilities = self._views_behind(softmax.output)
        users = self.users.get(probabilities, [])
        if len(users) != 1 or users[0].op != "MatMul" or users[0].inputs[0] != probabilities:
            return None
        product = users[0]
        shapes = [graph.types[v].shape for v in (scores.output, probabilities)]
        if (
            min(map(len, shapes)) < 3
            or shapes[0][-2:] != shapes[1][-2:]
            or product.inputs[1] in graph.constants
            or graph.types[product.output].dtype not in VECTOR_DTYPES
        ):
            return None
        nodes = [scores, *chain, softmax, *after, product]
        return None if any(n.outputs[0] in self.taken for n in nodes) else nodes

    def _score_product(self, value: str) -> Node | None:
        """Walk up from the softmax input along single-use element-wise operators to the product."""
        for _ in range(MAX_STEP):
            node = self.made.get(value)
            if node is None or len(self.users[value]) != 1:
                return None
            if node.op == "MatMul":
                return node if node.inputs[1] not in self.graph.constants else None
            if not (is_elementwise(node) or node.op in BIJECTIVE):
                return None
            size = self.graph.types[value].size
            main = [i for i in node.inputs if i in self.made and self.graph.types[i].size == size]
            main = [i for i in main if self._leads_to_product(i)]
            if len(main) != 1:
                return None
            value = main[0]
        return None

    def _leads_to_product(self, value: str) -> bool:
        """True where a product is found within a few element-wise operators and views above ``value``."""
        level = {value}
        for _ in range(MAX_STEP):
            nodes = [self.made[v] for v in level if v in self.made]
            if any(n.op == "MatMul" for n in nodes):
                return True
            passed = [n for n in nodes if is_elementwise(n) or n.op in BIJECTIVE]
            level = {i for n in passed for i in n.inputs if i}
        return False

    def _views_behind(self, value: str) -> tuple[list[Node], str]:
        nodes = []
        while (
            self.through_views and len(users := self.users.get(value, [])) == 1 and users[0].op in BIJECTIVE
        ):
            nodes.append(users[0])
            value = users[0].output
        return nodes, value

    def normalized_by(self, value: str) -> list[Node] | None:
        """LayerNormalization and the row-permuting views between it and a product's operand ``value``.

        None where there is none, or where a view touches the normalised axis.
        """
        graph = self.graph
        chain: list[Node] = []
        shape = graph.types[value].shape
        coords = [var(f"i{n}", extent) for n, extent in enumerate(shape)]
        last = coords[-1]
        while (node := self.made.get(value)) is not None and is_view(node) and self.through_views:
            source = node.inputs[0]
            port = node.outputs.index(value)
            pulled = pull(
                node.op, node.attrs, coords, graph.types[source].shape, graph.types[value].shape, port
            )
            if pulled is None or not pulled or pulled[-1] != last:
                return None
            if any(v.name == f"i{len(shape) - 1}" for c in pulled[:-1] for v in c.variables()):
                return None
            chain.insert(0, node)
            coords, value = pulled, source
        if (
            node is None
            or node.op != "LayerNormalization"
            or node.attrs["axis"] != len(graph.types[value].shape) - 1
        ):
            return None
        return [node, *chain]
