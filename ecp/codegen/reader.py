"""Values to C expressions: the only code that turns a value and coordinates into a memory access.

Reading walks up through views, which cost index arithmetic and no launch, until it reaches memory. In
vector mode one coordinate carries the lane; an address that is linear in the lane with stride 1 is a
vector load, with stride 0 a broadcast, anything else is gathered lane by lane.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ecp.codegen import functions, integers
from ecp.codegen.core.kernel import Kernel
from ecp.codegen.runtime_index import check_of, checked
from ecp.errors import UnsupportedOperatorError
from ecp.index.expr import Expr, Var, to_c, var, wrap
from ecp.index.maps import broadcast, pull, push
from ecp.ir.graph import Graph, Node
from ecp.ir.op_layout import RUNTIME_INDEXED
from ecp.passes.rewrite import is_elementwise, is_view
from ecp.passes.storage import Buffer, Storage
from ecp.plan import Check

LANE = "lane"


def lane(width: int) -> Expr:
    """The coordinate of a lane inside a vector of ``width``."""
    return Expr(((Var(LANE, 0, width - 1), 1),)) if width > 1 else wrap(0)


@dataclass(frozen=True)
class Env:
    """What every kernel of a compilation can see. ``constants`` collects weights that kernels read."""

    graph: Graph
    made: Mapping[str, Node]
    storage: Mapping[str, Storage]
    buffers: dict[str, Buffer]
    half: bool
    arithmetic: str = "float"  # of products: float, or half where the device and the caller have it so
    checks: list[Check] = field(default_factory=list)  # of run-time indices, that kernels make

    def constant_buffer(self, name: str, array: np.ndarray, key: str | None = None) -> Buffer:
        """The weights buffer holding ``array`` (added on first use), in storage precision."""
        name = key or name
        if name not in self.buffers:
            dtype = "float16" if self.half and array.dtype == np.float32 else array.dtype.name
            self.buffers[name] = Buffer(
                name, array.size, dtype, "weights", np.ascontiguousarray(array).reshape(-1)
            )
        return self.buffers[name]


def compute_type(dtype: str, width: int = 1) -> str:
    """C type that values of ``dtype`` are computed in."""
    if dtype in ("float32", "float16"):
        return "float" if width == 1 else f"float{width}"
    return {"float64": "double", "int64": "long", "uint64": "ulong", "uint32": "uint"}.get(dtype, "int")


class Reader:
    """Reads values in one kernel. ``known`` maps values computed in registers to (C name, coordinates)."""

    def __init__(self, env: Env, kernel: Kernel, width: int = 1):
        self.env, self.kernel, self.width = env, kernel, width
        self.known: dict[str, str] = {}
        # Values that are read as another of the same shape: a normalisation that is applied later.
        self.redirect: dict[str, str] = {}
        self.lane = Var(LANE, 0, width - 1)

    def ctype(self, value: str) -> str:
        """C type a value is computed in here."""
        dtype = self.env.graph.types[value].dtype
        # Booleans are 0.0f or 1.0f: one form for scalars and vectors.
        return compute_type("float32" if dtype == "bool" else dtype, self.width)

    def index(self, e: Expr) -> str:
        """C text of an index expression."""
        return to_c(e, None, self.kernel.table)

    def read(self, value: str, coords: list[Expr]) -> str:
        """C expression of ``value`` at ``coords`` (name of a temporary)."""
        value = self.redirect.get(value, value)
        if value in self.known:
            return self.known[value]
        key = (value, tuple(coords), self.width)
        found = self.kernel.remembered(key)
        if found is not None:
            return found
        node = self.env.made.get(value)
        if (
            node is not None
            and value not in self.env.storage
            and is_view(node)
            and node.op not in ("Pad", "Concat")
        ):
            return self.read(node.inputs[0], self._pulled(node, value, coords))
        text = self._read(value, coords)
        return self.kernel.define(self.ctype(value), text, key)

    def _pulled(self, node: Node, value: str, coords: list[Expr]) -> list[Expr]:
        """Coordinates in the input of a view."""
        if node.op == "Identity":
            return coords
        types, port = self.env.graph.types, node.outputs.index(value)
        pulled = pull(node.op, node.attrs, coords, types[node.inputs[0]].shape, types[value].shape, port)
        if pulled is None:
            raise UnsupportedOperatorError(f"{node.op} {node.name!r} has no index map")
        return pulled

    def _read(self, value: str, coords: list[Expr]) -> str:
        env = self.env
        if value in env.graph.constants:
            return self._constant(value, coords)
        if value in env.storage:
            storage = env.storage[value]
            return self.load(storage.buffer, storage.view.index(coords))
        return self.compute(env.made[value], value, coords)

    def compute(self, node: Node, value: str, coords: list[Expr]) -> str:
        """C expression of output ``value`` of a view or an element-wise node, its own storage not looked at."""
        graph = self.env.graph
        if node.op == "Pad":
            return self._pad(node, coords)
        if node.op == "Concat":
            return self._concat(node, coords)
        if node.op in RUNTIME_INDEXED:
            return self._gather(node, coords)
        if is_view(node):
            return self.read(node.inputs[0], self._pulled(node, value, coords))
        if is_elementwise(node):
            args = [self.read(i, broadcast(coords, graph.types[i].shape)) for i in node.inputs]
            return self.apply(node, args)
        raise UnsupportedOperatorError(f"{node.op} {node.name!r} is read before it is stored")

    def apply(self, node: Node, args: list[str]) -> str:
        """C expression of an element-wise node on computed arguments."""
        graph = self.env.graph
        out = self.ctype(node.output)
        types = [self.ctype(i) for i in node.inputs]
        if node.op == "Cast":
            return self._cast(
                graph.types[node.inputs[0]].dtype, graph.types[node.output].dtype, types[0], out, args[0]
            )
        main = types[0]
        if node.op == "Where":
            main = types[1]
            if main.startswith(("float", "double")):
                return functions.choose(main, f"{args[0]} != 0", args[1], args[2])
            return f"({args[0]} != 0 ? {args[1]} : {args[2]})"
        real = [t.startswith(("float", "double")) for t in types]
        op = "PowReal" if node.op == "Pow" and real == [False, True] else node.op
        text = functions.emit(self.kernel, op, main, args, node.attrs, graph.types[node.inputs[0]].dtype)
        return f"({out})({text})" if out != main and self.width == 1 else text

    def _cast(self, source: str, target: str, have: str, want: str, arg: str) -> str:
        if target == "bool":
            return functions.choose(want, f"{arg} != 0", "1.0f", "0.0f")
        if target == "float16" and source != "float16":
            # Half is computed with in float: only an explicit Cast rounds.
            inner = arg if have == want else f"({want})({arg})"
            return f"{functions.round_to_half(self.kernel, want)}({inner})"
        narrow = integers.NARROW.get(target)
        if have in ("float", "double") and want in integers.LEAST and source != "bool":
            whole = integers.from_float(self.kernel, have, want, arg)
            return f"({narrow})({whole})" if narrow else whole
        if have == want and (narrow is None or source == "bool"):
            return arg
        return f"({want})({narrow})({arg})" if narrow else f"({want})({arg})"

    def _constant(self, value: str, coords: list[Expr]) -> str:
        array = self.env.graph.constants[value]
        first = array.reshape(-1)[0] if array.size else 0
        if array.size and (array.size == 1 or (array.size <= 4096 and bool(np.all(array == first)))):
            return self.literal(first, self.ctype(value))
        buffer = self.env.constant_buffer(value, array)
        flat = wrap(0)
        for c, n in zip(coords, array.shape):
            flat = flat * n + c
        return self.load(buffer.name, flat)

    def literal(self, number: Any, ctype: str) -> str:
        """C literal of a number."""
        if ctype.startswith("float") or ctype == "double":
            x = float(number)
            text = (
                "INFINITY" if x == np.inf else "(-INFINITY)" if x == -np.inf else "NAN" if x != x else repr(x)
            )
            suffix = "" if ctype == "double" or "I" in text or "N" in text else "f"
            return f"({ctype})({text}{suffix})" if self.width > 1 else f"({text}{suffix})"
        if ctype == "long":
            return f"({int(number)}L)" if int(number) != -(2**63) else "(-9223372036854775807L-1)"
        suffix = {"uint": "u", "ulong": "UL"}.get(ctype, "")
        return f"({int(number)}{suffix})" if int(number) != -(2**31) else "(-2147483647-1)"

    def load(self, buffer: str, address: Expr) -> str:
        """C expression loading a scalar or a vector at an element address."""
        b = self.env.buffers[buffer]
        pointer = self.kernel.argument(buffer, b.dtype)
        if self.width == 1:
            return self._scalar(pointer, b.dtype, address)
        stride, rest = lane_stride(address, self.lane)
        floatw = f"float{self.width}"
        if stride == 0:
            return f"({floatw})({self._scalar(pointer, b.dtype, rest)})"
        if stride == 1 and b.dtype in ("float32", "float16"):
            load = f"vload{self.width}" if b.dtype == "float32" else f"vload_half{self.width}"
            return f"{load}(0, {pointer} + {self.index(rest)})"
        parts = [
            self._scalar(pointer, b.dtype, address.substitute({self.lane: i})) for i in range(self.width)
        ]
        return f"({floatw})({', '.join(parts)})"

    def _scalar(self, pointer: str, dtype: str, address: Expr) -> str:
        if dtype == "float16":
            return f"vload_half({self.index(address)}, {pointer})"
        if dtype == "bool":
            return f"(float)({pointer}[{self.index(address)}])"
        return f"{pointer}[{self.index(address)}]"

    def store(self, value: str, coords: list[Expr], text: str) -> None:
        """Statement storing ``text`` at ``coords`` of a stored value."""
        storage = self.env.storage[value]
        b = self.env.buffers[storage.buffer]
        pointer = self.kernel.argument(storage.buffer, b.dtype, write=True)
        address = storage.view.index(coords)
        if self.width == 1:
            self.kernel.emit(self._store_scalar(pointer, b.dtype, address, text))
            return
        stride, rest = lane_stride(address, self.lane)
        if stride == 1 and b.dtype in ("float32", "float16"):
            store = f"vstore{self.width}" if b.dtype == "float32" else f"vstore_half{self.width}"
            self.kernel.emit(f"{store}({text}, 0, {pointer} + {self.index(rest)});")
            return
        name = self.kernel.define(f"float{self.width}", text)
        for i in range(self.width):
            at = address.substitute({self.lane: i})
            self.kernel.emit(self._store_scalar(pointer, b.dtype, at, f"{name}.s{i:x}"))

    def _store_scalar(self, pointer: str, dtype: str, address: Expr, text: str) -> str:
        if dtype == "float16":
            return f"vstore_half({text}, {self.index(address)}, {pointer});"
        if dtype == "bool":
            return f"{pointer}[{self.index(address)}] = ({text}) != 0;"
        return f"{pointer}[{self.index(address)}] = {text};"

    def _pad(self, node: Node, coords: list[Expr]) -> str:
        """Predicated read: inside the source its element, outside the padding value."""
        graph, source = self.env.graph, node.inputs[0]
        shape = graph.types[source].shape
        inner = [c - b for c, b in zip(coords, node.attrs["before"])]
        return self.guarded(source, inner, shape, node.attrs["value"])

    def guarded(self, source: str, coords: list[Expr], shape: tuple[int, ...], other: float) -> str:
        """``source[coords]`` where the coordinates lie inside ``shape``, ``other`` elsewhere.

        A condition on the lane cannot be one branch: such reads go lane by lane.
        """
        tests = [(c, n) for c, n in zip(coords, shape) if c.lo < 0 or c.hi >= n]
        if not tests:
            return self.read(source, coords)
        if self.width > 1 and any(c.depends_on(self.lane) for c, _ in tests):
            return self._guarded_lanes(source, coords, shape, other)
        name, ctype = self.kernel.name("g"), self.ctype(source)
        self.kernel.emit(f"{ctype} {name} = {self.literal(other, ctype)};")
        with self.kernel.when(self._inside(tests)):
            # Inside the branch the coordinates are in bounds, which the bounds must say too.
            safe = [_within(self, c, n) for c, n in zip(coords, shape)]
            self.kernel.emit(f"{name} = {self.read(source, safe)};")
        return name

    def _concat(self, node: Node, coords: list[Expr]) -> str:
        """Piecewise read of a Concat that nobody writes in place (only with elimination off)."""
        axis, ctype = node.attrs["axis"], self.ctype(node.output)
        if self.width > 1 and coords[axis].depends_on(self.lane):
            scalar = Reader(self.env, self.kernel, 1)
            parts = [
                scalar._concat(node, [c.substitute({self.lane: i}) for c in coords])
                for i in range(self.width)
            ]
            return f"(float{self.width})({', '.join(parts)})"
        name, start = self.kernel.name("p"), 0
        at = self.kernel.define("int", self.index(coords[axis]))
        self.kernel.emit(f"{ctype} {name} = 0;")
        for part in node.inputs:
            size = self.env.graph.types[part].shape[axis]
            with self.kernel.when(f"{at} >= {start} && {at} < {start + size}"):
                inner = self.kernel.define("int", f"{at} - {start}")
                here = [var(inner, size) if i == axis else c for i, c in enumerate(coords)]
                self.kernel.emit(f"{name} = {self.read(part, here)};")
            start += size
        return name

    def _inside(self, tests: list[tuple[Expr, int]]) -> str:
        return " && ".join(f"(uint)({self.index(c)}) < {n}u" for c, n in tests)

    def _guarded_lanes(self, source: str, coords: list[Expr], shape: tuple[int, ...], other: float) -> str:
        scalar = Reader(self.env, self.kernel, 1)
        parts = [
            scalar.guarded(source, [c.substitute({self.lane: i}) for c in coords], shape, other)
            for i in range(self.width)
        ]
        return f"(float{self.width})({', '.join(parts)})"

    def _gather(self, node: Node, coords: list[Expr]) -> str:
        """Read at places that a tensor of indices holds."""
        data, shapes = node.inputs[0], [self.env.graph.types[i].shape for i in node.inputs]
        if node.op == "GatherNDDyn":
            batch, lead = node.attrs["batch"], coords[: len(shapes[1]) - 1]
            axes = range(batch, batch + shapes[1][-1])
            picked = [self._index(node, [*lead, wrap(axis - batch)], shapes[0][axis]) for axis in axes]
            return self.read(data, [*coords[:batch], *picked, *coords[len(lead) :]])
        axis, own = node.attrs["axis"], node.op == "GatherElementsDyn"
        end = axis + (1 if own else len(shapes[1]))
        index = self._index(node, coords if own else coords[axis:end], shapes[0][axis])
        return self.read(data, [*coords[:axis], index, *coords[end:]])

    def _index(self, node: Node, coords: list[Expr], size: int) -> Expr:
        """The index at ``coords`` of a node's tensor of indices, inside ``size``."""
        at, check = self.read(node.inputs[1], coords), check_of(node, size)
        name = self.kernel.define("int", checked(self.kernel, self.env.buffers, self.env.checks, check, at))
        return Expr(((Var(name, 0, size - 1), 1),)) if size > 1 else wrap(0)


