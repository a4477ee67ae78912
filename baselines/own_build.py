"""Programs of a framework that the user built: found by an environment variable, run with a limit, never trusted.

The programs of MNN and TNN exit with status 0 after many failures, so an exit status alone proves nothing: each
adapter also looks for what only a successful run prints.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from baselines.base import RunConfig, Unavailable, Unsupported
from baselines.common import opencl_selector
from ecp import children

TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Times:
    """What a program printed about its own inferences, in ms."""

    mean: float
    least: float
    most: float


def find_program(variable: str, name: str, how: str) -> Path:
    """The newest ``name`` below the folder in ``variable``; :class:`Unavailable` with the steps in ``how``."""
    home = os.environ.get(variable)
    if not home:
        raise Unavailable(f"{variable} is not set; {how}")
    if not Path(home).is_dir():
        raise Unavailable(f"{variable}={home} is not a folder; {how}")
    found = [p for p in Path(home).rglob(name) if p.is_file() and os.access(p, os.X_OK)]
    if not found:
        raise Unavailable(f"{variable}={home} holds no executable {name}; {how}")
    return max(found, key=lambda p: p.stat().st_mtime)


def run_program(
    program: Path,
    arguments: Sequence[str],
    folder: Path,
    extra: Mapping[str, str],
    timeout_s: float = TIMEOUT_S,
) -> str:
    """Everything the program printed. Its own folder and its neighbours' libraries are on the library path."""
    libraries = {str(p.parent) for p in program.parent.rglob("lib*.so")} | {str(program.parent)}
    path = os.pathsep.join([*sorted(libraries), os.environ.get("LD_LIBRARY_PATH", "")])
    try:
        done = children.run(
            [program, *arguments],
            cwd=folder,
            env=os.environ | {"LD_LIBRARY_PATH": path} | dict(extra),
            stderr_to_stdout=True,
            timeout_s=timeout_s,
        )
    except children.TooLate as exc:
        raise Unsupported(f"{program.name} was not done after {timeout_s:g} s") from exc
    except children.TooMuch as exc:
        raise Unsupported(f"{program.name} was stopped: {exc}") from exc
    except OSError as exc:
        raise Unavailable(f"{program} does not start: {exc.strerror} (built for another machine?)") from exc
    text = done.text
    if done.returncode != 0:
        raise Unsupported(f"{program.name} ended with status {done.returncode}: {complaint(text)}")
    return text


def complaint(text: str) -> str:
    """The program's own line about what went wrong: the first that names an error, else the last line."""
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    pattern = re.compile(r"error|not support|fail|can't|cannot|invalid|unsupported", re.IGNORECASE)
    told = [line for line in lines if pattern.search(line)]
    return (told or lines[-1:] or ["it printed nothing"])[0][:300]


def write_values(path: Path, values: np.ndarray) -> None:
    """One number per line, enough digits that float32 survives."""
    np.savetxt(path, values.reshape(-1), fmt="%.9g")


def read_values(path: Path, shape: tuple[int, ...], skip_lines: int = 0) -> np.ndarray:
    """The last ``prod(shape)`` numbers of a text file as float32; :class:`Unsupported` where there are fewer."""
    if not path.is_file():
        raise Unsupported(f"{path.name} was not written: the program stopped before its output")
    text = "\n".join(path.read_text().splitlines()[skip_lines:])
    values = np.array(text.split(), dtype=np.float64)
    count = int(np.prod(shape))
    if values.size < count:
        raise Unsupported(f"{path.name} holds {values.size} values, the model has {count}")
    return values[-count:].astype(np.float32).reshape(shape)


def require_this_computer(config: RunConfig, name: str) -> None:
    """Phones have a launcher of their own in the harness; here a build runs on this computer."""
    if not opencl_selector(config).startswith("local"):
        raise Unsupported(f"{name}: device {config.device!r} is not this computer")
