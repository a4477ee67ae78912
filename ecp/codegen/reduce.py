"""Row-wise launches: softmax, normalisation, reductions, pooling, running sums.

Each output row is a loop nest over the reduced coordinates. Lanes run along the innermost kept axis
(pooling in channels-last, reductions over outer axes) or, for a reduced innermost axis, along it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import prod

import numpy as np

from ecp.codegen.core.kernel import Kernel, Launch, global_id
from ecp.codegen.functions import exp, extreme
from ecp.codegen.long_norm import emit_long_norm
from ecp.codegen.map import pick_width, storage_order, work_size
from ecp.codegen.reader import Env, Reader, forward, lane
from ecp.codegen.scan import emit_scan
from ecp.codegen.schedule import Schedule
from ecp.errors import UnsupportedOperatorError
from ecp.index.expr import Expr, var, wrap
from ecp.index.maps import broadcast, delinearize
from ecp.ir.graph import Graph, Node
from ecp.passes.rewrite import is_elementwise, is_view

SPECIAL = ("ArgMax", "ArgMin", "CumSum", "TopK")


@dataclass
class Space:
    """Kept and reduced coordinates of a reduction over ``source``."""

    anchor: Node
    source: str
    shape: tuple[int, ...]  # of the anchor's output
    reduced: list[int]  # extents of the reduction loops
    locate: Callable[[list[Expr], list[Expr]], list[Expr]]  # (output coords, loop vars) -> source coords
    padded: bool = False


def emit_reduce(env: Env, schedule: Schedule, node: Node) -> Launch:
    """Code of a ``reduce`` launch."""
    body: Graph = node.attrs["body"]
    anchor = next(n for n in body.nodes if not is_elementwise(n) and not is_view(n))
    if anchor.op in SPECIAL:
        return emit_scan(env, schedule, node, anchor)
    if anchor.op == "LayerNormalization" and schedule.cpu:
        launch = emit_long_norm(env, schedule, node, anchor)
        if launch is not None:
            return launch
    after = list(body.nodes[body.nodes.index(anchor) + 1 :])
    # Operators in the body that do not depend on the anchor are its prologue: read() computes them.
    reach = {anchor.output}
    tail = []
    for n in after:
        if any(i in reach for i in n.inputs):
            reach.add(n.output)
            tail.append(n)
    inside = [v for n in body.nodes for v in (*n.inputs, *n.outputs)]
    return _Rows(env, schedule, body.outputs[0], anchor, tail, inside, _space(env, anchor)).emit()


def _space(env: Env, anchor: Node) -> Space:
    source = anchor.inputs[0]
    full = env.graph.types[source].shape
    shape = env.graph.types[anchor.output].shape
    if anchor.op in ("MaxPool", "AveragePool"):
        a = anchor.attrs

        def window(out: list[Expr], k: list[Expr]) -> list[Expr]:
            moved = [
                o * s - p + kk * d
                for o, s, p, kk, d in zip(out[2:], a["strides"], a["pads"], k, a["dilations"])
            ]
            return [*out[:2], *moved]

        return Space(anchor, source, shape, list(a["kernel"]), window, True)
    if anchor.op == "Softmax":
        axes = [anchor.attrs["axis"]]
    elif anchor.op == "LayerNormalization":
        axes = list(range(anchor.attrs["axis"], len(full)))
    else:
        axes = sorted(anchor.attrs["axes"])
    same = anchor.op in ("Softmax", "LayerNormalization")
    keep = same or bool(anchor.attrs.get("keepdims", 0))

    def locate(out: list[Expr], loops: list[Expr]) -> list[Expr]:
        rest, inner = iter(out), iter(loops)
        coords = []
        for i in range(len(full)):
            if i in axes:
                if keep:
                    next(rest)
                coords.append(next(inner))
            else:
                coords.append(next(rest))
        return coords

    return Space(anchor, source, shape, [full[i] for i in axes], locate)


class _Rows:
    """Emits the loops of one launch."""

    def __init__(
        self,
        env: Env,
        schedule: Schedule,
        value: str,
        anchor: Node,
        tail: list[Node],
        inside: list[str],
        space: Space,
    ):
        self.env, self.schedule, self.value, self.anchor = env, schedule, value, anchor
        self.tail, self.inside, self.space = tail, inside, space
        self.kernel = Kernel("reduce", schedule.attributes)
        self.same = anchor.op in ("Softmax", "LayerNormalization")
        self.kept = [n for i, n in enumerate(space.shape) if not (self.same and self._is_reduced(i))]

    def _is_reduced(self, axis: int) -> bool:
        a = self.anchor.attrs
        return axis == a["axis"] if self.anchor.op == "Softmax" else axis >= a["axis"]

    def emit(self) -> Launch:
        """The launch."""
        env, space = self.env, self.space
        values = [space.source, self.value, *self.inside]
        inner_axis = self._inner_axis()
        self.lane_reduced = (self.same and self._is_reduced(inner_axis)) or (
            not self.same and self._source_inner_reduced()
        )
        limit = self.schedule.vec
        kept_extent = space.shape[inner_axis] if space.shape else 1
        extent = space.reduced[-1] if self.lane_reduced else kept_extent
        self.width = 1 if self._uneven_windows(inner_axis) else pick_width(env, values, extent, limit)
        self.inner_axis = inner_axis
        self.reader = Reader(env, self.kernel, self.width)
        kept = [n for i, n in enumerate(space.shape) if not (self.same and self._is_reduced(i))]
        axes = [i for i in range(len(space.shape)) if not (self.same and self._is_reduced(i))]
        if not self.lane_reduced and self.width > 1:
            kept[axes.index(inner_axis)] //= self.width
        # Innermost kept axis last, so that neighbouring items touch neighbouring memory.
        order = sorted(range(len(axes)), key=lambda i: axes[i] == inner_axis)
        total = prod(kept)
        chunk = max(1, -(-total // 64)) if self.schedule.cpu else 1
        self.kernel.declare("const int", item=global_id())
        with self.kernel.loop("q", f"min((item+1)*{chunk}, {total})", first=f"item*{chunk}"):
            steps = delinearize(var("q", total), [kept[i] for i in order])
            out: list[Expr] = [wrap(0)] * len(space.shape)
            for position, i in enumerate(order):
                out[axes[i]] = steps[position]
                if axes[i] == inner_axis and not self.lane_reduced and self.width > 1:
                    out[axes[i]] = steps[position] * self.width + lane(self.width)
            self._row(out)
        self.kernel.flops = prod(space.shape) * (5 if self.same else prod(space.reduced))
        return self.kernel.finish(*work_size(self.schedule, -(-total // chunk)))

    def _uneven_windows(self, axis: int) -> bool:
        """True where lanes run along an axis on which the averages divide by different numbers."""
        if self.anchor.op != "AveragePool" or axis < 2:
            return False
        a, i = self.anchor.attrs, axis - 2
        last = (self.space.shape[axis] - 1) * a["strides"][i] + (a["kernel"][i] - 1) * a["dilations"][i]
        extent = self.env.graph.types[self.space.source].shape[axis]
        return a["pads"][i] > 0 or last - a["pads"][i] >= extent

    def _inner_axis(self) -> int:
        """The output's axis along which lanes run, unless they run along a reduced one."""
        if not self.space.shape:
            return 0
        innermost = self._source_inner()
        if self.space.padded and innermost is not None:
            return innermost
        if innermost is not None and not self.same and not self._source_inner_reduced():
            axes = self.anchor.attrs["axes"]
            return innermost - (
                0 if self.anchor.attrs.get("keepdims", 0) else sum(a < innermost for a in axes)
            )
        if self.anchor.output == self.value and self.value in self.env.storage:
            return storage_order(self.env.storage[self.value].view, self.space.shape)[-1]
        return len(self.space.shape) - 1

    def _source_inner(self) -> int | None:
        """The source's innermost axis in memory; None where the source is computed."""
        if self.space.source not in self.env.storage:
            return None
        full = self.env.graph.types[self.space.source].shape
        return storage_order(self.env.storage[self.space.source].view, full)[-1]

    def _source_inner_reduced(self) -> bool:
        if self.space.padded:
            return False
        rank = len(self.env.graph.types[self.space.source].shape)
        innermost = self._source_inner()
        return bool(rank) and (rank - 1 if innermost is None else innermost) in self.anchor.attrs["axes"]

    @contextmanager
    def _loops(self) -> Iterator[list[Expr]]:
        """Loop nest over the reduced coordinates."""
        extents = list(self.space.reduced)
        with ExitStack() as stack:
            loops = []
            for i, extent in enumerate(extents):
                last = i == len(extents) - 1
                count = extent // self.width if last and self.lane_reduced else extent
                name = self.kernel.name("k")
                stack.enter_context(self.kernel.loop(name, count))
                step = var(name, count)
                loops.append(
                    step * self.width + lane(self.width)
                    if last and self.lane_reduced and self.width > 1
                    else step
                )
            yield loops

    def _read(self, out: list[Expr], loops: list[Expr]) -> str:
        coords = self.space.locate(out, loops)
        if self.space.padded:
            low = 0 if self.anchor.op == "AveragePool" else self._limits()[0]
            return self.reader.guarded(
                self.space.source, coords, self.env.graph.types[self.space.source].shape, low
            )
        return self.reader.read(self.space.source, coords)

    def _fold(
        self, out: list[Expr], start: str, update: Callable[[str, str], str], name: str, ctype: str = ""
    ) -> str:
        """Accumulate ``update(acc, x)`` over the reduced coordinates; lanes are folded at the end."""
        ctype = ctype or self.reader.ctype(self.space.source)
        acc = self.kernel.name(name)
        self.kernel.emit(f"{ctype} {acc} = {start};")
        with self._loops() as loops:
            x = self._read(out, loops)
            self.kernel.emit(f"{acc} = {update(acc, x)};")
        return acc

    def _across(self, acc: str, combine: str) -> str:
        """One scalar from the lanes of ``acc`` (as a vector again), where lanes were reduced."""
        if not self.lane_reduced or self.width == 1:
            return acc
        parts = [f"{acc}.s{i:x}" for i in range(self.width)]
        while len(parts) > 1:
            parts = [combine.format(parts[i], parts[i + 1]) for i in range(0, len(parts), 2)]
        return self.kernel.define(f"float{self.width}", f"(float{self.width})({parts[0]})")

    def _row(self, out: list[Expr]) -> None:
        op = self.anchor.op
        if op == "Softmax":
            self._softmax(out)
        elif op == "LayerNormalization":
            self._layer_norm(out)
        else:
            self._single(out, self._scalar_result(out))

    def _single(self, out: list[Expr], text: str) -> None:
        if self.lane_reduced and self.width > 1:
            # One number a row: finish in scalars.
            scalar = Reader(self.env, self.kernel, 1)
            result, coords = forward(scalar, self.tail, self.anchor.output, f"{text}.s0", out)
            scalar.store(self.value, coords, result)
            return
        result, coords = forward(self.reader, self.tail, self.anchor.output, text, out)
        self.reader.store(self.value, coords, result)

    def _scalar_result(self, out: list[Expr]) -> str:
        op, count = self.anchor.op, prod(self.space.reduced)
        ctype = self.reader.ctype(self.space.source)
        floating = ctype.startswith("float") or ctype == "double"
        low, high = f"({ctype})(-INFINITY)", f"({ctype})(INFINITY)"
        if not floating:
            low, high = (self.reader.literal(limit, ctype) for limit in self._limits())
        if op in ("ReduceMax", "MaxPool", "ReduceMin"):
            start, name = (high, "low") if op == "ReduceMin" else (low, "top")
            acc = self._fold(out, start, lambda a, x: f"{self._extreme(ctype)}({a}, {x})", name)
            if not self.lane_reduced or self.width == 1:
                return acc
            return self._across(acc, self._extreme("float") + "({}, {})")
        if op == "ReduceProd":
            acc = self._fold(out, f"({ctype})(1)", lambda a, x: f"{a} * {x}", "product")
            return self._across(acc, "({} * {})")
        # A mean fits where the sum may not.
        wide = "long" if op == "ReduceMean" and ctype in ("int", "uint") else ctype
        total = self._fold(out, f"({wide})(0)", lambda a, x: f"{a} + {x}", "sum", wide)
        acc = self._across(total, "({} + {})")
        if wide != ctype:
            return self.kernel.define(ctype, f"({ctype})({acc} / {count})")
        if op == "ReduceMean":
            return self.kernel.define(ctype, f"{acc} / ({ctype})({count})")
        if op == "AveragePool":
            return self.kernel.define(ctype, f"{acc} / ({ctype})({self._window_size(out)})")
        if op != "ReduceSum":
            raise UnsupportedOperatorError(f"reduction {op} has no kernel")
        return acc

    def _extreme(self, ctype: str) -> str:
        """Name of the function of the anchor's larger or smaller of two."""
        smaller = self.anchor.op == "ReduceMin"
        if ctype.startswith(("float", "double")):
            return extreme(self.kernel, "<" if smaller else ">", ctype)
        return "min" if smaller else "max"

    def _limits(self) -> tuple[float, float]:
        """The least and the greatest value of the source's dtype."""
        dtype = np.dtype(self.env.graph.types[self.space.source].dtype)
        if dtype.kind in "iu":
            return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
        return float("-inf"), float("inf")

    def _window_size(self, out: list[Expr]) -> str:
        """Number of elements that the average divides by: those inside the (padded) input."""
        a, full = self.anchor.attrs, self.env.graph.types[self.space.source].shape
        factors = []
        rank = len(a["kernel"])
        for i, (o, k) in enumerate(zip(out[2:], a["kernel"])):
            first = o * a["strides"][i] - a["pads"][i]
            lo, hi = (0, full[2 + i])
            if a["count_include_pad"]:
                lo, hi = -a["pads"][i], full[2 + i] + a["pads"][rank + i]
            last = first + (k - 1) * a["dilations"][i]
            if first.lo >= lo and last.hi < hi:
                factors.append(str(k))
                continue
            name = self.kernel.name("n")
            self.kernel.emit(f"int {name} = 0;")
            with self.kernel.loop("k", k):
                at = self.reader.index(first + var("k", k) * a["dilations"][i])
                self.kernel.emit(f"{name} += ({at} >= {lo} && {at} < {hi});")
            factors.append(name)
        return "*".join(factors) or "1"

    def _softmax(self, out: list[Expr]) -> None:
        ctype = self.reader.ctype(self.space.source)
        e = "exp" if ctype == "double" else exp(self.kernel, ctype)
        top = self._across(
            self._fold(out, f"({ctype})(-INFINITY)", lambda a, x: f"fmax({a}, {x})", "top"), "fmax({}, {})"
        )
        total = self._across(
            self._fold(out, f"({ctype})(0)", lambda a, x: f"{a} + {e}({x} - {top})", "sum"), "({} + {})"
        )
        scale = self.kernel.define(ctype, f"1.0f / {total}")
        self._write(out, lambda x, _: f"{e}({x} - {top}) * {scale}")

    def _layer_norm(self, out: list[Expr]) -> None:
        ctype, count = self.reader.ctype(self.space.source), prod(self.space.reduced)
        total = self._across(self._fold(out, f"({ctype})(0)", lambda a, x: f"{a} + {x}", "sum"), "({} + {})")
        mean = self.kernel.define(ctype, f"{total} / ({ctype})({count})")
        square = self._fold(
            out, f"({ctype})(0)", lambda a, x: f"fma({x} - {mean}, {x} - {mean}, {a})", "square"
        )
        variance = self._across(square, "({} + {})")
        epsilon = self.anchor.attrs["epsilon"]
        rstd = self.kernel.define(
            ctype,
            f"1.0f / sqrt({variance} / ({ctype})({count}) + {float(epsilon)!r}{'' if ctype == 'double' else 'f'})",
        )

        def affine(x: str, at: list[Expr]) -> str:
            text = f"({x} - {mean}) * {rstd}"
            for i, op in ((1, "*"), (2, "+")):
                if len(self.anchor.inputs) > i and self.anchor.inputs[i]:
                    operand = self.anchor.inputs[i]
                    rank = len(self.env.graph.types[operand].shape)
                    at_own = broadcast(at[len(at) - rank :], self.env.graph.types[operand].shape)
                    text = f"({text}) {op} {self.reader.read(operand, at_own)}"
            return text

        self._write(out, affine)

    def _write(self, out: list[Expr], compute: Callable[[str, list[Expr]], str]) -> None:
        """Second walk over the row: every element with its epilogue."""
        with self._loops() as loops:
            x = self._read(out, loops)
            at = self.space.locate(out, loops)
            text = self.kernel.define(self.reader.ctype(self.space.source), compute(x, at))
            result, coords = forward(self.reader, self.tail, self.anchor.output, text, at)
            self.reader.store(self.value, coords, result)
