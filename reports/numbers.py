"""The paper's numbers as data: every value of Tables 1-7, Figures 1, 4 and 7 and the text, each with an id.

The files in ``published/`` are grids (a table as printed) or lists (text, figures); here they become flat
:class:`Published` values. ``printed`` keeps the digits exactly as the paper shows them, because the number of
digits decides how closely a recomputed value must agree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from functools import cache
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent / "published"
TABLES = tuple(f"t{i}" for i in range(1, 8))


@dataclass(frozen=True)
class Published:
    """One printed number.

    ``conditions`` holds what the paper says about how it was got: device, precision, model, ratio, ...
    ``place`` is where it stands; ``unit`` is the unit of ``value`` (ms, MB, %, x, M, G, ...).
    """

    id: str
    printed: str
    value: float
    unit: str
    what: str
    place: str
    conditions: Mapping[str, Any] = field(default_factory=dict)

    @property
    def decimals(self) -> int:
        """Digits behind the point as printed (a word or ``224x224`` counts as an integer)."""
        try:
            exponent = Decimal(self.printed.replace(",", "")).as_tuple().exponent
        except InvalidOperation:
            return 0
        return max(0, -int(exponent))

    def agrees(self, value: float, slack: float = 0.0) -> bool:
        """Whether ``value`` rounds to what is printed (half a unit in the last digit, plus ``slack``)."""
        return abs(value - self.value) <= 0.5 * 10.0**-self.decimals + slack + 1e-9


@dataclass(frozen=True)
class Column:
    """One column of a paper table."""

    id: str
    header: str
    unit: str
    what: str
    conditions: Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """One row of a paper table; ``conditions`` has at least the model."""

    id: str
    header: str
    conditions: Mapping[str, Any]


@dataclass(frozen=True)
class PaperTable:
    """A table as the paper prints it; a missing key in ``values`` is a cell printed ``-`` or left empty."""

    id: str
    place: str
    title: str
    conditions: Mapping[str, Any]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    values: Mapping[tuple[str, str], Published]


def _load(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((FOLDER / name).read_text(encoding="utf-8")))


def _number(printed: str) -> float:
    return float(printed.replace(",", ""))


_ROW_KEYS = {"id", "header", "printed"}
_COLUMN_KEYS = {"id", "header", "unit", "what"}


@cache
def table(table_id: str) -> PaperTable:
    """The paper's table ``t1`` .. ``t7``."""
    raw = _load(f"table{table_id[1:]}.yaml")
    columns = tuple(
        Column(
            c["id"], c["header"], c["unit"], c["what"], {k: v for k, v in c.items() if k not in _COLUMN_KEYS}
        )
        for c in raw["columns"]
    )
    rows: list[Row] = []
    values: dict[tuple[str, str], Published] = {}
    for r in raw["rows"]:
        row = Row(r["id"], r["header"], {k: v for k, v in r.items() if k not in _ROW_KEYS})
        rows.append(row)
        for column, printed in zip(columns, r["printed"], strict=True):
            if printed is None:
                continue
            conditions = {**raw["conditions"], **row.conditions, **column.conditions}
            values[row.id, column.id] = Published(
                id=f"{raw['id']}.{row.id}.{column.id}",
                printed=printed,
                value=_number(printed),
                unit=column.unit,
                what=f"{row.header}: {column.what}",
                place=raw["place"],
                conditions=conditions,
            )
    return PaperTable(raw["id"], raw["place"], raw["title"], raw["conditions"], columns, tuple(rows), values)


_VALUE_KEYS = {"id", "place", "printed", "value", "unit", "what"}


@cache
def loose(name: str) -> tuple[Published, ...]:
    """Numbers that stand outside the tables: ``figures`` or ``text``."""
    return tuple(
        Published(
            id=v["id"],
            printed=v["printed"],
            value=float(v["value"]) if "value" in v else _number(v["printed"]),
            unit=v["unit"],
            what=v["what"],
            place=v["place"],
            conditions={k: x for k, x in v.items() if k not in _VALUE_KEYS},
        )
        for v in _load(f"{name}.yaml")["values"]
    )


def drawn_only() -> list[dict[str, Any]]:
    """What the paper gives only as a drawing, without a number: not transcribed."""
    return list(_load("figures.yaml")["drawn_only"])


def everything() -> Iterator[Published]:
    """Every published number once, tables first."""
    for table_id in TABLES:
        yield from table(table_id).values.values()
    yield from loose("figures")
    yield from loose("text")


@cache
def _index() -> dict[str, Published]:
    return {p.id: p for p in everything()}


def get(number_id: str) -> Published:
    """The number with this id (``t7.vit_tiny.mnn``); KeyError if there is none."""
    return _index()[number_id]


@dataclass(frozen=True)
class External:
    """A fact from outside the paper, with its source."""

    value: float
    unit: str
    source: str


def external(fact_id: str) -> External:
    """A fact that an audit row needs and that the paper does not give."""
    return _externals()[fact_id]


@cache
def _externals() -> dict[str, External]:
    return {
        e["id"]: External(float(e["value"]), e["unit"], e["source"]) for e in _load("external.yaml")["values"]
    }


def externals() -> list[dict[str, Any]]:
    """Every fact from outside the paper: ``{id, value, unit, source}``."""
    return [{"id": k, "value": e.value, "unit": e.unit, "source": e.source} for k, e in _externals().items()]


def figure1_accuracies() -> list[dict[str, Any]]:
    """Figure 1's accuracies (model, top1, source, published): the paper's own number where it has one."""
    rows = [
        {
            "model": m,
            "top1": table("t3").values[m.replace("vit", "ecp_vit", 1), "1.0"].value,
            "source": "Table 3, ratio 1.0",
        }
        for m in ("vit_tiny", "vit_small", "vit_base")
    ]
    rows += [
        {"model": r.id, "top1": table("t3").values[r.id, "0.8"].value, "source": "Table 3, ratio 0.8"}
        for r in table("t3").rows
    ]
    rows.append({"model": "deit_base", "top1": get("t2.deit_base.top1").value, "source": "Table 2"})
    rows = [{**r, "published": True} for r in rows]
    return rows + [{**r, "published": False} for r in _load("external.yaml")["figure1"]]
