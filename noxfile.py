"""Everything a person runs, by name: `nox -l` lists it, `nox -s NAME -- ARGUMENTS` passes arguments on.

All sessions share one virtual environment, `.nox/env`, built by the session `env` on first use and again only
when pyproject.toml changes. Inside an environment that has the extra `all` already, `nox --no-venv -s NAME`
uses that one instead and installs nothing.
"""

from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import nox

nox.needs_version = ">=2025.5"
nox.options.sessions = ["tests"]
nox.options.reuse_existing_virtualenvs = True
# pip and its configuration (mirrors, certificates) rather than whatever else is installed.
nox.options.default_venv_backend = "virtualenv"

ROOT = Path(__file__).parent
OWN: dict[str, Any] = {"venv_backend": "none", "requires": ["env"]}
# A measuring session exists where its code exists: name -> (module, file that must be there, what it does).
COMMANDS = {
    "devices": ("bench", "bench/devices_command.py", "List devices: what is reachable, and why not."),
    "latency": ("bench", "bench/latency.py", "Latency of models x backends: the main command."),
    "versus": ("bench", "bench/versus.py", "Ratios: contenders loaded at once, taking turns."),
    "memory": ("bench", "bench/memory.py", "Peak memory of models x backends."),
    "cache": ("bench", "bench/cache.py", "Cache misses by source."),
    "profile": ("bench", "bench/profile.py", "Time per operator, layout work against computation."),
    "accuracy": ("bench", "bench/accuracy.py", "Top-1 accuracy of every backend on a labelled data set."),
    "train": ("bench", "bench/train.py", "Fine-tune an ECP-ViT."),
    "train-study": ("bench", "bench/train.py", "Many fine-tunings in one process, for the accuracy tables."),
    "tune": ("bench", "bench/tune.py", "Search kernel schedules on this device."),
    "codesign": ("bench", "bench/codesign.py", "Choose core patches and ratio for a device."),
    "compare": ("bench", "bench/compare.py", "Compare two revisions or runs, interleaved."),
    "regress": ("bench", "bench/regress.py", "Gate: has anything become slower?"),
    "history": ("bench", "bench/history.py", "What was measured so far."),
    "limits": ("bench", "bench/limits.py", "Largest image size and batch that each backend runs."),
    "tune-baselines": ("bench", "bench/tune_baselines.py", "Best threads and precision of each backend."),
    "roofline": ("bench", "bench/roofline.py", "Achieved against attainable speed."),
    "audit": ("reports", "reports/audit.py", "Published claims, arithmetic checked."),
    "tables": ("reports", "reports/tables.py", "Every table of the paper, published beside measured."),
    "figures": ("reports", "reports/figures.py", "Every figure of the paper, published beside measured."),
    "site": ("reports", "reports/site.py", "The results as a static web site."),
    "report": ("reports", "reports/cli.py", "Audit, tables, figures, site and a summary in one folder."),
    "readme": ("reports", "reports/readme.py", "Write the measured tables into README.md."),
    "reproduce": (
        "reports",
        "reports/reproduce.py",
        "Measure what this machine can, then rebuild everything.",
    ),
}


def _python(session: nox.Session) -> str:
    """The interpreter of the shared environment; nox's own where nox was told --no-venv."""
    return sys.executable if _no_venv(session) else str(ROOT / ".nox" / "env" / "bin" / "python")


def _no_venv(session: nox.Session) -> bool:
    config = session._runner.global_config
    return bool(config.no_venv) or config.force_venv_backend == "none"


def _module(session: nox.Session, *arguments: str, **environment: str) -> None:
    session.run(_python(session), "-m", *arguments, external=True, env=environment or None)


def _command(session: nox.Session, *arguments: str) -> None:
    """Run a command of this project and end nox with its exit code: 2 and 3 mean something, nox knows only 1.

    Ctrl-C reaches the command as well; nox would kill it after 0.3 s, in the middle of putting things in order.
    """
    line = [_python(session), "-m", *arguments]
    session.log(" ".join(line))
    process = subprocess.Popen(line)
    while True:
        try:
            code = process.wait()
            break
        except KeyboardInterrupt:
            continue
    if code:
        sys.exit(code)


