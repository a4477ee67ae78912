"""The importer: walk the ONNX graph in order, convert each node, fold what is constant.

Shapes are all known (every input dimension has a value), so Shape, Size, Range and the integer arithmetic
that exports carry fold away by construction; an operator without a converter is expanded through ONNX's own
function body where it has one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from ecp.errors import EcpError, ModelError, UnsupportedOperatorError
from ecp.frontend import (  # noqa: F401  # fmt: skip
    convert_compute,
    convert_elementwise,
    convert_layout,
    convert_reduce,
    convert_resize,
    convert_shape,
)
from ecp.frontend.builder import Builder
from ecp.frontend.checks import check_node
from ecp.frontend.functions import function_body, has_function, resolve_references
from ecp.frontend.identity import model_sha256
from ecp.frontend.inputs import input_types
from ecp.frontend.limits import MAX_DEPTH, check_nodes
from ecp.frontend.loading import array_of, dtype_name, load, load_mapped
from ecp.frontend.registry import CONVERTERS, NodeContext
from ecp.frontend.rules import check_rules
from ecp.frontend.unsupported import unsupported
from ecp.ir.graph import Graph
from ecp.ir.mapped import release

__all__ = ["import_onnx", "model_sha256", "supported_operators"]

_DEFAULT_DOMAINS = ("", "ai.onnx")
#: Parameters of these must be finite; an additive mask elsewhere may hold -inf.
_WEIGHTED = {"Conv", "ConvTranspose", "MatMul", "Gemm", "LayerNormalization", "BatchNormalization", "Einsum"}


#: What numpy and the converters raise for attributes and shapes that make no sense.
_BROKEN = (
    ValueError,
    IndexError,
    KeyError,
    TypeError,
    ArithmeticError,
    AttributeError,
    MemoryError,
    RuntimeError,
)


def supported_operators() -> list[str]:
    """Names of the ONNX operators with a converter, sorted."""
    return sorted(CONVERTERS)


def import_onnx(
    source: str | Path | bytes | onnx.ModelProto,
    *,
    dims: Mapping[str, int] | None = None,
    bind: Mapping[str, np.ndarray] | None = None,
    mapped: bool = False,
) -> Graph:
    """Read an ONNX model into the IR.

    ``source``: path, bytes or ModelProto; external data only from inside the model's own folder.
    ``dims``: values of dynamic dimensions, by their name or as ``input[axis]``.
    ``bind``: inputs whose value is known now; they become constants (axes, sizes, pads given as inputs).
    ``mapped``: large weights of a file stay in it, as read-only views of a mapping, where its form allows that;
    the graph must then be gone before anyone cuts the file short.
    Raises :class:`ModelError` (corrupt file, dynamic dimension without a value, NaN weights) and
    :class:`UnsupportedOperatorError` (names the operator, its node and what is supported).
    """
    raw: dict[int, np.ndarray] = {}
    if mapped and isinstance(source, str | Path):
        model, name, raw = load_mapped(Path(source))
    else:
        model, name = load(source)
    try:
        return _import(model, name, dict(dims or {}), dict(bind or {}), raw)
    except EcpError:
        raise
    except _BROKEN as error:  # damage that no check above foresaw, such as names that are not text
        raise ModelError(f"{name}: corrupt model: {_one_line(error)}") from error


def _import(
    model: onnx.ModelProto,
    name: str,
    dims: dict[str, int],
    bind: dict[str, np.ndarray],
    raw: Mapping[int, np.ndarray],
) -> Graph:
    importer = _Importer(model, name)
    importer.declare(dims, bind, raw)
    importer.check_operators()
    importer.convert(model.graph.node)
    outputs = []
    for out in model.graph.output:
        if out.name not in importer.env:
            raise ModelError(f"{name}: output {out.name!r} is never computed: corrupt or truncated")
        declared, made = out.type.tensor_type.elem_type, importer.builder.types[importer.env[out.name]].dtype
        if declared and dtype_name(declared, f"{name}: output {out.name!r}") != made:
            raise ModelError(
                f"{name}: output {out.name!r} is declared as another type than the {made} it has"
            )
        outputs.append((importer.env[out.name], out.name))
    return importer.builder.finish(outputs)


@dataclass
class _Frame:
    """A list of nodes under way: the model's own, a function's or a branch's, and what follows it."""

    nodes: Iterator[tuple[int, onnx.NodeProto]]
    prefix: str
    finish: Callable[[], None] = lambda: None


