"""What every pass of the compiler did to a model, in numbers, and its result as text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecp.codegen.lower import Launches
from ecp.codegen.schedule import ROWS
from ecp.compiler import PERSISTENT_GROUPS
from ecp.errors import UsageError
from ecp.ir.graph import Graph
from ecp.ir.ops import is_transformative
from ecp.ir.printer import to_text
from ecp.options import CompileOptions, nearest
from ecp.passes.storage import Placement
from ecp.pipeline import Pass, lower_graph
from ecp.precision import check_precision


@dataclass(frozen=True)
class Counts:
    """A form of the program. ``nodes``: its operators, or launches; ``views``: layout operators among them;
    ``fused``: operators inside fused ones. ``moved``: bytes that are read and written if each node reads its inputs
    and writes its outputs once; after fusion, layout operators are index maps and move nothing.
    """

    nodes: int
    views: int
    fused: int
    moved: int


@dataclass(frozen=True)
class Step:
    """A pass, and what it did: layout operators ``eliminated``, operators ``fused``, bytes moved before and after."""

    name: str
    what: str
    nodes_before: int
    nodes_after: int
    eliminated: int
    fused: int
    bytes_before: int
    bytes_after: int


def explain_passes(
    graph: Graph, device_class: str, options: CompileOptions, dump: Path | None = None
) -> list[Step]:
    """What each pass does to ``graph`` for a device class. ``dump``: a folder for the program after each, and kernels.

    Raises :class:`~ecp.errors.UsageError` for an unknown device class and for a folder that cannot be written.
    """
    if device_class not in ROWS:
        raise UsageError(f"unknown device class {device_class!r}; {nearest(device_class, ROWS)}")
    check_precision(options.precision, options.arithmetic, device_class)
    if options.schedule is None:
        options = options.replaced(schedule=ROWS[device_class])
    if options.persistent_groups is None:
        options = options.replaced(persistent_groups=PERSISTENT_GROUPS)
    steps: list[Step] = []
    if dump is not None:
        _write(dump / "00-imported.txt", to_text(graph))

    def watch(step: Pass[Any, Any], given: object, result: object) -> None:
        before = counted(given)
        after = before if isinstance(result, str) else counted(result)
        eliminated = max(0, before.views - after.views)
        fused = max(0, after.fused - before.fused)
        steps.append(
            Step(
                step.name, step.what, before.nodes, after.nodes, eliminated, fused, before.moved, after.moved
            )
        )
        if dump is not None:
            _write(dump / f"{len(steps):02}-{step.name}.txt", text_of(result))

    (_, sources, _), _ = lower_graph(graph, device_class, options, watch)
    for name, text in sources.items() if dump is not None else ():
        assert dump is not None
        _write(dump / name, text)
    return steps


def counted(form: object) -> Counts:
    """The numbers of a graph, a placement, launches or the parts of a bundle."""
    if isinstance(form, Placement):
        return counted(form.graph)
    if isinstance(form, Graph):
        fused = [n for n in form.nodes if n.op == "Fused"]
        moving = fused or form.nodes
        sizes = (form.types[v].nbytes for n in moving for v in (*n.inputs, *n.outputs) if v)
        views = sum(is_transformative(n.op) for n in form.nodes)
        inner = sum(len(n.attrs["body"].nodes) for n in fused)
        return Counts(len(form.nodes), views, inner, sum(sizes))
    if isinstance(form, Launches) and not form.launches:
        return Counts(len(form.selected), 0, counted(form.graph).fused, counted(form.graph).moved)
    if isinstance(form, Launches):
        moved = sum(launch.bytes for launch in form.launches)
        groups = form.joined.groups if form.joined else []
        nodes = len(form.launches) - sum(g.count - 1 for g in groups)
        return Counts(nodes, 0, counted(form.graph).fused, moved)
    assert isinstance(form, tuple)
    launches = list(form[0].dispatched())
    return Counts(len(launches), 0, 0, sum(launch.bytes for launch in launches))


def text_of(form: object) -> str:
    """A form of the program for people, or why a pass gave none."""
    if isinstance(form, Graph):
        return to_text(form)
    if isinstance(form, Placement):
        stored = (f"%{v}: {s.buffer}{list(s.view.shape)} {s.view}" for v, s in form.storage.items())
        buffers = (f"buffer {b.name}: {b.dtype}[{b.elements}] {b.kind}" for b in form.buffers.values())
        return to_text(form.graph) + "\n".join([*buffers, *stored]) + "\n"
    if isinstance(form, Launches):
        return _launches_text(form)
    if isinstance(form, tuple):
        lines = [f"{x.kernel} {x.global_size} {x.local_size}" for x in form[0].dispatched()]
        return "\n".join(lines) + "\n"
    return f"{form}\n"


def _launches_text(stage: Launches) -> str:
    lines = [f"{s.node.name}: {s.kernel}" for s in stage.selected]
    lines += [f"launch {x.kernel.name}({', '.join(x.args)}) {x.global_size}" for x in stage.launches]
    if stage.memory is not None:
        lines += [f"{b}: {m.pool}[{m.offset}+{m.bytes}]" for b, m in stage.memory.mems.items()]
    for group in stage.joined.groups if stage.joined else ():
        lines.append(f"launches {group.first}..{group.first + group.count - 1} as {group.launch.kernel}")
    return "\n".join(lines) + "\n"


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    except OSError as error:
        raise UsageError(
            f"--dump cannot write {path}: {error.strerror or error}; name another folder"
        ) from error
