"""What every measuring command does: check names, reach the device, plan, measure, show, write JSON."""

from __future__ import annotations

import datetime
import json
import os
import secrets
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from baselines import registry
from bench import devices, plan, plant, schema
from bench.cells import Cell, make_cells
from bench.console import terminal
from bench.escape import line
from bench.launch import run_block
from bench.names import check_name, split_names
from bench.options import RunOptions
from bench.plan import Case, Step
from bench.prepare import Prepared, prepare
from bench.progress import Shown
from bench.records import BlockRecord, RecordError, RunFolder, read_records
from bench.resume import find_interrupted
from bench.runner import Launcher, Settings, device_lock, run_steps, target_of
from bench.table import print_cells
from bench.validity_machine import machine
from ecp.errors import UsageError

PRECISIONS = ("fp32", "fp16")
DEFAULT_MODELS = ("vit_tiny", "ecp_vit_tiny")
DEFAULT_BACKENDS = ("ecp", "onnxruntime", "torch")
QUICK = Settings(min_samples=10, min_seconds=0.5, warmup_seconds=2.0)
# How often a block that was spoiled by other load on the machine is measured again.
REPEATS = 2
FAILED_STATUSES = ("failed", "unstable", "not-run")


def measure(
    metric: str,
    options: RunOptions,
    models: Sequence[str] = DEFAULT_MODELS,
    backends: Sequence[str] = DEFAULT_BACKENDS,
    *,
    console: Console | None = None,
    show: Callable[[Sequence[Cell], Console], None] = print_cells,
) -> int:
    """Run one metric over models x backends as asked; the exit code. JSON goes where asked.

    ``show`` gets the cells at the end, for a table of its own; ``console`` is standard output, or standard error
    where the JSON goes to standard output.
    """
    console = console or console_for(options.json)
    cases = make_cases(metric, options, models, backends)
    reach = devices.require(options.device)
    console.print(f"device: {options.device}: {reach.detail}", highlight=False, markup=False)
    # The device first: a run that is refused leaves no folder that --resume would take for an interrupted one.
    with device_lock(options.device):
        folder, steps = open_run(metric, options, plan.make_plan(cases, options.block_count, options.seed))
        records, interrupted, problem = _carry_out(folder, steps, cases, reach, options, console)
    cells = make_cells(cases, records, options.block_count)
    show(cells, console)
    write_json(cells, options.json)
    console.print(f"raw samples: {folder.records_path}", highlight=False, markup=False, soft_wrap=True)
    if problem is not None:
        raise problem
    if interrupted:
        left = len(steps) - len({r.seq for r in records})
        print(
            f"interrupted; {left} blocks are left: the same command with --resume finishes them",
            file=sys.stderr,
        )
        return 130
    return exit_code(cells)


def console_for(json_path: Path | None) -> Console:
    """Where tables go: nothing but the JSON may stand on standard output where that was asked."""
    return terminal(stderr=json_path is not None and str(json_path) == "-")


def make_cases(
    metric: str, options: RunOptions, models: Sequence[str], backends: Sequence[str]
) -> list[Case]:
    """Cases in the order of the table. Unknown names raise :class:`UsageError` before anything is measured."""
    devices.get_device(options.device)
    check_name("precision", options.precision, PRECISIONS)
    threads = options.threads or min(2, len(os.sched_getaffinity(0)))
    chosen_models = [check_model(n) for n in at_batches(split_names(options.models, models), options.batches)]
    known = registry.names()
    chosen_backends = [check_name("backend", n, known) for n in split_names(options.backends, backends)]
    settings = parse_settings(options.settings, known)
    return [
        Case(options.device, backend, model, metric, options.precision, threads, settings.get(backend, {}))
        for model in chosen_models
        for backend in chosen_backends
    ]


def at_batches(models: Sequence[str], batches: str | None) -> list[str]:
    """Every model at every batch asked (``"1,8"`` -> ``m``, ``m@b8``); the models as they are where none is."""
    if batches is None:
        return list(models)
    sizes = split_names(batches, ())
    for size in sizes:
        if not size.isdecimal() or int(size) < 1:
            raise UsageError(f"--batches: '{size}' is not a batch size; write for example --batches 1,4,16")
    return [m if int(b) == 1 else f"{m}@b{int(b)}" for m in models for b in sizes]


def parse_settings(texts: Sequence[str], backends: Sequence[str]) -> dict[str, dict[str, str]]:
    """``["ecp.fuse=false"]`` -> ``{"ecp": {"ecp.fuse": "false"}}``; a malformed one raises :class:`UsageError`."""
    table: dict[str, dict[str, str]] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        backend, dot, _ = key.partition(".")
        if key.startswith(plant.PREFIX):
            raise UsageError(f"--set {text}: faults are planted by python -m bench.regress_proof alone")
        if not equals or not dot:
            raise UsageError(f"--set {text}: write BACKEND.KEY=VALUE, for example ecp.fuse=false")
        table.setdefault(check_name("backend", backend, backends), {})[key] = value
    return table


def check_model(name: str) -> str:
    """The name, if the model registry can read it; else the registry's :class:`UsageError`."""
    from bench import models

    models.parse(name)
    if len(name) > schema.LONGEST_MODEL:
        raise UsageError(
            f"--models: a name of {len(name)} characters; at most {schema.LONGEST_MODEL} are kept"
        )
    return name


def exit_code(cells: Sequence[Cell]) -> int:
    """0 where every cell was measured or cannot be here (unsupported, unavailable), 1 where one failed."""
    if all(c.status == "unavailable" for c in cells):
        return 1
    return int(any(c.status in FAILED_STATUSES for c in cells))


