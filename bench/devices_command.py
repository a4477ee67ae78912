"""``python -m bench devices``: every entry of devices.yaml, reachable or not."""

from __future__ import annotations

import json as json_module
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from bench import devices as d
from bench import options as o
from bench.console import terminal

Add = Annotated[
    str | None, typer.Option("--add", help="Write an entry of this name from the plugged-in phone.")
]
Serial = Annotated[
    str | None, typer.Option("--serial", help="With --add: which phone, as `adb devices` names it.")
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("devices")(devices)


def devices(json: o.Json = None, add: Add = None, serial: Serial = None) -> None:
    """List every device of devices.yaml: what is reachable now, and what to do about the others.

    Examples: python -m bench devices; python -m bench devices --add my-phone
    """
    if add is not None:
        _add(add, serial)
        return
    rows = [(name, device, d.probe(name, device)) for name, device in d.load_devices().items()]
    if json is not None:
        data = [
            {
                "device": n,
                "title": v.title,
                "transport": v.transport,
                "reachable": r.reachable,
                "detail": r.detail,
            }
            for n, v, r in rows
        ]
        text = json_module.dumps(data, indent=1)
        print(text) if str(json) == "-" else json.write_text(text + "\n")
        return
    table = Table(header_style="bold", show_lines=True)
    for heading in ("device", "what it is", "reachable", "found, or what to do"):
        table.add_column(heading)
    for name, device, reach in rows:
        mark = Text("yes", "green") if reach.reachable else Text("no", "yellow")
        table.add_row(name, device.title, mark, reach.detail)
    terminal().print(table)


def _add(name: str, serial: str | None) -> None:
    import yaml

    from bench.paths import devices_file
    from bench.phones.add import add

    entry = add(name, devices_file(), serial)
    print(
        f"added to {devices_file()}:\n{yaml.safe_dump({name: entry}, sort_keys=False, allow_unicode=True)}",
        end="",
    )
