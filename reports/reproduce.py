"""``reproduce``: run whatever this machine can of the paper's tables and figures, then build site and summary.

The measuring is done by the harness's own commands as processes, one per step. State is kept in the output folder,
so that a stopped run goes on where it stopped; what is measured is never measured twice.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.names import check_name, split_names
from bench.options import DEFAULT_BLOCKS, QUICK_BLOCKS
from ecp.errors import DeviceError, EcpError, UsageError
from reports import costs, measured
from reports.reproduce_training import trainings

VIT = ("vit_tiny", "vit_small", "vit_base", "ecp_vit_tiny", "ecp_vit_small", "ecp_vit_base")
FIGURE1 = (
    *("swin_tiny", "swin_small", "swin_base", "resnet50", "vgg16", "deit_base", "convit_tiny", "cswin_tiny"),
    *("crossformer_s", "poolformer_s12", "poolformer_s36", "poolformer_m48"),
)
# All in one run: what the figure compares is measured side by side.
LENGTHS = tuple(f"{m}{s}" for s in ("", "@384", "@512") for m in ("vit_tiny", "ecp_vit_tiny"))
LOCAL_BACKENDS = ("ecp", "onnxruntime", "openvino", "torch", "mnn", "mnn-opencl", "tvm", "tvm-opencl", "tnn")
PHONE_BACKENDS = ("ecp-native", "mnn-opencl", "tvm-opencl", "tnn")
# Takes turns with ecp; a framework that clocks itself cannot.
TURNS = ("ecp", "onnxruntime", "openvino")
STATE = "reproduce.json"
# Seconds of a block beyond its inferences: process, import, load, steady state, reference check.
BLOCK_OVERHEAD_S, QUICK_OVERHEAD_S = 9.0, 5.0
ROOFLINE_S = 20.0
# Steps whose command has no --resume: stopped, they start over.
ONE_SHOT = ("ablation", "cache", "roofline")
# Milliseconds per GMAC of a middling framework on a small machine, for models that no record has.
MS_PER_GMAC = 9.0


@dataclass(frozen=True)
class Asked:
    """What the person asked for."""

    device: str = "local"
    out: Path = Path("build/reproduce")
    models: str | None = None
    backends: str | None = None
    steps: str | None = None
    data: Path | None = None
    dataset: str | None = None
    quick: bool = False


@dataclass(frozen=True)
class Step:
    """One command of the harness. ``gives``: which tables and figures need it; ``seconds``: estimate.

    ``folder``: where below the results it writes, for a command that makes no folder of its own.
    """

    name: str
    gives: str
    arguments: tuple[str, ...]
    seconds: float
    resumable: bool = True
    folder: str = ""


def commands() -> dict[str, str]:
    """Commands of the harness that exist here: name -> module."""
    from bench.cli import COMMAND_MODULES

    found = {m.rpartition(".")[2]: m for m in COMMAND_MODULES}
    return {name: m for name, m in found.items() if importlib.util.find_spec(m) is not None}


def plan(asked: Asked, store: measured.Store, have: Callable[[], dict[str, str]] = commands) -> list[Step]:
    """The steps that this device and this checkout allow, in the order in which they run."""
    phone = _is_phone(asked.device)
    backends = tuple(split_names(asked.backends, PHONE_BACKENDS if phone else LOCAL_BACKENDS))
    ours = tuple(b for b in backends if b.startswith("ecp")) or backends[:1]
    chosen = tuple(split_names(asked.models, VIT))
    wide = () if asked.models else FIGURE1
    lengths = () if asked.models or phone else LENGTHS
    turns = tuple(b for b in TURNS if b in backends)
    precision = "fp16" if phone else "fp32"
    rows = [
        ("latency", "latency", "Tables 6 and 7, Figures 1 and 7", chosen, backends),
        ("versus", "versus", "who is faster, by how much", () if phone or len(turns) < 2 else chosen, turns),
        ("memory", "memory", "Table 6", tuple(m for m in chosen if "base" in m) or chosen, ours),
        (
            "profile",
            "profile",
            "Table 1, launches of the roofline",
            _profiled(chosen, asked.models),
            backends,
        ),
        ("roofline", "roofline", "the roofline's measured roof", () if phone else chosen[:1], ("ecp",)),
        ("ablation", "profile", "ablation", ("vit_tiny",) if not asked.models else chosen[:1], ("ecp",)),
        ("cache", "cache", "Table 6", tuple(m for m in chosen if "base" in m) or chosen, ("ecp",)),
        ("figure1", "latency", "Figure 1", wide, ours + tuple(b for b in backends if b == "onnxruntime")),
        ("length", "latency", "latency against sequence length", lengths, ours),
    ]
    there = have()
    steps = []
    for name, command, gives, models, some in rows:
        if command not in there or not models:
            continue
        arguments = [
            command,
            "--device",
            asked.device,
            "--models",
            ",".join(models),
            "--precision",
            precision,
        ]
        arguments += {"ablation": ["--ablate"], "roofline": []}.get(name, ["--backends", ",".join(some)])
        arguments += ["--quick"] if asked.quick and name not in ("cache", "roofline") else []
        repeats = 6 if name == "ablation" else 1
        # The roofline is one process: a microbenchmark of seconds and one profiled model.
        seconds = (
            ROOFLINE_S if name == "roofline" else repeats * _estimate(store, asked, command, models, some)
        )
        steps.append(Step(name, gives, tuple(arguments), seconds, name not in ONE_SHOT))
    if "train" in there:
        steps += _trainings(asked, store)
    if asked.steps:
        known = [s.name for s in steps]
        wanted = [check_name("step", n, known) for n in split_names(asked.steps, ())]
        steps = [s for s in steps if s.name in wanted]
    return steps


def _trainings(asked: Asked, store: measured.Store) -> list[Step]:
    """Tables 2 to 5 of the data set that the person has; nothing without one."""
    if (asked.data is None) != (asked.dataset is None):
        raise UsageError(
            "--data DIR and --dataset NAME belong together: the folder, and which data set is in it"
        )
    if asked.dataset is None:
        return []
    models = tuple(split_names(asked.models, ())) or None
    found = trainings(asked.dataset, str(asked.data), models, asked.quick, store)
    return [
        Step(f"train-{t.model}", "Tables 2 to 5", t.arguments, t.seconds, True, f"{asked.dataset}-{t.model}")
        for t in found
    ]


def _is_phone(device: str) -> bool:
    from bench import devices

    found = devices.get_device(device)
    return getattr(found, "transport", "local") != "local"


def _profiled(chosen: tuple[str, ...], asked: str | None) -> tuple[str, ...]:
    return chosen if asked else ("vit_tiny", "vit_base", "deit_base")


def _estimate(
    store: measured.Store, asked: Asked, command: str, models: tuple[str, ...], backends: tuple[str, ...]
) -> float:
    """Seconds of a step: from recorded blocks of the same model and backend where there are any, else by MACs."""
    blocks = 3 if command == "profile" else QUICK_BLOCKS if asked.quick else DEFAULT_BLOCKS
    total = 0.0
    for model in models:
        cost = costs.of(model, store)
        guess_ms = MS_PER_GMAC * (cost.macs_g if cost else 5.0)
        for backend in backends:
            known = [
                c for c in store.find(model=model, backend=backend, metric="latency", device=asked.device)
            ]
            if known and known[-1].status in ("unsupported", "unavailable"):
                continue
            wall = known[-1].extra.get("block_wall_s") if known else None
            least = (
                (QUICK_OVERHEAD_S + 15 * guess_ms / 1e3)
                if asked.quick
                else BLOCK_OVERHEAD_S + 70 * guess_ms / 1e3
            )
            total += blocks * (float(wall) if wall and not asked.quick else least)
    return total


def duration(seconds: float) -> str:
    """``42 s``, ``7 min``, ``1 h 20 min``, ``12 days``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes > 3 * 24 * 60:
        return f"{round(minutes / 60 / 24)} days"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def run(
    asked: Asked,
    dry_run: bool = False,
    reference: measured.Store | None = None,
    call: Callable[[list[str]], int] | None = None,
    have: Callable[[], dict[str, str]] = commands,
) -> int:
    """Everything; the exit code. ``call`` runs one harness command and gives its exit code (tests replace it)."""
    steps = plan(asked, reference or measured.load(), have)
    if not steps:
        raise UsageError(
            f"nothing to do on {asked.device} with these options; --help shows what can be chosen"
        )
    state = State(asked)
    _announce(steps, state, asked)
    if dry_run:
        return 0
    call = call or _call
    worst = 0
    for step in steps:
        if state.code(step) == 0:
            continue
        code = _run_step(step, state, asked, call)
        if code == 3:
            raise DeviceError(
                f"device {asked.device} is not reachable or in use (see above); "
                f"what was measured is kept in {asked.out}"
            )
        if code in (130, -2):
            raise EcpError("interrupted; the same command goes on where it stopped")
        worst = max(worst, int(code != 0))
    _finish(asked, steps, state)
    return worst