def open_run(metric: str, options: RunOptions, steps: Sequence[Step]) -> tuple[RunFolder, list[Step]]:
    """A new run's folder with its plan; with ``--resume`` the newest one of these options that was interrupted."""
    if options.resume:
        folder, run = find_interrupted(options.out, metric, request_of(options))
        try:
            again = plan.plan_from_json(run["plan"])
            if any(plant.planted(step.case.options) for step in again):
                raise ValueError("its plan holds planted faults")
            return folder, again
        except (KeyError, TypeError, ValueError) as error:
            folder.close()
            raise RecordError(f"{folder.folder / 'run.json'} holds no plan: {error!r}") from error
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    folder = RunFolder(options.out / f"{stamp}-{metric}-{secrets.token_hex(3)}")
    folder.create()
    folder.write_run(
        {
            "schema_version": 1,
            "run_id": folder.run_id,
            "metric": metric,
            "state": "started",
            "request": request_of(options),
            "command": ["bench", *sys.argv[1:]],
            "environment": machine(),
            "plan": plan.plan_to_json(steps),
        }
    )
    return folder, list(steps)


def request_of(options: RunOptions) -> dict[str, Any]:
    """What identifies a run for ``--resume``: the options that change what is measured."""
    data = asdict(options)
    for name in ("resume", "json", "out", "timeout"):
        data.pop(name)
    # Through JSON, so that it equals what is read back from run.json (tuples become lists there).
    return dict(json.loads(json.dumps(data)))


def _carry_out(
    folder: RunFolder,
    steps: Sequence[Step],
    cases: Sequence[Case],
    reach: devices.Reach,
    options: RunOptions,
    console: Console,
) -> tuple[list[BlockRecord], bool, Exception | None]:
    """(records of the whole run, interrupted by Ctrl-C, an error that stopped it)."""
    earlier = read_records(folder.records_path)
    for finding in earlier.findings:
        print(line(finding), file=sys.stderr)
    have = {r.seq for r in earlier.records}
    todo = [s for s in steps if s.seq not in have and not _settled(s.case, earlier.records)]
    settings = QUICK if options.quick else Settings()
    settings = Settings(**{**asdict(settings), "timeout_s": options.timeout})
    interrupted, problem = False, None
    target = target_of(options.device, reach)
    try:
        prepared = prepare_models({c.model for c in cases}, console)
        note_models(folder, prepared, reach)
        with _launcher(options.device) as launcher, Shown(console) as shown:
            for round_of_steps in _rounds(todo, steps, folder, 0 if options.quick else REPEATS):
                shown.expect(len(round_of_steps))
                run_steps(
                    round_of_steps,
                    prepared,
                    target,
                    settings,
                    folder,
                    starting=shown.starting,
                    done=shown.done,
                    launcher=launcher,
                )
    except KeyboardInterrupt:
        interrupted = True
    except Exception as error:
        problem = error
    records = read_records(folder.records_path).records
    finish(folder, "interrupted" if interrupted else "stopped" if problem else "complete")
    return records, interrupted, problem


def _launcher(name: str) -> AbstractContextManager[Launcher]:
    """What carries out a block on the device: a worker process here, or the phone behind its transport."""
    device = devices.get_device(name)
    if device.transport == "local":
        return nullcontext(run_block)
    from bench import phones

    return phones.launcher(name, device)


def _rounds(
    todo: Sequence[Step], steps: Sequence[Step], folder: RunFolder, repeats: int
) -> Iterator[Sequence[Step]]:
    """The plan's open steps, then up to ``repeats`` rounds of the blocks that disturbance spoiled."""
    yield todo
    for _ in range(repeats):
        done = sorted(read_records(folder.records_path).records, key=lambda r: r.seq)
        latest = {(r.cell.backend, r.cell.model, r.block): r.status for r in done}
        next_seq = max(len(steps), done[-1].seq + 1 if done else 0)
        again = plan.retry_steps(steps, latest, next_seq)
        if not again:
            return
        yield again


def _settled(case: Case, records: Sequence[BlockRecord]) -> bool:
    return any(
        r.status in ("unsupported", "unavailable")
        and (r.cell.backend, r.cell.model) == (case.backend, case.model)
        for r in records
    )


def prepare_models(models: set[str], console: Console) -> dict[str, Prepared]:
    """Every model once, by name; says what takes long."""
    prepared = {}
    for name in sorted(models):
        what = f"preparing {name}: ONNX file, inputs, float64 reference (once, then cached)"
        if not console.is_terminal:
            console.print(what, markup=False, highlight=False, soft_wrap=True)
        with console.status(what):
            prepared[name] = prepare(name)
    return prepared


def note_models(folder: RunFolder, prepared: dict[str, Prepared], reach: devices.Reach) -> None:
    """Add models and device to run.json."""
    run = folder.read_run()
    run["models"] = {name: {"sha256": p.sha256, **p.info} for name, p in prepared.items()}
    run["device"] = {"detail": reach.detail, "device_class": reach.device_class}
    folder.write_run(run)


def finish(folder: RunFolder, state: str) -> None:
    """Close the folder with its state: complete, interrupted or stopped."""
    folder.close()
    try:
        run = folder.read_run()
        folder.write_run({**run, "state": state})
    except Exception as error:
        # The records are what counts; a run whose state could not be written is found by --resume again.
        print(line(f"note: {error}"), file=sys.stderr)


def write_json(cells: Sequence[Cell], target: Path | None) -> None:
    """Cells to a file or standard output; :class:`UsageError` where it cannot be written."""
    if target is None:
        return
    text = json.dumps([c.to_dict() for c in cells], indent=1, allow_nan=False)
    if str(target) == "-":
        print(text)
        return
    try:
        target.write_text(text + "\n")
    except OSError as error:
        raise UsageError(f"--json {target}: {error.strerror or error}; the raw samples are kept") from error