class _Importer:
    def __init__(self, model: onnx.ModelProto, name: str) -> None:
        self.model = model
        self.name = name
        self.builder = Builder(model.graph.name or name)
        self.env: dict[str, str] = {}
        self.opsets = {e.domain: e.version for e in model.opset_import}
        self.functions = {(f.domain, f.name): f for f in model.functions}
        self.scope = ""
        self.converted = 0

    def check_operators(self) -> None:
        """Refuse a model whose operators are not all known, naming every one of them."""
        missing = [
            (node, node.name or f"{node.op_type}_{next(iter(node.output), '')}")
            for node in self.model.graph.node
            if not (node.domain in _DEFAULT_DOMAINS and node.op_type in {*CONVERTERS, "If"})
            and (node.domain, node.op_type) not in self.functions
            and not has_function(node, self.opsets)
        ]
        if missing:
            raise unsupported(missing, self.name)

    def declare(
        self, dims: dict[str, int], bind: dict[str, np.ndarray], raw: Mapping[int, np.ndarray]
    ) -> None:
        """Inputs and initializers; ``raw`` holds data that were left out of the model, by index."""
        weights = {i: n for n in self.model.graph.node if n.op_type in _WEIGHTED for i in n.input}
        for index, tensor in enumerate(self.model.graph.initializer):
            what = f"{self.name}: tensor {tensor.name!r}"
            if not tensor.name or tensor.name in self.env:
                raise ModelError(f"{what} is defined twice or has no name: corrupt")
            array = array_of(tensor, what, raw.get(index))
            if tensor.name in weights and array.dtype.kind == "f" and not np.isfinite(array).all():
                raise ModelError(
                    f"{self.name}: weight {tensor.name!r} contains infinities: export the model again"
                )
            release(array)
            self.env[tensor.name] = self.builder.constant(array, tensor.name)
        for bound, value in bind.items():
            self.env[bound] = self.builder.constant(value, bound)
        free = [v for v in self.model.graph.input if v.name not in self.env]
        if len({v.name for v in free}) != len(free):
            raise ModelError(f"{self.name}: two inputs have one name: corrupt")
        for name, type_ in input_types(free, self.name, dims).items():
            self.builder.add_input(name, type_)
            self.env[name] = name

    def convert(self, nodes: Iterable[onnx.NodeProto]) -> None:
        """Convert a list of nodes, and the functions and branches they stand for, into the builder."""
        stack = [_Frame(enumerate(nodes), "")]
        while stack:
            step = next(stack[-1].nodes, None)
            if step is None:
                stack.pop().finish()
                continue
            (index, node), prefix = step, stack[-1].prefix
            fallback = next((o for o in node.output if o), f"#{index}")
            label = prefix + (node.name or f"{node.op_type}_{fallback}")
            try:
                self.converted += 1
                check_nodes(self.converted)
                inner = self._convert_node(node, label)
                if inner is not None:
                    stack.append(inner)
                if len(stack) > MAX_DEPTH:
                    raise ModelError(f"functions and branches more than {MAX_DEPTH} deep, or without an end")
            except EcpError as error:
                text = str(error)
                named = text if label in text else f"node {label!r} ({node.op_type}): {text}"
                raise type(error)(_prefixed(self.name, named)) from None
            except _BROKEN as error:
                what = f"{self.name}: node {label!r} ({node.op_type}) is not valid"
                raise ModelError(f"{what}: {_one_line(error)}") from error

    def _convert_node(self, node: onnx.NodeProto, label: str) -> _Frame | None:
        """Emit a node; what it stands for where that is a list of nodes."""
        self._check_names(node, label)
        standard = node.domain in _DEFAULT_DOMAINS
        if (node.domain, node.op_type) in self.functions:
            return self._expand(self.functions[node.domain, node.op_type], node, label)
        values = [self.env[i] if i else "" for i in node.input]
        check_node(
            node, self.opsets, [self.builder.types[v] if v else None for v in values],
            [self.builder.constants.get(v) for v in values],
        )  # fmt: skip
        if standard:
            check_rules(NodeContext(self.builder, node, values, 0, label))
        if standard and node.op_type == "If":
            return self._branch(node, label)
        opset = self.opsets.get("", self.opsets.get("ai.onnx", 0))
        if standard and node.op_type in CONVERTERS:
            context = NodeContext(self.builder, node, values, opset, label)
            start = len(self.builder.nodes)
            self.builder.fresh.clear()
            made = CONVERTERS[node.op_type](context)
            self._bind(node, [made] if isinstance(made, str) else list(made), start)
            return None
        body = function_body(node, self.opsets, [self._type_proto(i) for i in node.input])
        if body is None:
            raise unsupported([(node, label)])
        return self._expand(body, node, label)

    def _check_names(self, node: onnx.NodeProto, label: str) -> None:
        missing = next((i for i in node.input if i and i not in self.env), None)
        if missing is not None:
            raise ModelError(
                f"node {label!r} ({node.op_type}) reads {missing!r}, "
                "which nothing defines before it: corrupt, truncated or not in order"
            )
        made = [o for o in node.output if o]
        again = next((o for o in made if o in self.env or made.count(o) > 1), None)
        if again is not None:
            raise ModelError(f"node {label!r} ({node.op_type}) computes {again!r}, which is defined already")

    def _bind(self, node: onnx.NodeProto, made: list[str], start: int) -> None:
        for name, value in zip(node.output, made):
            if not name:
                continue
            final = self.scope + name
            renamed = value in self.builder.fresh and self.builder.rename(value, final, start)
            self.env[name] = final if renamed else value
            self.builder.fresh.discard(value)

    def _branch(self, node: onnx.NodeProto, label: str) -> _Frame:
        condition = self.builder.constants.get(self.env[node.input[0]])
        if condition is None:
            raise UnsupportedOperatorError(
                f"operator If (node {label!r}) is not supported here: its condition is computed at run time"
            )
        wanted = "then_branch" if bool(condition.reshape(-1)[0]) else "else_branch"
        graph = next(a.g for a in node.attribute if a.name == wanted)
        if len(graph.output) != len(node.output):
            raise ValueError(f"{wanted} has {len(graph.output)} outputs, the node {len(node.output)}")
        outer = dict(self.env)
        for tensor in graph.initializer:
            self.env[tensor.name] = self.builder.constant(
                array_of(tensor, f"tensor {tensor.name!r}"), tensor.name
            )

        def finish() -> None:
            results = [self.env[inner.name] for inner in graph.output]
            self.env = {**outer, **dict(zip(node.output, results))}

        return _Frame(enumerate(graph.node), f"{label}/", finish)

    def _expand(self, body: onnx.FunctionProto, node: onnx.NodeProto, label: str) -> _Frame:
        """Inline a function: its names live in an environment of their own."""
        check_nodes(self.converted + len(body.node))
        if len(node.input) > len(body.input) or len(node.output) > len(body.output):
            raise ValueError(f"it passes more values than the function {body.name!r} has")
        outer, opsets, scope = self.env, self.opsets, self.scope
        self.scope = f"{label}/"
        inputs = [*node.input, *[""] * (len(body.input) - len(node.input))]
        self.env = {f"{formal}": outer[actual] for formal, actual in zip(body.input, inputs) if actual}
        self.opsets = {**opsets, **{e.domain: e.version for e in body.opset_import}}
        absent = {formal for formal, actual in zip(body.input, inputs) if not actual}

        def finish() -> None:
            results = [self.env.get(o) for o in body.output]
            self.env, self.opsets, self.scope = outer, opsets, scope
            for name, value in zip(node.output, results):
                if name and value is not None:
                    self.env[name] = value

        return _Frame(enumerate(resolve_references(body, node, absent)), self.scope, finish)

    def _type_proto(self, name: str) -> onnx.TypeProto:
        if not name:
            return onnx.TypeProto()
        type_ = self.builder.types[self.env[name]]
        return onnx.helper.make_tensor_type_proto(
            onnx.helper.np_dtype_to_tensor_dtype(np.dtype(type_.dtype)), type_.shape
        )


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _prefixed(name: str, message: str) -> str:
    return message if message.startswith(f"{name}: ") else f"{name}: {message}"