@nox.session(reuse_venv=True, default=False)
def env(session: nox.Session) -> None:
    """Build the shared environment: this project with its extra `all` (several GB, minutes, once)."""
    if _no_venv(session):
        missing = [name for name in ("torch", "onnxruntime", "pyopencl", "typer", "pytest") if not _has(name)]
        if missing:
            session.error(
                f"--no-venv: this environment lacks {', '.join(missing)}; "
                "run pip install -e '.[all]' in it, or drop --no-venv"
            )
        return
    stamp = Path(session.virtualenv.location) / "installed"
    wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes() + str(ROOT).encode()).hexdigest()
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    session.log("installing everything needed to measure and test, once: about 8 GB on disk")
    session.install("-e", ".[all]", silent=False)
    stamp.write_text(wanted)


def _has(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def _add_command(name: str, package: str, summary: str) -> None:
    def command(session: nox.Session) -> None:
        _command(session, package, name, *session.posargs)

    command.__doc__ = summary
    nox.session(name=name, default=False, **OWN)(command)


for _name, (_package, _file, _summary) in COMMANDS.items():
    if (ROOT / _file).exists() or (ROOT / _file).with_suffix("").is_dir():
        _add_command(_name, _package, _summary)


# One worker per processor; a file stays in one worker, so that what its tests share is made once.
PARALLEL = ("-n", "auto", "--dist", "loadfile")


def _pytest(session: nox.Session, *arguments: str, **environment: str) -> None:
    # One thread per library and worker: several pytest workers, each with a thread pool, only fight.
    _module(session, "pytest", *arguments, *session.posargs, OMP_NUM_THREADS="1", **environment)


def _lint(session: nox.Session) -> None:
    _module(session, "ruff", "check", ".")
    _module(session, "ruff", "format", "--check", ".")
    _module(session, "mypy", "ecp", "baselines", "bench", "reports")


@nox.session(**OWN)
def tests(session: nox.Session) -> None:
    """Lint and types, then the test suite without what needs special hardware or minutes."""
    if not session.posargs:
        _lint(session)
    _pytest(session, "-m", "not gpu and not phone and not arm64 and not oclgrind and not slow", *PARALLEL)


@nox.session(default=False, **OWN)
def slow(session: nox.Session) -> None:
    """Tests that take minutes."""
    _pytest(session, "-m", "slow")


@nox.session(default=False, **OWN)
def gpu(session: nox.Session) -> None:
    """Tests that need an OpenCL GPU."""
    _pytest(session, "-m", "gpu")


@nox.session(default=False, **OWN)
def phone(session: nox.Session) -> None:
    """Tests that need a plugged-in phone."""
    _pytest(session, "-m", "phone")


@nox.session(default=False, **OWN)
def arm64(session: nox.Session) -> None:
    """Tests that run the native runner on arm64 under qemu."""
    _pytest(session, "-m", "arm64")


def _add_runner(preset: str) -> None:
    def build(session: nox.Session) -> None:
        _module(session, "ecp.native", preset)

    build.__doc__ = f"Build the native runner for {preset}; prints the binary's path."
    nox.session(name=f"native-{preset}", default=False, **OWN)(build)


for _preset in ("host", "aarch64-linux-gnu", "android-arm64"):
    _add_runner(_preset)


@nox.session(default=False, **OWN)
def oclgrind(session: nox.Session) -> None:
    """Kernel tests under oclgrind (out-of-bounds, races, uninitialised reads)."""
    _pytest(session, "-m", "oclgrind")


@nox.session(default=False, **OWN)
def lint(session: nox.Session) -> None:
    """ruff and mypy over everything."""
    _lint(session)


if (ROOT / "tests" / "microbench").is_dir():

    @nox.session(default=False, **OWN)
    def microbench(session: nox.Session) -> None:
        """Kernel microbenchmarks by pytest-benchmark."""
        _module(session, "pytest", "tests/microbench", "--benchmark-only", *session.posargs)
