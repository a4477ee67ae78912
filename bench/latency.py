"""``python -m bench latency``: the main command."""

from __future__ import annotations

import typer

from bench import measure_command

HELP = """Latency: median over fresh processes with a 95 % interval, outputs checked; images per second with --batches.

Example: python -m bench latency --models vit_small,ecp_vit_small --backends ecp,onnxruntime,torch

Example: python -m bench latency --models vit_small --batches 1,4,16
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    measure_command.add(app, "latency", HELP)