def _run_step(step: Step, state: State, asked: Asked, call: Callable[[list[str]], int]) -> int:
    arguments = [*step.arguments, "--out", str(asked.out / "results" / step.folder)]
    # A step that was started and not finished left a run that its own command can finish.
    resumed = state.code(step) == State.STARTED and step.resumable
    state.note(step, State.STARTED, 0.0)
    print(f"\n== {step.name}: {step.gives} (about {duration(step.seconds)})", file=sys.stderr)
    start = time.monotonic()
    code = call([*arguments, "--resume"] if resumed else arguments)
    if resumed and code == 2:
        code = call(arguments)
    state.note(step, code, time.monotonic() - start)
    return code


def _call(arguments: list[str]) -> int:
    try:
        return subprocess.run([sys.executable, "-m", "bench", *arguments], check=False).returncode
    except KeyboardInterrupt:
        return 130


def _announce(steps: list[Step], state: State, asked: Asked) -> None:
    left = [s for s in steps if state.code(s) != 0]
    print(f"reproduce on {asked.device}: {len(left)} of {len(steps)} steps to run", file=sys.stderr)
    wide = max(len(s.name) for s in steps)
    for step in steps:
        done = "done" if state.code(step) == 0 else f"about {duration(step.seconds)}"
        print(f"  {step.name:{wide}} {done:>14}   {step.gives}", file=sys.stderr)
    total = duration(sum(s.seconds for s in left))
    print(f"  in all about {total}; stop it at any time, the same command goes on", file=sys.stderr)


