"""The command line of the reports: thin functions around the modules that do the work."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.cli import INTERRUPTED, USAGE_ERRORS
from bench.escape import line, visible
from bench.names import check_name
from ecp.errors import EcpError, UsageError
from reports import measured

Records = Annotated[
    Path | None, typer.Option("--records", help="Folder of runs; default: the committed ones.")
]
Device = Annotated[
    str | None, typer.Option("--device", "-d", help="Only this device; default: all with records.")
]
Out = Annotated[Path | None, typer.Option("--out", help="Folder to write to.")]
Json = Annotated[Path | None, typer.Option("--json", help="Write the result as JSON; - is standard output.")]

app = typer.Typer(
    name="reports",
    help="Audit, tables, figures and site from records; no device needed (but for reproduce).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _root() -> None:
    """Everything published beside everything measured.

    Exit codes: 0 done; 1 something failed or is not current; 2 bad usage or unknown name; 3 device not reachable.
    """


def _store(records: Path | None) -> measured.Store:
    if records is not None and not records.is_dir():
        raise UsageError(f"--records {records}: there is no such folder")
    store = measured.load(records or measured.COMMITTED)
    for run in store.runs:
        for finding in run.findings:
            print(f"note: {line(run.id)}: {line(finding)}", file=sys.stderr)
    return store


def _known_device(store: measured.Store, device: str | None) -> str | None:
    if device is not None:
        from bench import devices

        check_name("device", device, {*devices.load_devices(), *store.names("device")})
    return device


def _write_json(path: Path | None, data: Any) -> bool:
    """Write where asked; whether standard output is taken by it."""
    if path is None:
        return False
    text = json_module.dumps(data, indent=1) + "\n"
    if str(path) == "-":
        sys.stdout.write(text)
        return True
    with _writing(path):
        path.write_text(text, encoding="utf-8")
    return False


@contextmanager
def _writing(place: Path) -> Iterator[None]:
    """Turn what a file system refuses into one line."""
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"cannot write {place}: {error.strerror or error}; choose a writable place"
        ) from error


@app.command()
def audit(out: Out = None, json: Json = None) -> None:
    """Recompute every derived claim of the paper from its own numbers.

    Example: python -m reports audit --out build/audit
    """
    from reports.audit import audit_all, render
    from reports.report import write_audit

    rows = audit_all()
    taken = _write_json(json, [r.as_row() for r in rows])
    if out:
        with _writing(out):
            write_audit(out)
        print(f"audit of {len(rows)} claims: {out}", file=sys.stderr)
    elif not taken:
        print(render.markdown(rows), end="")


@app.command()
def tables(device: Device = None, records: Records = None, out: Out = None, json: Json = None) -> None:
    """Tables 1-7, published beside measured, with verdicts: Markdown on screen; with --out also LaTeX and CSV.

    Example: python -m reports tables --device local --out build/tables
    """
    from reports.report import write_tables
    from reports.tables import render
    from reports.tables.build import every

    store = _store(records)
    built = list(every(store, _known_device(store, device)))
    taken = _write_json(json, [row for t in built for row in render.csv_rows(t)])
    if not taken and not out:
        print("\n".join(map(render.markdown, built)) + "\n" + render.legend(), end="")
    if out:
        with _writing(out):
            write_tables(built, out)
        print(f"{len(built)} tables as Markdown, LaTeX and CSV: {out}", file=sys.stderr)


@app.command()
def figures(
    device: Device = None,
    records: Records = None,
    out: Annotated[Path, typer.Option("--out")] = Path("build/figures"),
) -> None:
    """Every figure as SVG and PNG with its data as CSV; what the records do not allow is named with its command.

    Example: python -m reports figures --device local --out build/figures
    """
    from reports.figures import Missing, build_all, catalogue, export
    from reports.tables import groups

    store = _store(records)
    count = 0
    pairs = groups(store, _known_device(store, device))
    for figure in build_all(store, catalogue.places(store, pairs, device)):
        if isinstance(figure, Missing):
            print(line(f"not drawn: {figure.title}: {figure.why}; run {figure.command}"), file=sys.stderr)
            continue
        with _writing(out):
            export.write(figure, out)
        count += 1
    print(f"{count} figures: {out}", file=sys.stderr)


@app.command()
def site(records: Records = None, out: Annotated[Path, typer.Option("--out")] = Path("site")) -> None:
    """The results as a static web site that works from a file, checked for broken links.

    Example: python -m reports site --records results --out site
    """
    from reports.report import write_site

    with _writing(out):
        built = write_site(_store(records), out)
    _say_site(built)


def _say_site(built: Any) -> None:
    place = (built.folder / "index.html").resolve().as_uri()
    print(f"{len(built.pages)} pages, {built.bytes / 1e6:.1f} MB: open {place}", file=sys.stderr)


@app.command()
def report(
    records: Records = None, out: Annotated[Path, typer.Option("--out")] = Path("build/report")
) -> None:
    """Audit, tables, figures, site and one-page summary in one folder, from records, with no device at hand.

    Example: python -m reports report --out build/report
    """
    from reports.report import write

    with _writing(out):
        done = write(_store(records), out)
    print(f"{done.claims} claims, {done.tables} tables, summary: {out / 'summary.md'}", file=sys.stderr)
    _say_site(done.site)


@app.command()
def readme(
    path: Annotated[Path, typer.Option("--file", help="The file with the markers.")] = Path("README.md"),
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit 1 if it is not current.")
    ] = False,
    records: Records = None,
) -> None:
    """Write the results tables into README.md, or check that they are current.

    Example: python -m reports readme --check
    """
    from reports import readme as generator

    if not path.is_file():
        raise UsageError(f"--file {path}: there is no such file")
    store = _store(records)
    if check:
        generator.check(path, store)
        print(f"{path} is current", file=sys.stderr)
    else:
        changed = generator.write(path, store)
        print(f"{path} {'updated' if changed else 'was current'}", file=sys.stderr)


@app.command()
def reproduce(
    device: Annotated[str, typer.Option("--device", "-d", help="A name from devices.yaml.")] = "local",
    out: Annotated[Path, typer.Option("--out", help="Folder of results, state and site.")] = Path(
        "build/reproduce"
    ),
    models: Annotated[str | None, typer.Option("--models", help="Only these models.")] = None,
    backends: Annotated[str | None, typer.Option("--backends", help="Only these backends.")] = None,
    steps: Annotated[
        str | None, typer.Option("--steps", help="Only these steps, separated by commas.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="Folder of a data set: trains its rows of Tables 2 to 5.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", help="What it is: imagenet, tiny-imagenet, stl10, cifar100.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Three short blocks: a look, not a result.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would run and how long, then stop.")
    ] = False,
) -> None:
    """Measure whatever this machine can of all tables and figures, then build the site and a one-page summary.

    Says first how long it will take. Stop it at any time: the same command goes on where it stopped.

    Example: python -m reports reproduce --device local --quick
    """
    from reports import reproduce as reproducer

    asked = reproducer.Asked(device, out, models, backends, steps, data, dataset, quick)
    raise typer.Exit(reproducer.run(asked, dry_run))


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit code. A user's mistake is one line, not a traceback."""
    command = typer.main.get_command(app)
    try:
        code = command.main(arguments, prog_name="python -m reports", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except EcpError as error:
        return _fail(str(error), error.exit_code)
    except USAGE_ERRORS as error:
        return _fail(f"{error.format_message()} (--help shows what there is)", 2)
    except (typer.Abort, KeyboardInterrupt):
        return _fail("interrupted", INTERRUPTED)


def _fail(message: str, code: int) -> int:
    print(f"error: {visible(message)}", file=sys.stderr)
    return code
