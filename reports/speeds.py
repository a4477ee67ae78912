"""How fast this compiler is beside the fastest other framework, from cells of one run."""

from __future__ import annotations

from typing import Any

from reports.measured import Measured, Store, slug
from reports.tables.find import FRAMEWORKS, is_ours
from reports.tables.render import number
from reports.verdicts import interval as bounds
from reports.verdicts import side


def speed_summary(store: Store) -> list[dict[str, Any]]:
    """Per device, precision and model: ecp beside the fastest other framework, both from the run that measured the
    other: times of different runs are times of different minutes."""
    groups: dict[tuple[str, str, str], list[Measured]] = {}
    for cell in store.find(metric="latency"):
        if cell.ok:
            groups.setdefault((cell.device, cell.precision, cell.model), []).append(cell)
    rows = []
    for (device, precision, model), cells in groups.items():
        others = sorted((c for c in cells if not is_ours(c.backend)), key=value_of)
        pair = next(((ours, c) for c in others if (ours := _beside(store, c)) is not None), None)
        if pair is None:
            continue
        ours, other = pair
        verdict = {1: "slower", -1: "faster", 0: "level"}[side(bounds(ours), bounds(other))]
        rows.append(
            {
                "device": device,
                "device_file": slug(device),
                "precision": precision,
                "model": model,
                "model_file": slug(model),
                "ours": number(ours.value),
                "other": number(other.value),
                "backend": other.backend,
                "ratio": f"{value_of(other) / value_of(ours):.2f}",
                "verdict": verdict,
            }
        )
    return sorted(rows, key=lambda r: (r["device"], r["precision"], float(r["ours"])))


def _beside(store: Store, other: Measured) -> Measured | None:
    """The fastest ecp cell of the same run, device, precision and model."""
    keys = ("run", "device", "precision", "model", "metric", "variant")
    same = (c for c in store.cells if c.ok and all(getattr(c, k) == getattr(other, k) for k in keys))
    return min((c for c in same if c.backend in FRAMEWORKS["ecp"]), key=value_of, default=None)


def value_of(cell: Measured) -> float:
    """The value of a cell that is known to have one."""
    assert cell.value is not None
    return cell.value
