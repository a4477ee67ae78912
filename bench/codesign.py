"""``python -m bench codesign``: choose a network for a latency budget before any training (paper, section 3.4)."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from bench import options as o
from bench.codesign_fit import fit, hold_out, largest_within
from bench.codesign_plot import plot
from bench.codesign_report import Family, cells, read_accuracy, text
from bench.codesign_sweep import Measured, Variant, measure, variants
from bench.names import split_names
from ecp.errors import EcpError, UsageError
from ecp.model.graph import core_count

Measure = Callable[[Sequence[Variant]], list[Measured]]
RATIOS = "0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9,1.0"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("codesign")(codesign)


def _numbers(option: str, text_: str | None) -> list[float]:
    try:
        return [float(part) for part in split_names(text_, [])]
    except ValueError as error:
        raise UsageError(f"{option} {text_}: numbers separated by commas") from error


def codesign(
    device: o.Device = "local",
    models: o.Models = None,
    budget_ms: Annotated[
        float | None, typer.Option("--budget-ms", min=0.001, help="Latency to meet.")
    ] = None,
    ratios: Annotated[str, typer.Option("--ratios", help="Core ratios to measure.")] = RATIOS,
    sizes: Annotated[str | None, typer.Option("--sizes", help="Image sizes to sweep as well.")] = None,
    depths: Annotated[str | None, typer.Option("--depths", help="Depths to sweep as well.")] = None,
    heads: Annotated[
        str | None, typer.Option("--heads", help="Widths, as heads of 64, to sweep as well.")
    ] = None,
    accuracy: Annotated[
        list[Path] | None, typer.Option("--accuracy", help="Cells with measured accuracy to join.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", help="Which data set's accuracy, where the files hold several.")
    ] = None,
    rounds: Annotated[int, typer.Option("--rounds", min=2, help="Rounds over all variants.")] = 20,
    precision: o.Precision = "fp32",
    threads: o.Threads = None,
    quick: o.Quick = False,
    json: Annotated[
        str | None, typer.Option("--json", help="Write the cells here; - is standard output.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for codesign.txt, .png and .json.")] = Path(
        "build/codesign"
    ),
    seed: o.Seed = 0,
) -> None:
    """Latency over core ratio (and size, depth, width) with synthesized weights, and the choice for a budget.

    Example: python -m bench codesign --models vit_base --budget-ms 33 --sizes 224,384
    """
    chosen = variants(
        split_names(models, ["vit_base"]),
        _ratios(ratios),
        [int(x) for x in _numbers("--sizes", sizes)],
        [int(x) for x in _numbers("--depths", depths)],
        [int(x) for x in _numbers("--heads", heads)],
    )
    known = read_accuracy(accuracy or [], dataset)
    selector = on_device(device)
    count = 3 if quick else rounds
    found = explore(chosen, budget_ms, lambda v: measure(v, selector, precision, threads, count, seed, _log))
    report = text(found, budget_ms, known)
    rows = cells(found, device, _version(), precision, budget_ms)
    if json != "-":
        typer.echo(report)
    _write(out, json, report, rows)
    plot(found, budget_ms, known, out / "codesign.png")
    _log(f"picture: {out / 'codesign.png'}")


def _ratios(text_: str) -> list[float]:
    found = _numbers("--ratios", text_)
    for ratio in found:
        core_count(ratio, 196)
    return found


def on_device(name: str) -> str:
    """The OpenCL selector of a reachable device of this computer; phones are timed by the harness, not here."""
    from bench.devices import LocalDevice, get_device, require

    entry = get_device(name)
    require(name)
    if not isinstance(entry, LocalDevice):
        raise UsageError(
            f"codesign times in its own process and '{name}' is a phone: use `python -m bench latency --device "
            f"{name} --backends ecp-native --models ecp_vit_base@0.1,ecp_vit_base@0.2,...` for its curve"
        )
    return entry.opencl


def explore(chosen: Sequence[Variant], budget: float | None, latencies: Measure) -> list[Family]:
    """Measure all variants together and fit one curve per family."""
    results = latencies(chosen)
    groups: dict[str, list[Measured]] = {}
    for result in results:
        groups.setdefault(result.variant.family, []).append(result)
    families = []
    for name, points in groups.items():
        ratios = [p.variant.ratio for p in points]
        rounds = np.array([p.rounds for p in points]).T
        curve = fit(ratios, rounds) if len(ratios) > 2 else None
        shape = points[0].variant.shape
        choice = None if curve is None or budget is None else largest_within(curve, budget, shape.patches)
        families.append(Family(name, shape, points, curve, hold_out(ratios, rounds), choice))
    return families


def _write(out: Path, json_: str | None, report: str, rows: list[object]) -> None:
    import json

    body = json.dumps(rows, indent=1)
    if json_ == "-":
        typer.echo(body)
    try:
        if json_ not in (None, "-"):
            Path(str(json_)).write_text(body + "\n")
        out.mkdir(parents=True, exist_ok=True)
        (out / "codesign.txt").write_text(report + "\n")
        (out / "codesign.json").write_text(body + "\n")
    except OSError as error:
        raise EcpError(f"{error.filename}: {error.strerror}") from error


def _version() -> str:
    try:
        return importlib.metadata.version("ecp-vit")
    except importlib.metadata.PackageNotFoundError:
        return "uninstalled"


def _log(line: str) -> None:
    typer.echo(line, err=True)
