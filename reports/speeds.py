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
    other: times of different runs are times of different minutes.

    Of every framework the newest cell counts that has ecp beside it: a newer one without (ecp stayed unstable there)
    must not leave the row to a slower framework.
    """
    groups: dict[tuple[str, str, str], dict[str, tuple[Measured, Measured]]] = {}
    for cell in store.cells:
        if cell.ok and cell.metric == "latency" and not cell.variant and not is_ours(cell.backend):
            ours = _beside(store, cell)
            if ours is not None:
                groups.setdefault((cell.device, cell.precision, cell.model), {})[cell.backend] = ours, cell
    rows = []
    for (device, precision, model), pairs in groups.items():
        ours, other = min(pairs.values(), key=lambda pair: value_of(pair[1]))
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
