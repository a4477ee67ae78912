"""The importer: walk the ONNX graph in order, convert each node, fold what is constant.

Shapes are all known (every input dimension has a value), so Shape, Size, Range and the integer arithmetic
that exports carry fold away by construction; an operator without a converter is expanded through ONNX's own
function body where it has one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
from ecp.frontend.functions import function_body, resolve_references
from ecp.frontend.identity import model_sha256
from ecp.frontend.loading import array_of, dtype_name, load, load_mapped
from ecp.frontend.registry import CONVERTERS, NodeContext
from ecp.frontend.unsupported import reason
from ecp.ir.graph import Graph, Type
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
    importer.convert(model.graph.node, "")
    outputs = []
    for out in model.graph.output:
        if out.name not in importer.env:
            raise ModelError(f"{name}: output {out.name!r} is never computed: corrupt or truncated")
        outputs.append((importer.env[out.name], out.name))
    return importer.builder.finish(outputs)


class _Importer:
    def __init__(self, model: onnx.ModelProto, name: str) -> None:
        self.model = model
        self.name = name
        self.builder = Builder(model.graph.name or name)
        self.env: dict[str, str] = {}
        self.opsets = {e.domain: e.version for e in model.opset_import}
        self.functions = {(f.domain, f.name): f for f in model.functions}
        self.scope = ""

    def declare(
        self, dims: dict[str, int], bind: dict[str, np.ndarray], raw: Mapping[int, np.ndarray]
    ) -> None:
        """Inputs and initializers; ``raw`` holds data that were left out of the model, by index."""
        weights = {i: n for n in self.model.graph.node if n.op_type in _WEIGHTED for i in n.input}
        for index, tensor in enumerate(self.model.graph.initializer):
            array = array_of(tensor, f"{self.name}: tensor {tensor.name!r}", raw.get(index))
            if tensor.name in weights and array.dtype.kind == "f" and not np.isfinite(array).all():
                raise ModelError(
                    f"{self.name}: weight {tensor.name!r} contains infinities: export the model again"
                )
            release(array)
            self.env[tensor.name] = self.builder.constant(array, tensor.name)
        for bound, value in bind.items():
            self.env[bound] = self.builder.constant(value, bound)
        unused = set(dims)
        for value in self.model.graph.input:
            if value.name not in self.env:
                self.builder.add_input(value.name, self._input_type(value, dims, unused))
                self.env[value.name] = value.name
        if unused:
            raise ModelError(
                f"{self.name}: no input has a dynamic dimension named {', '.join(sorted(unused))}"
            )

    def _input_type(self, value: onnx.ValueInfoProto, dims: dict[str, int], unused: set[str]) -> Type:
        what = f"{self.name}: input {value.name!r}"
        if not value.type.HasField("tensor_type") or not value.type.tensor_type.HasField("shape"):
            raise ModelError(f"{what} is not a tensor of known rank")
        shape = []
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            key = f"{value.name}[{axis}]"
            given = next((k for k in (key, dim.dim_param) if k and k in dims), None)
            if dim.HasField("dim_value") and dim.dim_value >= 0 and given is None:
                shape.append(dim.dim_value)
                continue
            if given is None:
                label = dim.dim_param or key
                raise ModelError(
                    f"{what} has dynamic dimension {label!r} (axis {axis}) without a value: "
                    f"give one, for example dims={{{label!r}: 1}} or --dims {label}=1"
                )
            unused.discard(given)
            if int(dims[given]) < 1:
                raise ModelError(f"{what}: dimension {given!r} was given {dims[given]}; it must be 1 or more")
            shape.append(int(dims[given]))
        return Type(tuple(shape), dtype_name(value.type.tensor_type.elem_type, what))

    def convert(self, nodes: Iterable[onnx.NodeProto], prefix: str) -> None:
        """Convert a list of nodes into the builder; ``prefix`` keeps labels of expanded functions apart."""
        for index, node in enumerate(nodes):
            fallback = next((o for o in node.output if o), f"#{index}")
            label = prefix + (node.name or f"{node.op_type}_{fallback}")
            missing = next((i for i in node.input if i and i not in self.env), None)
            if missing is not None:
                raise ModelError(
                    f"{self.name}: node {label!r} ({node.op_type}) reads {missing!r}, "
                    "which nothing defines before it: corrupt, truncated or not in order"
                )
            try:
                self._convert_node(node, label)
            except EcpError as error:
                raise type(error)(_prefixed(self.name, str(error))) from None
            except _BROKEN as error:
                what = f"{self.name}: node {label!r} ({node.op_type}) is not valid"
                raise ModelError(f"{what}: {_one_line(error)}") from error

    def _convert_node(self, node: onnx.NodeProto, label: str) -> None:
        standard = node.domain in _DEFAULT_DOMAINS
        if (node.domain, node.op_type) in self.functions:
            return self._expand(self.functions[node.domain, node.op_type], node, label)
        if standard and node.op_type == "If":
            return self._branch(node, label)
        opset = self.opsets.get("", self.opsets.get("ai.onnx", 0))
        if standard and node.op_type in CONVERTERS:
            context = NodeContext(
                self.builder, node, [self.env[i] if i else "" for i in node.input], opset, label
            )
            start = len(self.builder.nodes)
            self.builder.fresh.clear()
            made = CONVERTERS[node.op_type](context)
            return self._bind(node, [made] if isinstance(made, str) else list(made), start)
        body = function_body(node, self.opsets, [self._type_proto(i) for i in node.input])
        if body is None:
            full = f"{node.domain}.{node.op_type}" if not standard else node.op_type
            raise UnsupportedOperatorError(
                f"operator {full} (node {label!r}) is not supported: {reason(node.domain, node.op_type)}; "
                f"supported are: {', '.join(supported_operators())}"
            )
        return self._expand(body, node, label)

    def _bind(self, node: onnx.NodeProto, made: list[str], start: int) -> None:
        for name, value in zip(node.output, made):
            if not name:
                continue
            final = self.scope + name
            renamed = value in self.builder.fresh and self.builder.rename(value, final, start)
            self.env[name] = final if renamed else value
            self.builder.fresh.discard(value)

    def _branch(self, node: onnx.NodeProto, label: str) -> None:
        condition = self.builder.constants.get(self.env[node.input[0]])
        if condition is None:
            raise UnsupportedOperatorError(
                f"operator If (node {label!r}) is not supported here: its condition is computed at run time"
            )
        wanted = "then_branch" if bool(condition.reshape(-1)[0]) else "else_branch"
        graph = next(a.g for a in node.attribute if a.name == wanted)
        for tensor in graph.initializer:
            self.env[tensor.name] = self.builder.constant(
                array_of(tensor, f"tensor {tensor.name!r}"), tensor.name
            )
        self.convert(graph.node, f"{label}/")
        for outer, inner in zip(node.output, graph.output):
            self.env[outer] = self.env[inner.name]

    def _expand(self, body: onnx.FunctionProto, node: onnx.NodeProto, label: str) -> None:
        """Inline a function: its names live in an environment of their own."""
        outer, opsets, scope = self.env, self.opsets, self.scope
        self.scope = f"{label}/"
        inputs = [*node.input, *[""] * (len(body.input) - len(node.input))]
        self.env = {f"{formal}": outer[actual] for formal, actual in zip(body.input, inputs) if actual}
        self.opsets = {**opsets, **{e.domain: e.version for e in body.opset_import}}
        absent = {formal for formal, actual in zip(body.input, inputs) if not actual}
        try:
            self.convert(resolve_references(body, node, absent), self.scope)
            results = [self.env.get(o) for o in body.output]
        finally:
            self.env, self.opsets, self.scope = outer, opsets, scope
        for name, value in zip(node.output, results):
            if name and value is not None:
                self.env[name] = value

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