def _finish(asked: Asked, steps: list[Step], state: State) -> None:
    from reports import report, summary

    store = measured.load(asked.out / "results")
    done = report.write(store, asked.out / "report")
    text = summary.markdown(store, asked.device)
    text += "\n## Steps\n\n" + "\n".join(state.line(s) for s in steps) + "\n"
    (asked.out / "summary.md").write_text(text, encoding="utf-8")
    print(f"\nsite: {(done.site.folder / 'index.html').resolve().as_uri()}", file=sys.stderr)
    print(f"one page: {asked.out / 'summary.md'}", file=sys.stderr)


class State:
    """Which steps are done, in ``reproduce.json`` of the output folder; other options start over."""

    STARTED = -1

    def __init__(self, asked: Asked) -> None:
        self.path = asked.out / STATE
        self.request = {k: str(v) for k, v in asdict(asked).items() if k not in ("out", "steps")}
        self.steps: dict[str, dict[str, Any]] = {}
        if self.path.is_file():
            self._read()

    def _read(self) -> None:
        try:
            data = json.loads(self.path.read_text(encoding="utf-8"))
            if data["request"] == self.request:
                self.steps = dict(data["steps"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise EcpError(f"{self.path} cannot be read ({error}); delete it to start over") from error

    def code(self, step: Step) -> int | None:
        """Exit code of the step's last run with these arguments; STARTED if it did not end; None if never run."""
        found = self.steps.get(step.name)
        return found["code"] if found and found["arguments"] == list(step.arguments) else None

    def note(self, step: Step, code: int, seconds: float) -> None:
        """Write down that a step started or ended."""
        self.steps[step.name] = {
            "arguments": list(step.arguments),
            "code": code,
            "seconds": round(seconds, 1),
        }
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            temporary = self.path.with_suffix(".tmp")
            temporary.write_text(json.dumps({"request": self.request, "steps": self.steps}, indent=1) + "\n")
            temporary.replace(self.path)
        except OSError as error:
            raise UsageError(
                f"cannot write {self.path}: {error.strerror}; choose a writable --out"
            ) from error

    def line(self, step: Step) -> str:
        """One line for the summary: estimated and real time, and how it ended."""
        found = self.steps.get(step.name)
        if found is None:
            return f"- {step.name}: not run"
        ended = "done" if found["code"] == 0 else f"ended with exit code {found['code']}"
        return f"- {step.name}: {ended} in {duration(found['seconds'])} (estimated {duration(step.seconds)})"
