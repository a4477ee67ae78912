"""``ecp`` or ``python -m ecp``: compile, explain and run models."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

import ecp
from ecp.errors import EcpError, UsageError
from ecp.options import SETTINGS, help_of, parse_setting

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=__doc__,
)
out = Console()

Precision = Annotated[str, typer.Option(help=help_of("precision"))]
Arithmetic = Annotated[str, typer.Option(help=help_of("arithmetic"))]
Device = Annotated[str, typer.Option(help="local, local-cpu, local-pocl, local-gpu or local-rusticl")]
Json = Annotated[bool, typer.Option("--json", help="print JSON for programs instead of a table")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help=f"an option of the compiler as NAME=VALUE, of {', '.join(SETTINGS)}"),
]
Dim = Annotated[list[str] | None, typer.Option(help="value of a dynamic dimension, e.g. --dim batch=1")]


def _version(asked: bool) -> None:
    if asked:
        out.print(f"ecp {ecp.__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version and stop")
    ] = False,
) -> None:
    pass


@app.command(epilog="Example: python -m ecp compile vit.onnx --device local -o vit.bundle")
def compile(
    model: Annotated[Path, typer.Argument(help="ONNX file")],
    output: Annotated[Path, typer.Option("-o", "--output", help="folder of the bundle")],
    device: Device = "local",
    precision: Precision = "fp32",
    arithmetic: Arithmetic = "float",
    dim: Dim = None,
    golden: Annotated[
        bool, typer.Option(help="store a seeded input and its float64 reference output")
    ] = True,
    cache: Annotated[bool, typer.Option(help=help_of("cache"))] = True,
    settings: Settings = None,
    as_json: Json = False,
) -> None:
    """Compile an ONNX model into a bundle for a device."""
    from ecp.compiler import golden as reference
    from ecp.compiler import import_model

    bundle = ecp.compile(
        model,
        device=device,
        precision=precision,
        dims=_dims(dim),
        name=model.stem,
        **{"cache": cache, "arithmetic": arithmetic, **_settings(settings)},
    )
    if golden:
        bundle.golden = reference(bundle, import_model(model, dims=_dims(dim)))
    try:
        bundle.save(output)
    except OSError as error:
        raise UsageError(f"the bundle cannot be written to {output}: {error.strerror or error}") from error
    report = asdict(bundle.report)
    if as_json:
        print(json.dumps(report))
        return
    table = Table(title=f"{model.name} -> {output}")
    table.add_column("what")
    table.add_column("value", justify="right")
    for key, value in report.items():
        table.add_row(key.replace("_", " "), _shown(value))
    out.print(table)


@app.command(epilog="Example: python -m ecp explain vit.onnx")
def explain(
    model: Annotated[Path, typer.Argument(help="ONNX file")],
    dim: Dim = None,
    all_nodes: Annotated[
        bool, typer.Option("--all", help="every operator, not only those that moved data")
    ] = False,
    passes: Annotated[bool, typer.Option("--passes", help="what each pass of the compiler did")] = False,
    dump: Annotated[
        Path | None,
        typer.Option(help="folder for the program after each pass and the kernels (with --passes)"),
    ] = None,
    device_class: Annotated[
        str, typer.Option(help="for --passes: cpu, nvidia, adreno or generic; needs no device")
    ] = "cpu",
    precision: Precision = "fp32",
    settings: Settings = None,
    as_json: Json = False,
) -> None:
    """Say which operators vanished, which were fused, which were materialized, and why."""
    if dump is not None and not passes:
        raise UsageError("--dump goes with --passes")
    if passes:
        _explain_passes(
            model, dim, dump, device_class, {"precision": precision, **_settings(settings)}, as_json
        )
        return
    from ecp.explain import explain as explain_graph
    from ecp.explain import summary
    from ecp.frontend.onnx import import_onnx

    lines = explain_graph(import_onnx(model, dims=_dims(dim)))
    if as_json:
        print(json.dumps([asdict(line) for line in lines]))
        return
    table = Table("operator", "node", "fate", "how", title=model.name)
    for line in lines:
        if all_nodes or line.fate != "fused":
            table.add_row(line.op, line.name, line.fate, line.detail)
    out.print(table)
    out.print(", ".join(f"{count} {fate}" for fate, count in summary(lines).items()))


def _explain_passes(
    model: Path,
    dim: list[str] | None,
    dump: Path | None,
    device_class: str,
    named: dict[str, Any],
    as_json: bool,
) -> None:
    from ecp.explain_passes import explain_passes
    from ecp.frontend.onnx import import_onnx
    from ecp.options import CompileOptions

    steps = explain_passes(
        import_onnx(model, dims=_dims(dim)), device_class, CompileOptions.of(**named), dump
    )
    if as_json:
        print(json.dumps([asdict(step) for step in steps]))
        return
    table = Table("pass", "nodes", "eliminated", "fused", "MB moved", "what", title=model.name)
    for s in steps:
        moved = f"{s.bytes_before / 1e6:.1f} -> {s.bytes_after / 1e6:.1f}"
        nodes = f"{s.nodes_before} -> {s.nodes_after}"
        table.add_row(s.name, nodes, str(s.eliminated), str(s.fused), moved, s.what)
    out.print(table)


@app.command(epilog="Example: python -m ecp layouts vit.onnx --device local-cpu")
def layouts(
    model: Annotated[Path | None, typer.Argument(help="ONNX file")] = None,
    device: Device = "local",
    precision: Precision = "fp32",
    turns: Annotated[int, typer.Option(help="turns in which the candidates of an edge are timed")] = 15,
    dim: Dim = None,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="measure the cost model's constants instead")
    ] = False,
    as_json: Json = False,
) -> None:
    """Time every candidate layout of every distinct edge, and correlate with what the cost model predicts."""
    from ecp.runtime.devices import resolve

    target = resolve(device)
    if calibrate:
        from ecp.tune.layoutprobe import calibrate as measure_row

        print(json.dumps(asdict(measure_row(target))) if as_json else measure_row(target))
        return
    if model is None:
        raise UsageError("layouts needs a MODEL.onnx (or --calibrate)")
    from ecp.frontend.onnx import import_onnx
    from ecp.tune.layouts import Study, correlation

    study = Study(import_onnx(model, dims=_dims(dim)), target, precision)
    table = Table("edge", "times", "candidate", "predicted us", "measured us", title=model.name)
    for edge in study.edges:
        study.measure(edge, turns)
        for i, (predicted, ms) in enumerate(zip(edge.choice.predicted, edge.medians)):
            name = edge.values[0] if i == 0 else ""
            mark = f"{i}{' (rule)' if i == 0 else ''}{' (chosen)' if i == edge.choice.best else ''}"
            table.add_row(name, str(len(edge.values)), mark, f"{predicted / 1e3:.1f}", f"{ms * 1e3:.1f}")
    found = correlation(study.edges)
    if as_json:
        print(json.dumps({**found, "edges_measured": [e.as_dict() for e in study.edges]}))
        return
    out.print(table)
    for key, value in found.items():
        out.print(f"{key}: {value if not isinstance(value, float) else round(value, 4)}")


@app.command(epilog="Example: python -m ecp run vit.bundle --check")
def run(
    bundle: Annotated[Path, typer.Argument(help="folder of a bundle")],
    device: Annotated[str | None, typer.Option(help="device, default: the one it was compiled for")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads, default all")] = None,
    check: Annotated[bool, typer.Option("--check", help="compare with the bundle's golden output")] = False,
    tolerance: Annotated[
        float | None, typer.Option(help="largest error allowed, relative to the largest output")
    ] = None,
    profile: Annotated[bool, typer.Option("--profile", help="device time of every launch")] = False,
) -> None:
    """Run a bundle once on its golden input (or random input) and check or profile it."""
    from ecp.compiler import sample

    loaded = ecp.Bundle.load(bundle)
    if check and not loaded.golden.get("outputs"):
        raise UsageError(f"{bundle} holds no golden output; compile it again with --golden")
    rng = np.random.default_rng(0)
    feeds = loaded.golden.get("inputs") or {p.name: sample(p, rng) for p in loaded.plan.inputs}
    with ecp.Session(loaded, device=device, threads=threads) as session:
        outputs = session.run(feeds)
        out.print(f"{session.device_name} ({session.platform_name}): {len(loaded.plan.launches)} launches")
        if profile:
            table = Table("launch", "ms", "GFLOP/s", "GB/s", "nodes")
            for t in session.profile():
                nodes = ", ".join(n.rsplit("/", 1)[-1] for n in t.nodes[:4])
                table.add_row(
                    t.name, f"{t.ms:.3f}", f"{t.flops / t.ms / 1e6:.1f}", f"{t.bytes / t.ms / 1e6:.1f}", nodes
                )
            out.print(table)
    if not check:
        return
    limit = tolerance if tolerance is not None else (1e-4 if loaded.plan.precision == "fp32" else 2e-2)
    for name, want in loaded.golden["outputs"].items():
        error = float(np.max(np.abs(outputs[name].astype(np.float64) - want), initial=0.0))
        scale = max(1.0, float(np.max(np.abs(want), initial=0.0)))
        verdict = "ok" if error <= limit * scale else "WRONG"
        out.print(f"{name}: largest error {error:.3g} (allowed {limit * scale:.3g}): {verdict}")
        if verdict != "ok":
            raise typer.Exit(1)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    return str(len(value)) if isinstance(value, list) else f"{value:,}"


def _settings(pairs: list[str] | None) -> dict[str, Any]:
    table = {}
    for pair in pairs or []:
        name, _, value = pair.partition("=")
        table[name] = parse_setting(name, value)
    return table


def _dims(pairs: list[str] | None) -> dict[str, int] | None:
    table = {}
    for pair in pairs or []:
        name, _, value = pair.partition("=")
        if not value.isdigit():
            raise UsageError(f"--dim {pair!r} is not NAME=NUMBER")
        table[name] = int(value)
    return table or None


def main() -> None:
    """Entry point: errors of the user are one line and an exit code."""
    try:
        app()
    except EcpError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
