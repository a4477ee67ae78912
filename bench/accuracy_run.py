"""The accuracy command: open and check the data set, one worker per model and backend, score, record, show."""

from __future__ import annotations

import contextlib
import datetime
import json
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from baselines import registry
from bench import devices, inputs
from bench.accuracy_facts import normalisation
from bench.accuracy_score import agreement, score
from bench.accuracy_worker import Job, read_predictions
from bench.cells import Cell, make_cell
from bench.console import terminal
from bench.datasets.base import Dataset, Item, subset, write_items
from bench.datasets.registry import open_dataset
from bench.names import check_name
from bench.options import RunOptions
from bench.plan import Case, Step
from bench.prepare import Prepared, prepare
from bench.protocol import Reply
from bench.records import BlockRecord, RunFolder
from bench.regress_output import write
from bench.resume import find_interrupted
from bench.run import exit_code, make_cases
from bench.runner import to_record
from bench.validity_machine import machine
from ecp import children
from ecp.errors import UsageError

# A picture takes seconds at most; preparing a model may take long, and says nothing meanwhile.
SILENCE_S, ENDING_S = 3600.0, 10.0
DEFAULT_MODELS = ("vit_tiny",)
DEFAULT_BACKENDS = ("ecp", "onnxruntime")


@dataclass(frozen=True)
class Evaluation:
    """What is evaluated on what: the options of the command that ``RunOptions`` does not have."""

    dataset: str
    data: Path | None
    split: str | None
    limit: int | None
    allow_incomplete: bool
    reference: str | None

    def reference_for(self, model: str) -> str:
        """The backend to agree with; an ``onnx:`` file has no PyTorch module."""
        return self.reference or ("onnxruntime" if model.startswith("onnx:") else "torch")

    def request(self, options: RunOptions, content: str) -> dict[str, Any]:
        """What must be equal for ``--resume``."""
        kept = {k: v for k, v in asdict(options).items() if k not in ("resume", "json", "out", "timeout")}
        mine = {k: v for k, v in asdict(self).items() if k not in ("data", "allow_incomplete")}
        plain: dict[str, Any] = json.loads(json.dumps({**kept, **mine, "content": content}, default=str))
        return plain


def evaluate(options: RunOptions, what: Evaluation) -> int:
    """The whole command; its exit code."""
    console = terminal(stderr=options.json is not None and str(options.json) == "-")
    cases = make_cases("accuracy", options, DEFAULT_MODELS, DEFAULT_BACKENDS)
    for case in cases:
        check_name("backend", what.reference_for(case.model), registry.names())
    reach = devices.require(options.device)
    with console.status("reading and checking the data set"):
        data = open_dataset(what.dataset, what.data, what.split)
    items = subset(data.items, what.limit, options.seed)
    if len(items) < len(data.items):
        data = replace(
            data, notes=(*data.notes, f"{len(items)} of {len(data.items)} pictures, drawn by seed")
        )
    for text in (*data.problems, *data.notes):
        console.print(f"{data.name}: {text}", markup=False, highlight=False, soft_wrap=True)
    folder = _open(options, what, data)
    write_items(items, folder.folder / "items")
    cells: list[Cell] = []
    interrupted = False
    seq = 0
    with _progress(console) as progress:
        for case in cases:
            prepared = prepare(case.model)
            name = what.reference_for(case.model)
            try:
                runs = _predict_all(case, name, prepared, folder, reach, len(items), progress)
            except KeyboardInterrupt:
                interrupted = True
                break
            for metric, reply in _replies(case, name, runs, data, items, what.allow_incomplete):
                record = to_record(
                    Step(seq, 0, replace(case, metric=metric)), prepared, reply, folder.run_id, 0.0
                )
                folder.append(record)
                cells.append(_cell(replace(case, metric=metric), record))
                seq += 1
    shutil.rmtree(folder.folder / "items", ignore_errors=True)
    folder.close()
    folder.write_run({**folder.read_run(), "state": "interrupted" if interrupted else "complete"})
    _show(cells, data, len(items), console)
    console.print(f"predictions: {folder.folder}", markup=False, highlight=False, soft_wrap=True)
    write(options.json, json.dumps([c.to_dict() for c in cells], indent=1, allow_nan=False) + "\n", "--json")
    if interrupted:
        print("interrupted; the same command with --resume continues where it stopped", file=sys.stderr)
        return 130
    return exit_code(cells)


def _open(options: RunOptions, what: Evaluation, data: Dataset) -> RunFolder:
    request = what.request(options, data.content)
    if options.resume:
        folder, _ = find_interrupted(options.out, "accuracy", request)
        # Scores are made again from the predictions, so that no record of the first attempt stays.
        folder.restart()
        return folder
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    folder = RunFolder(options.out / f"{stamp}-accuracy-{secrets.token_hex(3)}")
    folder.create()
    folder.write_run(
        {
            "schema_version": 1,
            "run_id": folder.run_id,
            "metric": "accuracy",
            "state": "started",
            "request": request,
            "dataset": data.describe(),
            "command": ["bench", *sys.argv[1:]],
            "environment": machine(),
        }
    )
    return folder


@dataclass
class _Run:
    """One backend's predictions, or why there are none."""

    predictions: dict[int, dict[str, Any]]
    version: str = ""
    true_backend: str = ""
    normalisation: dict[str, Any] = field(default_factory=dict)
    failure: Reply | None = None


