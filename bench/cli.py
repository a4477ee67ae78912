"""The command line: finds the commands, turns a user's mistake into one line and an exit code.

A command lives in its own module with ``register(app: typer.Typer) -> None`` and is listed in
:data:`COMMAND_MODULES`; a module that is not there is a command that does not exist yet. Heavy imports belong
inside the command's function, so that ``--help`` answers at once.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

import typer

from bench.escape import visible
from ecp.errors import EcpError

COMMAND_MODULES = (
    "bench.devices_command",
    "bench.latency",
    "bench.versus",
    "bench.memory",
    "bench.cache",
    "bench.profile",
    "bench.accuracy",
    "bench.train",
    "bench.tune",
    "bench.codesign",
    "bench.compare",
    "bench.regress",
    "bench.history",
    "bench.roofline",
    "bench.limits",
    "bench.tune_baselines",
)
INTERRUPTED = 130
ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
# Base of every usage error. typer carries its own copy of click, so the class is taken from typer.
USAGE_ERRORS: Any = typer.BadParameter.__mro__[2]


def make_app() -> typer.Typer:
    """The application with every command whose module is there."""
    app = typer.Typer(
        name="bench",
        help="Measure Vision Transformers on phones, GPUs and this computer.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_root)
    for name in COMMAND_MODULES:
        if importlib.util.find_spec(name) is not None:
            importlib.import_module(name).register(app)
    return app


def _root() -> None:
    """Measure Vision Transformers on phones, GPUs and this computer.

    Exit codes: 0 done; 1 a measurement failed or a regression was found; 2 bad usage or unknown name;
    3 device not reachable; 130 interrupted (--resume finishes).
    """


@contextlib.contextmanager
def ended_in_order() -> Iterator[None]:
    """Inside, whatever asks this process to end is a KeyboardInterrupt: records are closed, phones restored.

    The second one ends it at once. A signal that is ignored from the start (``nohup``) stays ignored.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        raise KeyboardInterrupt(signal.Signals(number).name)

    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {n: signal.getsignal(n) for n in ENDING if signal.getsignal(n) is signal.SIG_DFL}
    for number in before:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit code."""
    command = typer.main.get_command(make_app())
    with ended_in_order():
        return _run(command, arguments)


def _run(command: Any, arguments: list[str] | None) -> int:
    try:
        code = command.main(arguments, prog_name="python -m bench", standalone_mode=False)
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
