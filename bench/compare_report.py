"""What ``compare`` and ``regress`` share: resolve both sides, measure or load, judge, show, write files."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from bench import devices, regress_output
from bench.compare_judge import CellVerdict, default_pairs, judge, quick_pairs
from bench.compare_run import PAIRED, REPEATS, Measured, are_interleaved, load, measure_sides
from bench.compare_sides import Side, resolve
from bench.console import terminal
from bench.options import RunOptions
from bench.prepare import prepare
from bench.regress_margin import device_margin
from bench.run import make_cases
from bench.runner import Settings, Target, target_of
from bench.table import WIDE
from ecp.errors import UsageError

DEFAULT_MODELS = ("vit_tiny", "ecp_vit_tiny")
DEFAULT_BACKENDS = ("ecp",)
QUICK = Settings(min_samples=10, min_seconds=0.3, warmup_seconds=2.0)
QUICK_REPEATS = 1


def compare_and_show(
    a: str,
    b: str,
    options: RunOptions,
    pairs: int | None,
    margin: float | None,
    outputs: Mapping[str, Path | None],
    *,
    ci: bool = False,
    purpose: str,
) -> int:
    """Run the comparison as asked; the exit code. ``outputs``: files for ``json``, ``junit``, ``markdown``.

    ``ci``: everything that is not shown to be as fast as before fails.
    """
    sides = resolve(a, options.out), resolve(b, options.out)
    if len({s.kind == "run" for s in sides}) != 1:
        raise UsageError(f"'{a}' and '{b}': compare two revisions or two runs, not one of each")
    to_stdout = any(path is not None and str(path) == "-" for path in outputs.values())
    console = terminal(stderr=to_stdout)
    limit, origin = (margin, "--margin") if margin is not None else device_margin(options.device, options.out)
    if sides[0].folder and sides[1].folder:
        measured = load(sides[0].folder, sides[1].folder)
    else:
        measured = _measure(sides, options, pairs, purpose, console)
    interleaved = are_interleaved(measured)
    verdicts = judge(
        measured.a, measured.b, measured.run_a, measured.run_b, margin=limit, interleaved=interleaved
    )
    title = f"{sides[1].label} against {sides[0].label} on {options.device}"
    _show(verdicts, title, limit, origin, measured, console)
    facts = {
        "a": {"side": sides[0].text, "commit": sides[0].commit, "run": measured.folders[0].name},
        "b": {"side": sides[1].text, "commit": sides[1].commit, "run": measured.folders[1].name},
        "interleaved": interleaved,
        "margin": limit,
        "margin_from": origin,
        "interrupted": measured.interrupted,
    }
    regress_output.write(outputs.get("json"), regress_output.as_json(verdicts, facts), "--json")
    regress_output.write(outputs.get("junit"), regress_output.junit(verdicts, title, ci), "--junit")
    regress_output.write(outputs.get("markdown"), regress_output.markdown(verdicts, title), "--markdown")
    if measured.interrupted:
        print("interrupted: judged on the pairs that were complete", file=sys.stderr)
        return 130
    return regress_output.exit_code(verdicts, ci)


def reach(device: str) -> Target:
    """The device, reached, with the disturbance it tolerates; :class:`DeviceError` with what to do otherwise."""
    return target_of(device, devices.require(device))


def _measure(
    sides: tuple[Side, Side], options: RunOptions, pairs: int | None, purpose: str, console: Console
) -> Measured:
    cases = make_cases("latency", options, DEFAULT_MODELS, DEFAULT_BACKENDS)
    target = reach(options.device)
    count = pairs or (quick_pairs if options.quick else default_pairs)(len(cases))
    settings = QUICK if options.quick else PAIRED
    settings = Settings(settings.min_samples, settings.min_seconds, settings.warmup_seconds, options.timeout)
    prepared = {name: prepare(name) for name in sorted({c.model for c in cases})}
    with console.status("") as status:
        return measure_sides(
            sides,
            cases,
            prepared,
            device=options.device,
            target=target,
            pairs=count,
            seed=options.seed,
            out=options.out,
            settings=settings,
            purpose=purpose,
            progress=lambda label, done, total: status.update(f"{label}: pair {done + 1} of {total}"),
            repeats=QUICK_REPEATS if options.quick else REPEATS,
        )


def _show(
    verdicts: list[CellVerdict],
    title: str,
    margin: float,
    origin: str,
    measured: Measured,
    console: Console,
) -> None:
    console.print(regress_output.table(verdicts, title, console.width >= WIDE))
    console.print(regress_output.LEGEND, markup=False, highlight=False, soft_wrap=True)
    for v in verdicts:
        said = "; ".join(filter(None, (v.reason, v.note)))
        if said:
            console.print(f"{v.name}: {v.verdict}: {said}", markup=False, highlight=False, soft_wrap=True)
    console.print(
        f"{regress_output.summary(verdicts)}; margin {margin:.1%} ({origin}); raw samples: "
        f"{measured.folders[0]} and {measured.folders[1]}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