def _predict_all(
    case: Case,
    reference: str,
    prepared: Prepared,
    folder: RunFolder,
    reach: devices.Reach,
    count: int,
    progress: Progress,
) -> dict[str, _Run]:
    """Predictions of the case's backend and, once per model, of the reference (in fp32)."""
    runs = {"case": _predict(case, prepared, folder, reach, count, progress)}
    if case.backend == reference and case.precision == "fp32":
        return runs
    other = replace(case, backend=reference, precision="fp32", options={})
    runs["reference"] = _predict(other, prepared, folder, reach, count, progress)
    return runs


def _predict(
    case: Case, prepared: Prepared, folder: RunFolder, reach: devices.Reach, count: int, progress: Progress
) -> _Run:
    safe = re.sub(r"[^\w.@-]+", "_", f"{case.model}-{case.backend}-{case.precision}")
    path = folder.folder / f"predictions-{safe}.jsonl"
    job = _job(case, prepared, folder, path, reach)
    task = progress.add_task(case.label, total=count, completed=len(read_predictions(path)))
    run = _Run({}, normalisation={"mean": job.mean, "std": job.std, "source": job.normalised_by})
    with _worker(job) as process:
        for row in _rows(process):
            if row["state"] == "ready":
                run.version, run.true_backend = row["version"], row["true_backend"]
                start = count - row["left"]
                progress.update(task, completed=start)
            elif row["state"] == "progress":
                progress.update(task, completed=start + row["done"])
            elif row["state"] in ("unsupported", "unavailable", "failed"):
                run.failure = Reply(row["state"], row["reason"], run.version)
        code = process.poll()
    run.predictions = read_predictions(path)
    if run.failure is None and code:
        run.failure = Reply("failed", f"the worker ended with status {code}", run.version)
    progress.update(task, completed=len(run.predictions))
    return run


def _rows(process: subprocess.Popen[bytes]) -> Iterator[dict[str, Any]]:
    """What the worker says; its end or its silence closes the list, the latter as a failure."""
    try:
        for line in children.lines(process, SILENCE_S):
            yield json.loads(line)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(ENDING_S)
    except children.TooLate as error:
        yield {"state": "failed", "reason": f"the worker was stopped: {error}"}


@contextmanager
def _worker(job: Job) -> Any:
    process = children.start(
        [sys.executable, "-m", "bench.accuracy_worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        if process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(job.to_json().encode() + b"\n")
                process.stdin.close()
        yield process
    finally:
        children.end(process)


def _job(case: Case, prepared: Prepared, folder: RunFolder, path: Path, reach: devices.Reach) -> Job:
    from bench import models

    feeds = inputs.load(Path(prepared.inputs))
    name, rows = next(iter(feeds.items()))
    shape = tuple(int(d) for d in rows.shape[1:])
    if len(shape) != 4 or shape[1] != 3 or shape[2] != shape[3]:
        raise UsageError(f"{case.model}: input {name} has shape {shape}; accuracy needs square RGB pictures")
    normal = normalisation(Path(prepared.onnx), models.info(case.model))
    return Job(
        backend=case.backend,
        model=case.model,
        model_sha256=prepared.sha256,
        onnx=prepared.onnx,
        items=str(folder.folder / "items"),
        predictions=str(path),
        shape=shape,
        input_name=name,
        mean=normal.mean,
        std=normal.std,
        normalised_by=normal.source,
        device=case.device,
        device_class=reach.device_class,
        precision=case.precision,
        threads=case.threads,
        options={**case.options, **reach.options},
    )


def _replies(
    case: Case,
    reference: str,
    runs: Mapping[str, _Run],
    data: Dataset,
    items: Sequence[Item],
    allow_incomplete: bool,
) -> list[tuple[str, Reply]]:
    """``(metric, reply)`` of one case: its accuracy, and its agreement unless it is the reference itself."""
    run = runs["case"]
    if run.failure is not None:
        return [("accuracy", run.failure)]
    first = score(data, items, run.predictions, allow_incomplete=allow_incomplete, version=run.version)
    found = [("accuracy", first)]
    other = runs.get("reference")
    if other is not None:
        found.append(
            ("agreement", other.failure)
            if other.failure is not None
            else ("agreement", agreement(data, run.predictions, other.predictions, reference, run.version))
        )
    for _, reply in found:
        reply.extra.update({"true_backend": run.true_backend, "options": dict(case.options)})
        reply.extra["normalisation"] = run.normalisation
    return found


def _cell(case: Case, record: BlockRecord) -> Cell:
    cell = make_cell(case, [record], 1)
    interval = record.extra.get("wilson")
    return replace(
        cell, unit="%", ci=interval if cell.value is not None else None, extra={**cell.extra, **record.extra}
    )


def _show(cells: Sequence[Cell], data: Dataset, count: int, console: Console) -> None:
    table = Table(
        header_style="bold", title_justify="left", title=f"{data.name} {data.split}, {count} pictures"
    )
    table.add_column("model", overflow="fold")
    for heading in ("backend", "precision", "metric"):
        table.add_column(heading)
    for heading in ("[%]", "95 % Wilson", "correct"):
        table.add_column(heading, justify="right")
    for c in cells:
        head = [c.model, c.backend, c.precision, c.metric]
        if c.value is None or c.ci is None:
            table.add_row(*head, c.status, "", "")
        else:
            counted = f"{c.extra['correct']} of {c.extra['of']}"
            table.add_row(*head, f"{c.value:.2f}", f"{c.ci[0]:.2f} .. {c.ci[1]:.2f}", counted)
    console.print(table)
    for c in cells:
        if c.status != "measured":
            words = f"{c.model} on {c.backend}: {c.metric} {c.status}: {c.reason}"
            console.print(words, markup=False, highlight=False, soft_wrap=True)


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:32}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("pictures,"),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=console,
    )
