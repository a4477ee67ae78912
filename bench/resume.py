"""Finding the run that ``--resume`` continues: one rule for every command that can be interrupted."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.escape import line
from bench.records import RecordError, RunFolder, iter_runs
from ecp.errors import UsageError


def find_interrupted(out: Path, metric: str, request: Mapping[str, Any]) -> tuple[RunFolder, dict[str, Any]]:
    """The newest unfinished run of this metric and request below ``out``, held for writing, and its run.json.

    A run.json that cannot be read is named and passed over. Raises :class:`UsageError` where there is no such run, or
    where another process is measuring it.
    """
    others = []
    for path in reversed(list(iter_runs(out))):
        folder = RunFolder(path)
        try:
            run = folder.read_run()
        except RecordError as error:
            print(line(f"note: {error}; passed over"), file=sys.stderr)
            continue
        if run.get("state") == "complete" or run.get("metric") != metric:
            continue
        if run.get("request") == dict(request):
            if found := folder.create():
                print(line(found), file=sys.stderr)
            return folder, run
        others.append(path.name)
    hint = f"; interrupted runs with other options: {', '.join(others)}" if others else ""
    raise UsageError(f"--resume: no interrupted {metric} run with these options in {out}{hint}")
