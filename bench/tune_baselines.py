"""``python -m bench tune-baselines``: each backend's best thread count and precision by a small measured search.

So that nobody can say that a baseline was held back: every setting tried is in the records with its own latency.
Each setting is a run of its own; which are done is kept in a file beside them, so that ``--resume`` goes on.
"""

from __future__ import annotations

import datetime
import json as json_module
import os
import secrets
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from bench import options as o
from bench.cells import Cell
from bench.estimate import announce, block_seconds
from bench.names import split_names
from bench.options import RunOptions
from bench.regress_output import write
from bench.table import print_gaps
from ecp.errors import UsageError

DEFAULT_MODELS = ("vit_tiny", "vit_small", "vit_base")
DEFAULT_BACKENDS = ("onnxruntime", "openvino", "torch", "torch-compile", "mnn")
PRECISIONS = ("fp32", "fp16")
INTERRUPTED = 130


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("tune-baselines")(tune_baselines)


def tune_baselines(
    device: o.Device = "local",
    models: o.Models = None,
    backends: o.Backends = None,
    quick: o.Quick = False,
    json: o.Json = None,
    out: o.Out = o.DEFAULT_OUT,
    resume: o.Resume = False,
    seed: o.Seed = 0,
    blocks: o.Blocks = None,
    timeout: o.Timeout = 600.0,
    settings: o.Set = None,
) -> None:
    """Latency of every backend with 1, 2, 4, ... threads in fp32 and fp16: best of each, fastest of all.

    Example: python -m bench tune-baselines --models vit_tiny --backends openvino,onnxruntime --quick
    """
    asked = RunOptions(
        device=device,
        models=models,
        backends=backends,
        quick=quick,
        out=out,
        seed=seed,
        blocks=blocks or 3,
        timeout=timeout,
        settings=tuple(settings or ()),
    )
    from bench.run import console_for, make_cases

    make_cases(
        "latency", asked, DEFAULT_MODELS, DEFAULT_BACKENDS
    )  # unknown names are told before anything starts
    search = Search.find(asked) if resume else Search.new(asked)
    print(_announcement(asked), file=sys.stderr)
    console = console_for(json)
    cells, interrupted = search.carry_out(console, again=resume)
    mark_best(cells)
    _print(cells, console)
    write(json, json_module.dumps(cells, indent=1) + "\n", "--json")
    if interrupted:
        print("interrupted; the same command with --resume finishes the search", file=sys.stderr)
        raise typer.Exit(INTERRUPTED)
    raise typer.Exit(int(all(c["status"] != "measured" for c in cells)))


def _announcement(asked: RunOptions) -> str:
    models = split_names(asked.models, DEFAULT_MODELS)
    backends = split_names(asked.backends, DEFAULT_BACKENDS)
    pairs = [(b, m) for m in models for b in backends] * len(variants(asked))
    return announce(pairs, asked.block_count, asked.timeout, block_seconds(asked.out))


class Search:
    """The settings that are done, in a JSON file in the results folder; a killed search loses one setting."""

    def __init__(self, file: Path, asked: RunOptions, done: dict[str, list[dict[str, Any]]]) -> None:
        self._file, self._asked, self._done = file, asked, done

    @classmethod
    def new(cls, asked: RunOptions) -> Search:
        """A search with nothing done."""
        stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
        return cls(asked.out / f"{stamp}-tune-baselines-{secrets.token_hex(3)}.json", asked, {})

    @classmethod
    def find(cls, asked: RunOptions) -> Search:
        """The newest unfinished search of the same request; :class:`UsageError` where there is none."""
        for file in sorted(asked.out.glob("*-tune-baselines-*.json"), reverse=True):
            found = json_module.loads(file.read_text())
            if found["request"] == _request(asked) and found["state"] != "complete":
                return cls(file, asked, found["done"])
        raise UsageError(f"--resume: no interrupted search with these options in {asked.out}")

    def carry_out(self, console: Console, *, again: bool) -> tuple[list[dict[str, Any]], bool]:
        """(cells of all settings measured, interrupted). ``again``: the first open setting may be half done."""
        for variant in variants(self._asked):
            name = f"{variant.precision}, {variant.threads} threads"
            if name in self._done:
                continue
            self._save("started")
            code, cells = _measure(variant, again, console)
            again = False
            if code == INTERRUPTED:
                self._save("interrupted")
                return self._cells(), True
            self._done[name] = cells
        self._save("complete")
        return self._cells(), False

    def _cells(self) -> list[dict[str, Any]]:
        return [cell for cells in self._done.values() for cell in cells]

    def _save(self, state: str) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        partial = self._file.with_suffix(".part")
        partial.write_text(
            json_module.dumps({"request": _request(self._asked), "state": state, "done": self._done})
        )
        partial.replace(self._file)


