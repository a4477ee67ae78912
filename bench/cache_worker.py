"""A worker that waits: prepare and warm up, say ``ready``, execute on ``go``, say ``done``. Counters run between."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from baselines import registry
from baselines.base import RunConfig
from bench import inputs
from bench.protocol import Request

WARMUP_RUNS = 5


def main(runs: int) -> int:
    """One request from standard input; one line of JSON per state on standard output."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(state: str, **more: Any) -> None:
        answers.write(json.dumps({"state": state, **more}) + "\n")
        answers.flush()

    request = Request.from_dict(json.loads(sys.stdin.readline()))
    if request.cpus:
        os.sched_setaffinity(0, request.cpus)
    try:
        backend = registry.get(request.backend)()
        options = {**request.options, "model": request.model, "model_sha256": request.model_sha256}
        config = RunConfig(request.device, request.precision, request.threads, options)
        backend.prepare(Path(request.onnx), config)
        backend.stage(inputs.row(inputs.load(Path(request.inputs)), 0))
        for _ in range(WARMUP_RUNS):
            backend.execute()
    except Exception as error:
        say("failed", reason=f"{type(error).__name__}: {error}")
        return 1
    described = backend.describe()
    say("ready", version=described.version, true_backend=described.true_backend)
    sys.stdin.readline()
    for _ in range(runs):
        backend.execute()
    say("done")
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
