"""``python -m bench versus``: who is faster and by how much, on a machine that does not hold still."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console

from bench import measure_command
from bench.console import terminal
from bench.escape import line
from bench.options import RunOptions
from ecp.errors import UsageError

if TYPE_CHECKING:
    from bench.devices import Reach
    from bench.plan import Step
    from bench.records import RunFolder

DEFAULT_MODELS = ("vit_tiny",)
DEFAULT_BACKENDS = ("ecp", "onnxruntime", "openvino")


HELP = """Ratio of the first backend to each other, all loaded at once and taking turns of a tenth of a second.

Every block is a fresh process for each backend of a model. With one backend and several models the models
take turns: the first model against each other. With --share 8 a process goes on to the next of 8 models, fresh
again in the next block. For a time that stands alone use `latency`.

Example: python -m bench versus --models vit_small --backends ecp,openvino,onnxruntime

Example: python -m bench versus --models ecp_vit_tiny,vit_tiny --backends ecp
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    measure_command.add(app, "versus", HELP, measure_versus)


def _progress(console: Console, status: Any) -> Any:
    def show(label: str, done: int, total: int) -> None:
        words = f"{label}: block {done + 1} of {total}"
        if done < total:
            status.update(words) if console.is_terminal else console.print(words, highlight=False)

    return show


def _carry_out(
    folder: RunFolder, plan: list[list[Step]], reach: Reach, options: RunOptions, console: Console
) -> None:
    """The blocks that are not on disk yet; the folder is closed with what became of the run, whatever it was."""
    from bench import run, versus_run
    from bench.records import read_records
    from bench.runner import Settings, target_of

    timing = replace(run.QUICK if options.quick else Settings(), timeout_s=options.timeout)
    earlier = read_records(folder.records_path)
    for finding in earlier.findings:
        print(line(finding), file=sys.stderr)
    state = "stopped"
    try:
        prepared = run.prepare_models({step.case.model for block in plan for step in block}, console)
        run.note_models(folder, prepared, reach)
        target = target_of(options.device, reach)
        with console.status("") as status:
            shown = _progress(console, status)
            versus_run.carry_out(
                plan, prepared, target, timing, folder, earlier.records, share=options.share, progress=shown
            )
        state = "complete"
    except KeyboardInterrupt:
        state = "interrupted"
        raise
    finally:
        run.finish(folder, state)


def measure_versus(options: RunOptions) -> int:
    """Measure as asked; the exit code. Tables go to stderr where JSON goes to stdout."""
    from bench import devices, run, versus_report, versus_run
    from bench.records import read_records
    from bench.runner import device_lock

    console = terminal(stderr=options.json is not None and str(options.json) == "-")
    cases = run.make_cases(versus_run.METRIC, options, DEFAULT_MODELS, DEFAULT_BACKENDS)
    groups = versus_run.make_groups(cases)
    if len(groups[0]) < 2:
        raise UsageError("versus needs two contenders: name two backends, or one backend and two models")
    if devices.get_device(options.device).transport != "local":
        raise UsageError(f"versus runs on this computer only, and {options.device} is elsewhere; use latency")
    reach = devices.require(options.device)
    # The same options give the same plan: an interrupted run is finished with the plan made anew.
    plan = versus_run.make_plan(groups, options.block_count, options.seed)
    console.print(f"device: {options.device}: {reach.detail}", highlight=False, markup=False)
    interrupted = False
    with device_lock(options.device):
        folder, _ = run.open_run(versus_run.METRIC, options, [step for block in plan for step in block])
        try:
            _carry_out(folder, plan, reach, options, console)
        except KeyboardInterrupt:
            interrupted = True
    cells = versus_report.make_cells(groups, read_records(folder.records_path).records, options.block_count)
    versus_report.print_cells(groups, cells, console)
    run.write_json(cells, options.json)
    console.print(f"raw samples: {folder.records_path}", highlight=False, markup=False, soft_wrap=True)
    if interrupted:
        print("interrupted: the same command with --resume finishes it", file=sys.stderr)
        return 130
    return run.exit_code(cells)
