"""What a person sees while blocks run: a bar on a terminal, one line per block in a log file."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bench.plan import Step
from bench.records import BlockRecord


class Shown:
    """Context manager; tell it what is expected, what starts and what is done."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._total = 0
        self._done = 0
        self._progress = Progress(
            TextColumn("{task.description:32}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("blocks,"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> Shown:
        self._progress.start()
        self._task = self._progress.add_task("", total=0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def expect(self, blocks: int) -> None:
        """So many further blocks will come."""
        self._total += blocks
        self._progress.update(self._task, total=self._total)

    def starting(self, step: Step) -> None:
        """This block runs now."""
        self._progress.update(self._task, description=step.case.label)

    def done(self, step: Step, record: BlockRecord) -> None:
        """This block is on disk."""
        self._done += 1
        self._progress.advance(self._task)
        if not self._console.is_terminal:
            seconds = record.extra.get("block_wall_s") or 0.0
            line = f"[{self._done}/{self._total}] {step.case.label}: {record.status} ({seconds:.1f} s)"
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)
