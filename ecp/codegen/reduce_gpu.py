"""Softmax, normalisation and reductions over the innermost axis on GPUs: a team of work-items a row.

Neighbouring work-items take neighbouring memory, what they read stays in registers where it fits, and their
results meet in local memory. A normalisation of a few very long rows (group normalisation of images) takes
two launches: partial statistics by many work-groups, then the application.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil, prod

from ecp.codegen.core.kernel import Kernel, Launch, group_id, local_id
from ecp.codegen.core.statements import Code, Form, Text
from ecp.codegen.functions import exp, extreme
from ecp.codegen.map import FLOATS, pick_width
from ecp.codegen.planes_gpu import stored_in_planes
from ecp.codegen.probe import AddressProbe
from ecp.codegen.ptx_gpu import reduce_team
from ecp.codegen.reader import Env, forward, lane
from ecp.codegen.reader_gpu import GpuReader
from ecp.codegen.reduce import SPECIAL, Space, _space
from ecp.codegen.schedule import Schedule
from ecp.index.expr import Expr, FloorDiv, Var, var, wrap
from ecp.index.maps import broadcast, delinearize
from ecp.ir.graph import Graph, Node
from ecp.passes.rewrite import is_elementwise, is_view
from ecp.passes.storage import Buffer

SUMS = ("ReduceSum", "ReduceMean")
ORDERS = {"ReduceMax": (">", "-INFINITY"), "ReduceMin": ("<", "INFINITY")}
# Vectors of a row that one work-item keeps in registers.
IN_REGISTERS = 16
# Rows with this many vectors per work-group of a full device are normalised by two launches.
LONG = 4096


def gpu_rows(env: Env, schedule: Schedule, node: Node) -> Rows | None:
    """The kernel of a ``reduce`` node; None where it is no reduction of the innermost axis in float."""
    body: Graph = node.attrs["body"]
    anchor = next(n for n in body.nodes if not is_elementwise(n) and not is_view(n))
    if anchor.op in SPECIAL or anchor.op not in ("Softmax", "LayerNormalization", *SUMS, *ORDERS):
        return None
    # Operators that do not depend on the anchor are its prologue: read() computes them.
    reach, tail = {anchor.output}, []
    for n in body.nodes[body.nodes.index(anchor) + 1 :]:
        if any(i in reach for i in n.inputs):
            reach.add(n.output)
            tail.append(n)
    inside = [v for n in body.nodes for v in (*n.inputs, *n.outputs) if v]
    space, value = _space(env, anchor), body.outputs[0]
    full = env.graph.types[space.source].shape
    if any(env.graph.types[v].dtype not in FLOATS for v in inside) or not prod(full):
        return None
    rows = Rows(env, schedule, anchor, tail, value, space)
    return rows if len(full) - 1 in rows.axes else None


@dataclass
class _Order:
    """How the steps of a row walk through memory: ``inner`` components of stride ``by`` first, where not 0."""

    by: int
    inner: int


class Rows:
    """Code of one launch; ``steps`` are vectors of a row."""

    def __init__(
        self, env: Env, schedule: Schedule, anchor: Node, tail: list[Node], value: str, space: Space
    ):
        self.env, self.s, self.anchor, self.tail, self.value, self.space = (
            env,
            schedule,
            anchor,
            tail,
            value,
            space,
        )
        shape = space.shape
        self.same = anchor.op in ("Softmax", "LayerNormalization")
        rank = len(env.graph.types[space.source].shape)
        if anchor.op == "Softmax":
            self.axes = [anchor.attrs["axis"]]
        elif anchor.op == "LayerNormalization":
            self.axes = list(range(anchor.attrs["axis"], rank))
        else:
            self.axes = sorted(anchor.attrs.get("axes", ()))
        self.kept = [i for i in range(len(shape)) if not (self.same and i in self.axes)]
        self.count = prod(shape[i] for i in self.kept)
        self.length = prod(space.reduced)
        self.order = self._order()
        values = [
            space.source,
            *([value] if self.same else []),
            *[v for n in tail for v in n.inputs if self.same],
        ]
        # Rows that follow each other are neighbours in a plane: few work-items a row, so that a warp writes several.
        planes = stored_in_planes(env.storage[value].view)
        self.width = pick_width(env, values, self.order.inner or space.reduced[-1], 8 if planes else 4)
        self.steps = self.length // self.width
        items = schedule.wg[0] * schedule.wg[1]
        self.team = 1
        if planes and self.width == 8 and self.same and ceil(self.steps / 8) <= IN_REGISTERS:
            self.team, items = 8, 8
        while self.team < items and self.team * 2 <= self.steps:
            self.team *= 2
            few = self.count * self.team >= schedule.groups * 2 * items
            if few and ceil(self.steps / self.team) <= IN_REGISTERS // 4:
                break
            # A warp meets by shuffles: worth longer walks where rows occupy the device.
            warp = schedule.ptx and self.team == 32 and self.count * 32 >= schedule.groups * items
            if warp and ceil(self.steps / 32) <= IN_REGISTERS // 2:
                break
        self.items = max(self.team, min(schedule.wg[0] * schedule.wg[1], 64))
        self.each = ceil(self.steps / self.team)
        self.kernel = Kernel("reduce", f"__attribute__((reqd_work_group_size({self.items},1,1)))")
        self.reader = GpuReader(env, self.kernel, self.width)
        self.f = self.reader.ctype(space.source)

    def _order(self) -> _Order:
        """A row that is the flattened image of a channels-last tensor is walked channel by channel."""
        if len(self.space.reduced) > 1:
            return _Order(0, 0)
        at = Var("stream", 0, self.length - 1)
        out: list[Expr] = [wrap(0)] * len(self.space.shape)
        probe = AddressProbe(self.env)
        step = Expr(((at, 1),)) if self.length > 1 else wrap(0)
        found = probe.address(lambda r: r.read(self.space.source, self.space.locate(out, [step])))
        for atom, factor in found[1].terms if found else ():
            if isinstance(atom, FloorDiv) and factor == 1 and atom.arg == step and self.length % atom.by == 0:
                return _Order(atom.by, self.length // atom.by)
        return _Order(0, 0)

    def _loops(self, step: Expr) -> list[Expr]:
        """Reduced coordinates of step ``step``."""
        w, order = self.width, self.order
        if order.by:
            outer, inner = delinearize(step, [order.by, order.inner // w])
            component = inner * w + lane(w) if w > 1 else inner
            return [component * order.by + outer]
        *outer_, last = delinearize(step, [*self.space.reduced[:-1], self.space.reduced[-1] // w])
        return [*outer_, last * w + lane(w) if w > 1 else last]

    def _out(self) -> list[Expr]:
        """Output coordinates of row ``row``."""
        shape = self.space.shape
        out: list[Expr] = [wrap(0)] * len(shape)
        row = var("row", self.count) if self.count > 1 else wrap(0)
        for i, at in zip(self.kept, delinearize(row, [shape[i] for i in self.kept])):
            out[i] = at
        return out

    def launches(self) -> list[Launch]:
        """One launch, or two for few long rows."""
        norm = self.anchor.op == "LayerNormalization"
        return (
            self.split() if norm and self.count * 8 <= self.s.groups and self.steps >= LONG else [self.emit()]
        )

    def emit(self) -> Launch:
        """One launch: every team has a row."""
        k, at_once = self.kernel, self.items // self.team
        mine: Code = ("(int)", group_id(), f"*{at_once} + lid/{self.team}")
        partial = self.count % at_once != 0
        self._begin(("min(", *mine, f", {self.count - 1})") if partial else mine, self.team)
        # Teams past the last row take no step and write nothing.
        last = (*mine, f" < {self.count} ? {self.steps} : 0") if partial else str(self.steps)
        k.declare("const int", first="0", last=last)
        self.out = self._out()
        self._bring()
        {"Softmax": self._softmax, "LayerNormalization": self._norm}.get(self.anchor.op, self._single)()
        k.flops = prod(self.space.shape) * (5 if self.same else self.length)
        groups = ceil(self.count / at_once)
        return k.finish((groups * self.items,), (self.items,))

    def _begin(self, row: Code, team: int) -> None:
        k = self.kernel
        k.local_array("float", part=self.items)
        k.declare("const int", lid=local_id(), p=f"lid%{team}")
        k.declare("const int", row=row)

    def _bring(self) -> None:
        if self.each <= IN_REGISTERS:
            self.kernel.emit(f"{self.f} x[{self.each}];")
            with self._walk() as (x, _):
                self.kernel.emit(f"x[j] = {x};")
            self.kept_in = True
        else:
            self.kept_in = False

    @contextmanager
    def _walk(self, fresh: bool = True) -> Iterator[tuple[str, Expr]]:
        """``for j``: (text of the elements, step) that this work-item takes of its row."""
        k = self.kernel
        with k.loop("j", self.each, unroll=self.each if self.each <= IN_REGISTERS else None):
            k.emit(f"const int step = first + j*{self.team} + p;")
            with k.when("step < last"):
                step = var("step", self.steps) if self.steps > 1 else wrap(0)
                if fresh:
                    yield (
                        self.reader.read(self.space.source, self.space.locate(self.out, self._loops(step))),
                        step,
                    )
                else:
                    yield "x[j]", step

    def _fold(self, name: str, start: str, update: Callable[[str, str], str]) -> None:
        """``name``: lanes' and own elements of the row folded by ``update``."""
        k = self.kernel
        k.emit(f"{self.f} {name} = {start};")
        with self._walk(not self.kept_in) as (x, _):
            k.emit(f"{name} = {update(name, x)};")

    def _meet(self, name: str, result: str, combine: str) -> None:
        """``result``: one number from the team's ``name``."""
        k, w = self.kernel, self.width
        parts = [f"{name}.s{i}" for i in range(w)] if w > 1 else [name]
        while len(parts) > 1:
            parts = [combine.format(parts[i], parts[i + 1]) for i in range(0, len(parts), 2)]
        if self.s.ptx and self.team <= 32 and self.items % 32 == 0:
            k.emit(f"float {result} = {parts[0]};")
            reduce_team(k, result, self.team, combine)
            return
        k.emit(f"part[lid] = {parts[0]};")
        k.barrier()
        distance = self.team // 2
        while distance >= 16:
            both = combine.format("part[lid]", f"part[lid + {distance}]")
            k.do_when(f"p < {distance}", f"part[lid] = {both};")
            k.barrier()
            distance //= 2
        k.emit(f"float {result} = part[lid - p];")
        if distance:
            both = combine.format(result, "part[lid - p + q]")
            k.each("q", 2 * distance, f"{result} = {both};", first=1)
        k.barrier()

    def _softmax(self) -> None:
        e = exp(self.kernel, self.f)
        self._fold("top", "-INFINITY", lambda a, x: f"fmax({a}, {x})")
        self._meet("top", "peak", "fmax({}, {})")
        self._fold("sum", "0.0f", lambda a, x: f"{a} + {e}({x} - peak)")
        self._meet("sum", "total", "({} + {})")
        self.kernel.emit("const float scale = 1.0f / total;")
        self._write(lambda x, _: f"{e}({x} - peak) * scale")

    def _norm(self) -> None:
        self._fold("sum", "0.0f", lambda a, x: f"{a} + {x}")
        self._meet("sum", "total", "({} + {})")
        self.kernel.emit(f"const float mean = total / {self.length}.0f;")
        self._fold("square", "0.0f", lambda a, x: f"fma({x} - mean, {x} - mean, {a})")
        self._meet("square", "squares", "({} + {})")
        self._apply()

    def _apply(self) -> None:
        """Scale and shift by ``mean`` and ``squares``, the epilogue, the store."""
        epsilon = float(self.anchor.attrs["epsilon"])
        self.kernel.emit(f"const float rstd = 1.0f / sqrt(squares / {self.length}.0f + {epsilon!r}f);")

        def affine(x: str, at: list[Expr]) -> str:
            text = f"({x} - mean) * rstd"
            for i, op in ((1, "*"), (2, "+")):
                if len(self.anchor.inputs) > i and self.anchor.inputs[i]:
                    operand = self.anchor.inputs[i]
                    shape = self.env.graph.types[operand].shape
                    own = broadcast(at[len(at) - len(shape) :], shape)
                    text = f"({text}) {op} {self.reader.read(operand, own)}"
            return text

        self._write(affine)

    def _write(self, compute: Callable[[str, list[Expr]], str]) -> None:
        with self._walk(not self.kept_in) as (x, step):
            at = self.space.locate(self.out, self._loops(step))
            text = self.kernel.define(self.f, compute(x, at))
            result, coords = forward(self.reader, self.tail, self.anchor.output, text, at)
            self.reader.store(self.value, coords, result)

    def _single(self) -> None:
        """One number a row."""
        op, k = self.anchor.op, self.kernel
        if op in SUMS:
            self._fold("sum", "0.0f", lambda a, x: f"{a} + {x}")
            self._meet("sum", "total", "({} + {})")
            text = f"total / {self.length}.0f" if op == "ReduceMean" else "total"
        else:
            order, start = ORDERS[op]
            self._fold("end", start, lambda a, x: f"{extreme(k, order, self.f)}({a}, {x})")
            self._meet("end", "total", extreme(k, order, "float") + "({}, {})")
            text = "total"
        with k.when("p == 0 && last > 0"):
            scalar = GpuReader(self.env, k)
            name = k.define("float", text)
            result, coords = forward(scalar, self.tail, self.anchor.output, name, self.out)
            scalar.store(self.value, coords, result)

    def split(self) -> list[Launch]:
        """Two launches: sums of parts of the rows, then their mean and deviation applied."""
        items = self.s.wg[0] * self.s.wg[1]
        groups = max(1, min(self.s.groups // self.count, self.steps // items))
        piece = ceil(self.steps / groups)
        groups = ceil(self.steps / piece)
        name = f"{self.anchor.output}@parts"
        self.env.buffers[name] = Buffer(name, self.count * groups * 2, "float32", "arena")
        return [
            _Part(self, items, groups, piece, name).statistics(),
            _Part(self, items, groups, piece, name).application(),
        ]


class _Part(Rows):
    """A work-group has ``piece`` steps of a row (in the second dimension of the grid)."""

    def __init__(self, whole: Rows, items: int, groups: int, piece: int, buffer: str):
        super().__init__(whole.env, whole.s, whole.anchor, whole.tail, whole.value, whole.space)
        self.items = self.team = items
        self.kernel = Kernel("reduce", f"__attribute__((reqd_work_group_size({items},1,1)))")
        self.reader = GpuReader(self.env, self.kernel, self.width)
        self.groups, self.piece, self.buffer = groups, piece, buffer
        self.each = ceil(piece / items)

    def _start(self) -> None:
        k = self.kernel
        self._begin(("(int)", group_id(1)), self.items)
        first = ("(int)", group_id(), f"*{self.piece}")
        k.declare("const int", first=first, last=f"min(first + {self.piece}, {self.steps})")
        self.out = self._out()
        self._bring()

    def _finish(self) -> Launch:
        self.kernel.flops = prod(self.space.shape) * 3
        return self.kernel.finish((self.groups * self.items, self.count), (self.items, 1))

    def statistics(self) -> Launch:
        """Mean and sum of squared distances from it, of this group's piece."""
        k, w = self.kernel, self.width
        self._start()
        self._fold("sum", "0.0f", lambda a, x: f"{a} + {x}")
        self._meet("sum", "total", "({} + {})")
        k.emit(f"const float mean = total / (float)((last - first)*{w});")
        self._fold("square", "0.0f", lambda a, x: f"fma({x} - mean, {x} - mean, {a})")
        self._meet("square", "squares", "({} + {})")
        pointer = k.argument(self.buffer, "float32", write=True)
        at: Code = (f"{pointer}[(row*{self.groups} + (int)", group_id(), ")*2")
        stores = Text((*at, "] = mean;")), Text((*at, " + 1] = squares;"))
        k.do_when("lid == 0", *stores, form=Form.BRACES)
        return self._finish()

    def application(self) -> Launch:
        """The groups' means and squares joined (after Chan), then the normalisation of this group's piece."""
        k, w, groups = self.kernel, self.width, self.groups
        self._start()
        pointer = k.argument(self.buffer, "float32")
        f, self.f = self.f, "float"
        self.width = 1
        k.emit("float sum = 0.0f, square = 0.0f;")
        tail = self.steps - (groups - 1) * self.piece
        size = f"(q == {groups - 1} ? {tail * w}.0f : {self.piece * w}.0f)"
        with k.loop("q", groups, first="lid", step=self.items):
            k.emit(f"sum = fma({pointer}[(row*{groups} + q)*2], {size}, sum);")
        self._meet("sum", "total", "({} + {})")
        k.emit(f"const float mean = total / {self.length}.0f;")
        with k.loop("q", groups, first="lid", step=self.items):
            k.emit(f"const float d = {pointer}[(row*{groups} + q)*2] - mean;")
            k.emit(f"square += {pointer}[(row*{groups} + q)*2 + 1] + d*d*{size};")
        self._meet("square", "squares", "({} + {})")
        self.f, self.width = f, w
        self._apply()
        return self._finish()