def _within(reader: Reader, coord: Expr, extent: int) -> Expr:
    if coord.lo >= 0 and coord.hi < extent:
        return coord
    name = reader.kernel.define("int", reader.index(coord))
    return Expr(((Var(name, 0, extent - 1), 1),)) if extent > 1 else wrap(0)


def lane_stride(address: Expr, lane_var: Var) -> tuple[int | None, Expr]:
    """(stride, address of lane 0); stride None where the address is not linear in the lane."""
    stride = address.coefficient(lane_var)
    rest = address.substitute({lane_var: 0})
    linear = all(isinstance(a, Var) or not a.arg.depends_on(lane_var) for a, _ in address.terms)
    return (stride if linear else None), rest


def forward(
    reader: Reader, nodes: list[Node], start: str, text: str, coords: list[Expr]
) -> tuple[str, list[Expr]]:
    """Compute the element-wise nodes behind an anchor on its element ``text`` at ``coords``.

    Coordinates are carried forward through views; other operands are read at the node's own coordinates.
    Returns the last value's C name and its coordinates.
    """
    graph = reader.env.graph
    at: dict[str, tuple[str, list[Expr]]] = {start: (text, coords)}
    last = start
    for node in nodes:
        inside = next(i for i in node.inputs if i in at)
        name, here = at[inside]
        if is_view(node):
            moved = (
                here
                if node.op == "Identity"
                else push(
                    node.op, node.attrs, here, graph.types[inside].shape, graph.types[node.output].shape
                )
            )
            if moved is None:
                raise UnsupportedOperatorError(f"{node.op} {node.name!r} inside a launch is no bijection")
            at[node.output] = (name, moved)
        else:
            rank = len(graph.types[node.output].shape)
            here = [wrap(0)] * (rank - len(here)) + here
            args = [
                at[i][0] if i in at else reader.read(i, broadcast(here, graph.types[i].shape))
                for i in node.inputs
            ]
            result = reader.kernel.define(reader.ctype(node.output), reader.apply(node, args))
            at[node.output] = (result, here)
        last = node.output
    return at[last]
