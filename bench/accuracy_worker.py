"""One backend over one data set in a process of its own; predictions go to a file line by line.

``python -m bench.accuracy_worker``: a job on standard input, progress as JSON lines on standard output. A killed
worker loses at most the pictures since its last flush; started again it skips what the file holds.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from baselines import registry
from baselines.base import Backend, RunConfig, Unavailable, Unsupported
from bench.datasets.base import CorruptImage, Item, read_items
from bench.datasets.preprocess import to_input
from ecp.errors import DeviceError, EcpError, UnsupportedOperatorError

FLUSH_SECONDS = 1.0


@dataclass(frozen=True)
class Job:
    """What one worker does. ``items``: a folder of :func:`~bench.datasets.base.write_items`; ``shape``: NCHW."""

    backend: str
    model: str
    model_sha256: str
    onnx: str
    items: str
    predictions: str
    shape: tuple[int, int, int, int]
    input_name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    normalised_by: str = ""
    device: str = "local"
    device_class: str = "cpu"
    precision: str = "fp32"
    threads: int = 2
    options: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))


def read_predictions(path: Path) -> dict[int, dict[str, Any]]:
    """Predictions by item number; a half-written last line is dropped."""
    if not path.is_file():
        return {}
    found = {}
    for line in path.read_bytes().split(b"\n"):
        try:
            row = json.loads(line)
            found[int(row["i"])] = row
        except (ValueError, KeyError, TypeError):
            continue
    return found


def _cut_half_line(path: Path) -> None:
    if path.is_file() and (raw := path.read_bytes()) and not raw.endswith(b"\n"):
        os.truncate(path, raw.rfind(b"\n") + 1)


def _predict(backend: Backend, job: Job, items: list[Item], todo: list[int]) -> Iterator[dict[str, Any]]:
    """One row per picture: ``p`` the predicted class and ``n`` the number of classes, or ``corrupt``."""
    batch, _, size, _ = job.shape
    for start in range(0, len(todo), batch):
        numbers, inputs = [], []
        for i in todo[start : start + batch]:
            try:
                inputs.append(to_input(items[i].picture(), size, job.mean, job.std))
                numbers.append(i)
            except CorruptImage as error:
                yield {"i": i, "corrupt": str(error)[:300]}
        if not inputs:
            continue
        # A fixed batch is filled up with copies; their answers are not read.
        filled = np.stack(inputs + [inputs[-1]] * (batch - len(inputs)))
        outputs = backend.run({job.input_name: filled})
        logits = np.asarray(next(iter(outputs.values())), dtype=np.float64).reshape(batch, -1)
        if not np.isfinite(logits[: len(inputs)]).all():
            raise ArithmeticError(f"NaN or infinity in the output for {items[numbers[0]].name}")
        for i, row in zip(numbers, logits, strict=False):
            yield {"i": i, "p": int(row.argmax()), "n": int(row.size)}


def run(job: Job, say: Any) -> None:
    """Evaluate what is left; ``say`` gets progress."""
    items = read_items(Path(job.items))
    path = Path(job.predictions)
    _cut_half_line(path)
    todo = [i for i in range(len(items)) if i not in read_predictions(path)]
    backend = registry.get(job.backend)()
    options = {**job.options, "model": job.model, "model_sha256": job.model_sha256}
    options |= {"device_class": job.device_class, "torch_module": "bench.models:torch_module"}
    backend.prepare(Path(job.onnx), RunConfig(job.device, job.precision, job.threads, options))
    described = backend.describe()
    say(state="ready", version=described.version, true_backend=described.true_backend, left=len(todo))
    last = time.monotonic()
    with path.open("a") as stream:
        for done, row in enumerate(_predict(backend, job, items, todo), start=1):
            stream.write(json.dumps(row) + "\n")
            if time.monotonic() - last > FLUSH_SECONDS:
                stream.flush()
                last = time.monotonic()
                say(state="progress", done=done)
        stream.flush()
        os.fsync(stream.fileno())
    backend.close()


def main() -> int:
    """Answer one job; whatever the backend raises becomes a status with its own words."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(**row: Any) -> None:
        answers.write(json.dumps(row) + "\n")
        answers.flush()

    data = json.loads(sys.stdin.readline())
    job = Job(**{**data, **{k: tuple(data[k]) for k in ("shape", "mean", "std")}})
    try:
        run(job, say)
        say(state="done")
    except (Unsupported, UnsupportedOperatorError) as error:
        say(state="unsupported", reason=str(error))
    except (Unavailable, DeviceError) as error:
        say(state="unavailable", reason=str(error))
    except (EcpError, Exception) as error:
        say(state="failed", reason=f"{type(error).__name__}: {' '.join(str(error).split())}")
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