def _request(asked: RunOptions) -> dict[str, Any]:
    from bench.run import request_of

    return request_of(asked)


def variants(asked: RunOptions) -> list[RunOptions]:
    """The runs of the search: powers of two up to the processors of this computer, each precision."""
    count = len(os.sched_getaffinity(0))
    threads = [1 << i for i in range(count.bit_length()) if 1 << i <= count]
    if count not in threads:
        threads.append(count)
    return [replace(asked, threads=t, precision=p) for p in PRECISIONS for t in threads]


def _measure(asked: RunOptions, again: bool, console: Console) -> tuple[int, list[dict[str, Any]]]:
    """One setting: (exit code, cells). ``again``: finish an interrupted run of it, where there is one."""
    from bench.run import measure

    cells: list[dict[str, Any]] = []

    def show(found: Sequence[Cell], _: Console) -> None:
        cells.extend(c.to_dict() for c in found)

    def run(options: RunOptions) -> int:
        console.print(f"{options.precision}, {options.threads} threads", highlight=False, markup=False)
        return measure("latency", options, DEFAULT_MODELS, DEFAULT_BACKENDS, console=console, show=show)

    try:
        code = run(replace(asked, resume=again))
    except UsageError:
        if not again:
            raise
        code = run(asked)
    for cell in cells:
        cell["extra"]["threads"] = asked.threads
    return code, cells


def mark_best(cells: Sequence[dict[str, Any]]) -> None:
    """``extra["best"]``: fastest measured setting of its device, backend, model and precision; ``"fastest"``: of all.

    Frameworks are compared in one precision, so that ``best`` is what a comparison uses.
    """
    for name, keys in (
        ("best", ("device", "backend", "model", "precision")),
        ("fastest", ("device", "backend", "model")),
    ):
        least: dict[tuple[str, ...], dict[str, Any]] = {}
        for cell in cells:
            cell["extra"][name] = False
            key = tuple(cell[k] for k in keys)
            if cell["value"] is not None and (key not in least or cell["value"] < least[key]["value"]):
                least[key] = cell
        for cell in least.values():
            cell["extra"][name] = True


def _print(cells: Sequence[dict[str, Any]], console: Console) -> None:
    table = Table(
        title="settings tried: best of a precision, fastest of all",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for heading in ("model", "backend", "precision", "threads", "ms", ""):
        table.add_column(heading, no_wrap=True)
    for cell in sorted(
        cells, key=lambda c: (c["model"], c["backend"], c["precision"], c["extra"]["threads"])
    ):
        value = f"{cell['value']:.2f}" if cell["value"] is not None else cell["status"]
        best = "fastest" if cell["extra"]["fastest"] else "best" if cell["extra"]["best"] else ""
        table.add_row(
            cell["model"], cell["backend"], cell["precision"], str(cell["extra"]["threads"]), value, best
        )
    console.print(table)
    # The same gap stands once, not once per number of threads.
    gaps = {(c["model"], c["backend"], c["status"], c["reason"]): Cell(**c) for c in cells}
    print_gaps(list(gaps.values()), console)
