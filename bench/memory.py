"""``python -m bench memory``: peak memory of the whole process."""

from __future__ import annotations

import typer

from bench import measure_command

HELP = """Peak resident memory of a fresh process that loads and runs one model, and how much of it is above idle.

ecp starts as it does for a user from the second time on, from its cached bundle; --set ecp.cache=false measures a cold
start instead, compiled and built in the measured process.

Example: python -m bench memory --models vit_small,ecp_vit_small --backends ecp,onnxruntime,torch
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    measure_command.add(app, "memory", HELP)
