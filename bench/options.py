"""Command-line options that every measuring command shares, declared once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from bench.paths import RESULTS

Device = Annotated[str, typer.Option("--device", "-d", help="A name from devices.yaml (see `devices`).")]
Models = Annotated[str | None, typer.Option("--models", help="Models, separated by commas.")]
Backends = Annotated[str | None, typer.Option("--backends", help="Backends, separated by commas.")]
Precision = Annotated[str, typer.Option("--precision", help="fp32 or fp16 (half storage).")]
Threads = Annotated[
    int | None, typer.Option("--threads", min=1, help="CPU threads; default: all, at most 2.")
]
Batches = Annotated[
    str | None,
    typer.Option(
        "--batches", help="Batch sizes, separated by commas: every model at each of them (images/s)."
    ),
]
Quick = Annotated[bool, typer.Option("--quick", help="Three short blocks: a look, not a result.")]
Json = Annotated[
    Path | None, typer.Option("--json", help="Write the cells as JSON to this file; - is standard output.")
]
Out = Annotated[Path, typer.Option("--out", help="Folder of the results.")]
Resume = Annotated[bool, typer.Option("--resume", help="Finish the newest interrupted run of this command.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of the random order of measurements.")]
Blocks = Annotated[int | None, typer.Option("--blocks", min=1, help="Fresh processes per cell (default 10).")]
Timeout = Annotated[float, typer.Option("--timeout", min=1, help="Seconds before one block is given up.")]

Share = Annotated[
    int,
    typer.Option(
        "--share",
        min=1,
        help="versus: models that a block's processes measure one after the other, where loading takes longest.",
    ),
]

Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="Backend setting BACKEND.KEY=VALUE, e.g. ecp.fuse=false; may be repeated."),
]

DEFAULT_OUT = RESULTS
DEFAULT_BLOCKS, QUICK_BLOCKS = 10, 3


@dataclass(frozen=True)
class RunOptions:
    """The shared options after parsing, as the run is asked for; stored in run.json."""

    device: str = "local"
    models: str | None = None
    backends: str | None = None
    precision: str = "fp32"
    threads: int | None = None
    quick: bool = False
    json: Path | None = None
    out: Path = DEFAULT_OUT
    resume: bool = False
    seed: int = 0
    blocks: int | None = None
    timeout: float = 600.0
    settings: tuple[str, ...] = ()
    batches: str | None = None
    share: int = 1

    @property
    def block_count(self) -> int:
        """Blocks per cell after ``--quick`` and ``--blocks``."""
        return self.blocks or (QUICK_BLOCKS if self.quick else DEFAULT_BLOCKS)
