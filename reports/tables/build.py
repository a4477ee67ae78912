"""From published grid and records to a rebuilt table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from reports import costs, numbers
from reports.measured import Measured, Store
from reports.model_names import canonical
from reports.numbers import Column, PaperTable, Row
from reports.tables import find, specs
from reports.verdicts import SETTINGS, Judged, Match, Reference, judge, side

# What depends on the minute in which it was measured.
TIMES = ("latency", "profile")
# Times of two runs are told apart from this factor on: the shared hosts seen so far changed their speed by 1.5.
RUNS_DIFFER = 2.0


@dataclass(frozen=True)
class TableCell:
    """One cell: what the paper prints (None: ``-``), what was measured (interval, or None), and the
    verdict."""

    row: Row
    column: Column
    published: numbers.Published | None
    found: find.Found
    judged: Judged | None
    command: str


@dataclass(frozen=True)
class RebuiltTable:
    """A paper table with the measurements of one device and precision beside each published number.

    ``further``: columns that the paper does not have (other frameworks), by backend, then by row id.
    """

    paper: PaperTable
    device: str
    precision: str
    cells: dict[tuple[str, str], TableCell]
    further: dict[str, dict[str, find.Found]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """``t7-local-fp32``: unique among rebuilt tables."""
        return "-".join(p for p in (self.paper.id, self.device, self.precision) if p)

    def row_cells(self, row: Row) -> list[TableCell]:
        """The cells of one row in column order."""
        return [self.cells[row.id, c.id] for c in self.paper.columns]

    @property
    def counts(self) -> Counter[str]:
        """How many published cells got which verdict."""
        return Counter(str(c.judged.match) for c in self.cells.values() if c.judged)

    @property
    def measured_count(self) -> int:
        """Published cells with a measurement beside them."""
        return sum(c.judged is not None and c.judged.match != Match.NOT_MEASURED for c in self.cells.values())


def groups(store: Store, device: str | None = None) -> list[tuple[str, str]]:
    """(device, precision) pairs that have measurements, most cells first; ``device`` keeps only that one.

    A device that was asked for and has no record still gives one pair, so that its tables say what is
    missing.
    """
    counted = Counter(
        (c.device, c.precision) for c in store.find() if c.device and c.metric in find.ON_DEVICE
    )
    pairs = [pair for pair, _ in counted.most_common()]
    if device is None:
        return pairs or [("local", "fp32")]
    return [p for p in pairs if p[0] == device] or [(device, "fp16" if device in find.PHONES else "fp32")]


def build(table_id: str, store: Store, device: str, precision: str) -> RebuiltTable:
    """Rebuild ``t1`` .. ``t7`` for one device and precision (accuracy tables do not depend on either)."""
    paper = numbers.table(table_id)
    spec = specs.SPECS[table_id]
    context = find.Context(store, device, precision)
    found = {(r.id, c.id): spec.find(context, r, c) for r in paper.rows for c in paper.columns}
    cells = {
        (r.id, c.id): _cell(paper, spec, context, r, c, found) for r in paper.rows for c in paper.columns
    }
    on_device = spec.per_device
    return RebuiltTable(
        paper,
        device if on_device else "",
        precision if on_device else "",
        cells,
        _further(spec, context, paper),
        spec.notes(context),
    )


def _cell(
    paper: PaperTable,
    spec: specs.Spec,
    context: find.Context,
    row: Row,
    column: Column,
    found: dict[tuple[str, str], find.Found],
) -> TableCell:
    published = paper.values.get((row.id, column.id))
    mine = found[row.id, column.id]
    command = spec.command(context, row, column)
    if published is None or column.conditions["metric"] in SETTINGS:
        return TableCell(row, column, published, mine, None, command)
    reference = None
    caveat = mine.caveat
    target = spec.reference(row.id, column.id)
    if target and target in paper.values:
        name = next(r.header for r in paper.rows if r.id == target[0])
        if target[1] != column.id:
            name = next(c.header for c in paper.columns if c.id == target[1])
        name, beside = _beside(paper, spec, context, mine, found[target], target, name)
        reference = Reference(name, paper.values[target].value, beside, found[target].caveat)
        if caveat is None and _one_network(context, mine, found[target]):
            caveat = Match.SAME_NETWORK
    elif target == find.ONE:
        reference = Reference("1x", 1.0, (1.0, 1.0))
    metric = str(column.conditions["metric"])
    rounding = 0.5 * 10.0**-published.decimals
    judged = judge(published.value, mine.interval, metric, mine.unlike, reference, command, rounding, caveat)
    return TableCell(row, column, published, mine, judged, command)


def _one_network(context: find.Context, mine: find.Found, other: find.Found) -> bool:
    """Whether two cells of different models are of one network: as many parameters and operations, to the last one."""
    if mine.cell is None or other.cell is None or mine.cell.model == other.cell.model:
        return False
    a, b = costs.of(mine.cell.model, context.store), costs.of(other.cell.model, context.store)
    return a is not None and b is not None and (a.params_m, a.macs_g) == (b.params_m, b.macs_g)


def _beside(
    paper: PaperTable,
    spec: specs.Spec,
    context: find.Context,
    mine: find.Found,
    reference: find.Found,
    target: tuple[str, str],
    name: str,
) -> tuple[str, tuple[float, float] | None]:
    """The reference cell's name and interval. For a time it is the one of the same run: two runs are two different
    minutes of a machine, and between them only a factor that no minute makes gives a direction."""
    if mine.cell is None or reference.cell is None or mine.cell.metric not in TIMES:
        return name, reference.interval
    if mine.cell.run == reference.cell.run:
        return name, reference.interval
    alone = find.Context(context.store.alone(mine.cell.run), context.device, context.precision)
    row = next(r for r in paper.rows if r.id == target[0])
    column = next(c for c in paper.columns if c.id == target[1])
    same_run = spec.find(alone, row, column).interval
    if same_run is not None or reference.interval is None or mine.interval is None:
        return name, same_run
    low, high = reference.interval
    far = side(mine.interval, (low / RUNS_DIFFER, high * RUNS_DIFFER)) != 0
    return (f"{name} of another run", reference.interval) if far else (name, None)


def _further(spec: specs.Spec, context: find.Context, paper: PaperTable) -> dict[str, dict[str, find.Found]]:
    """Frameworks that the paper does not have, where at least one row was tried."""
    extra: dict[str, dict[str, find.Found]] = {}
    for backend in spec.further_backends(context):
        by_row = {r.id: spec.find_further(context, r, backend) for r in paper.rows}
        if any(f.interval or f.status for f in by_row.values()):
            extra[backend] = by_row
    return extra


def every(store: Store, device: str | None = None) -> Iterator[RebuiltTable]:
    """All rebuilt tables: per device and precision where the table depends on them, once otherwise.

    A device that has nothing of a table gets none, unless no device has or it was asked for.
    """
    pairs = groups(store, device)
    for table_id in numbers.TABLES:
        built = [build(table_id, store, d, p) for d, p in _pairs_of(table_id, pairs)]
        some = [t for t in built if t.measured_count]
        yield from some or built[:1] if device is None else built


def _pairs_of(table_id: str, pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return pairs if specs.SPECS[table_id].per_device else pairs[:1]


def latency_of(store: Store, device: str, precision: str, backend: str, model: str) -> Measured | None:
    """The newest measured latency cell, or None."""
    for cell in store.find(
        device=device, precision=precision, backend=backend, model=canonical(model), metric="latency"
    ):
        if cell.ok:
            return cell
    return None
