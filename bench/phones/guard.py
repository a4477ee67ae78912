"""Keep a phone steady while it is measured, and leave it as it was: also after an error or Ctrl-C.

Each setting is read before it is changed and put back in reverse order. What was changed is also noted in a
file on the phone first, so that a run whose computer lost its power is repaired by the next one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from bench.escape import brief
from bench.phones import state as phone_state
from bench.transports.base import CommandTimeout, Transport
from ecp.errors import DeviceError

JOURNAL = "/data/local/tmp/ecp-bench-restore.json"
# (name, how to read it, how to write it): settings that need no root. The display stays on, because many phones
# halve their clocks with it off; automatic brightness off, because it changes the heat.
SETTINGS: tuple[tuple[str, tuple[str, ...], tuple[str, ...], str], ...] = (
    (
        "stay_on_while_plugged_in",
        ("settings", "get", "global", "stay_on_while_plugged_in"),
        ("settings", "put", "global", "stay_on_while_plugged_in"),
        "7",
    ),
    (
        "screen_brightness_mode",
        ("settings", "get", "system", "screen_brightness_mode"),
        ("settings", "put", "system", "screen_brightness_mode"),
        "0",
    ),
)
FIXED_PERFORMANCE = ("cmd", "power", "set-fixed-performance-mode-enabled")


@dataclass
class Report:
    """What the guard did, for the record."""

    changed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@contextmanager
def steady(transport: Transport, journal: str = JOURNAL) -> Iterator[Report]:
    """Steady settings inside the block, the old ones after it. Settings that a phone lacks are noted, not needed."""
    report = Report()
    repair(transport, report, journal)
    undo: list[list[str]] = []
    try:
        for name, read, write, value in SETTINGS:
            before = transport.run(read)
            old = before.text.strip()
            if before.code != 0 or not old or " " in old:
                report.notes.append(
                    f"{name}: cannot be read ({brief(before.error_text or old) or before.code})"
                )
                continue
            if old == value:
                continue
            _change(transport, report, undo, journal, name, [*write, value], _old(write, old))
        _fixed_performance(transport, report, undo, journal)
        yield report
    finally:
        _restore(transport, undo, report, journal)


def repair(transport: Transport, report: Report, journal: str = JOURNAL) -> None:
    """Put back what an earlier run could not."""
    left = transport.read_text(journal)
    if not left:
        return
    try:
        undo = [[str(word) for word in command] for command in json.loads(left)]
    except (ValueError, TypeError):
        report.notes.append(f"{journal} on the phone is damaged; settings of an earlier run may remain")
        undo = []
    _restore(transport, undo, report, journal)
    report.notes.append("settings left by an interrupted run were restored first")


def wait_cool(
    transport: Transport,
    gpu_sysfs: str | None,
    limit_c: float,
    deadline_s: float = 300.0,
    poll_s: float = 5.0,
) -> tuple[dict[str, Any], str]:
    """(state, problem): wait until the hottest sensor is at most ``limit_c``. The problem is empty when it is.

    A phone without readable sensors is not waited for: its problem says so, because unknown is not cool.
    """
    end = time.monotonic() + deadline_s
    while True:
        state = phone_state.capture(transport, gpu_sysfs)
        hottest = phone_state.hottest(state)
        if hottest is None:
            return (
                state,
                f"temperature unknown: {state['celsius']['reason'] or 'no sensor of processor, GPU or skin'}",
            )
        if hottest <= limit_c:
            return state, ""
        if time.monotonic() >= end:
            return state, f"{hottest:.1f} C after waiting {deadline_s:g} s for {limit_c:g} C"
        time.sleep(poll_s)


def judge(before: dict[str, Any], after: dict[str, Any]) -> str:
    """Why a block between two states is not valid; empty where nothing speaks against it."""
    for moment, state in (("before", before), ("after", after)):
        status = state["thermal_status"]["value"]
        if status not in (None, "none", "light"):
            return f"thermal status {status} {moment} the measurement"
    throttling = after["gpu_throttling"]["value"]
    if throttling is not None and before["gpu_throttling"]["value"] not in (None, throttling):
        return "the GPU driver changed its throttling during the measurement"
    return ""


def _old(write: tuple[str, ...], old: str) -> list[str]:
    # `settings get` answers "null" for a value that was never set; putting back means deleting it.
    if old == "null":
        return ["settings", "delete", *write[2:]]
    return [*write, old]


def _fixed_performance(transport: Transport, report: Report, undo: list[list[str]], journal: str) -> None:
    # There is no way to ask for the present mode. It is off unless somebody switched it on by hand.
    if transport.run(["sh", "-c", "command -v cmd"]).code != 0:
        report.notes.append("fixed performance mode: no `cmd` on this system")
        return
    _change(
        transport,
        report,
        undo,
        journal,
        "fixed_performance_mode",
        [*FIXED_PERFORMANCE, "true"],
        [*FIXED_PERFORMANCE, "false"],
    )


def _change(
    transport: Transport,
    report: Report,
    undo: list[list[str]],
    journal: str,
    name: str,
    command: list[str],
    back: list[str],
) -> None:
    undo.append(back)
    script = 'printf %s "$2" > "$1"'
    transport.run(["sh", "-c", script, "sh", journal, json.dumps(undo)])
    done = transport.run(command)
    if done.code == 0 and "rror" not in done.error_text:
        report.changed.append(name)
    else:
        undo.pop()
        report.notes.append(f"{name}: refused ({brief(done.error_text or done.text) or done.code})")


def _restore(transport: Transport, undo: list[list[str]], report: Report, journal: str) -> None:
    """Undo in reverse; a phone that is gone keeps its journal, and the next run reads it."""
    try:
        for command in reversed(undo):
            done = transport.run(command)
            if done.code != 0:
                report.notes.append(
                    f"not restored: {' '.join(command)} ({brief(done.error_text) or done.code})"
                )
        transport.run(["rm", "-f", "--", journal])
    except (DeviceError, CommandTimeout) as error:
        report.notes.append(f"settings not restored yet, the next run will: {error}")
