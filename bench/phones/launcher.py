"""One block on a phone: compile here, push what is new, run there, check the outputs here."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from baselines.base import Backend, Description, RunConfig, Unavailable, Unsupported
from bench import accuracy_gate, inputs, measure
from bench.devices import AdbDevice
from bench.phones import counters, gpu_memory, guard, state
from bench.phones.connect import find_phone
from bench.phones.foreign import run_foreign
from bench.phones.runner import PhoneRunner
from bench.protocol import Reply, Request
from bench.stats.steady import steady_start
from bench.transports.base import CommandTimeout, DeviceLost
from ecp.errors import EcpError
from ecp.runtime.bundle import Bundle

OWN_BACKENDS = ("ecp", "ecp-native")
COOL_C, COOL_DEADLINE_S = 38.0, 300.0
MAX_ITERATIONS = 100_000
PROFILE_REPEATS = 5
COUNTED = 20


class PhoneLauncher:
    """A launcher as ``bench.runner`` wants it; a context manager that gives the phone back as it was.

    A block on a lost phone is ``failed`` with the reason, then the phone is waited for; one that stays away
    raises :class:`~ecp.errors.DeviceError`, which stops the run, and ``--resume`` finishes it.
    """

    def __init__(self, name: str, device: AdbDevice):
        self.name, self.device = name, device
        self._stack = contextlib.ExitStack()
        self._transport, self.identity = find_phone(name, device)
        self._stack.callback(self._transport.close)
        self._gpu_sysfs = device.sysfs.gpu if device.sysfs else None
        self._checked: dict[tuple[str, ...], dict[str, Any]] = {}
        self._runner: PhoneRunner | None = None
        self._guard = guard.Report()

    def __enter__(self) -> Self:
        if self.identity.is_android:
            self._guard = self._stack.enter_context(guard.steady(self._transport))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def __call__(self, request: Request, timeout_s: float) -> Reply:
        """One block; see :class:`bench.runner.Launcher`."""
        try:
            return self._block(request, timeout_s)
        except DeviceLost as error:
            reply = Reply("failed", str(error))
            self._transport.reconnect()
            return reply
        except CommandTimeout as error:
            return Reply("failed", f"{error} (raise --timeout)")
        except Unsupported as error:
            return Reply("unsupported", str(error))
        except Unavailable as error:
            return Reply("unavailable", str(error))
        except EcpError as error:
            return Reply("failed", " ".join(str(error).split()))

    def _block(self, request: Request, timeout_s: float) -> Reply:
        if request.metric not in ("latency", "memory", "cache"):
            raise Unsupported(f"metric {request.metric} is not measured on phones yet")
        before, warm = self._before()
        if request.backend in OWN_BACKENDS:
            reply = self._own(request, timeout_s)
        else:
            reply = run_foreign(self._transport, self.identity, request, timeout_s)
        after = state.capture(self._transport, self._gpu_sysfs)
        problem = guard.judge(before, after)
        status, reason = (
            ("unstable", problem) if problem and reply.status == "measured" else (reply.status, reply.reason)
        )
        extra = {
            **reply.extra,
            "phone": {k: v for k, v in vars(self.identity).items()},
            "guard": {"changed": self._guard.changed, "notes": self._guard.notes, "cooling": warm},
        }
        if self.device.emulated:
            extra["note"] = "an emulated processor: this time means nothing"
        return Reply(
            **{
                **reply.to_dict(),
                "status": status,
                "reason": reason,
                "env_before": before,
                "env_after": after,
                "extra": extra,
            }
        )

    def _before(self) -> tuple[dict[str, Any], str]:
        if not self.identity.is_android:
            return state.capture(self._transport, self._gpu_sysfs), "no Android: nothing to wait for"
        return guard.wait_cool(self._transport, self._gpu_sysfs, COOL_C, COOL_DEADLINE_S)

    def _own(self, request: Request, timeout_s: float) -> Reply:
        from baselines.ecp_backend import bundle_folder
        from baselines.ecp_native import compiler_settings

        if self._runner is None:
            self._runner = PhoneRunner(self._transport, self.identity, self.device)
        runner = self._runner
        target = runner.compile_target(self.name)
        config = RunConfig(
            self.name,
            request.precision,
            request.threads,
            {**request.options, "model_sha256": request.model_sha256},
        )
        # Both names run the same program here, so settings under either one are the compiler's.
        folder, origin = bundle_folder(Path(request.onnx), target, compiler_settings(config))
        threads = request.threads if target.device_class == "cpu" else 0
        job = _Job(runner, request, folder, timeout_s, threads)
        feeds = inputs.load(Path(request.inputs))
        document, first_outputs = job.measure(inputs.row(feeds, 0))
        if request.metric == "cache":
            document["counters"] = job.counters(inputs.row(feeds, 0))
        key = (request.backend, request.model, request.precision, document["bundle"]["plan_sha256"])
        if key not in self._checked:
            backend = _Replay(job, inputs.row(feeds, 0), first_outputs)
            self._checked[key] = accuracy_gate.check(
                backend, feeds, Path(request.reference), request.precision, Path(request.onnx)
            )
        return _reply(request, document, self._checked[key], {**job.report, "origin": origin})


class _Job:
    """One bundle on the phone with the inputs of one model."""

    def __init__(self, runner: PhoneRunner, request: Request, bundle: Path, timeout_s: float, threads: int):
        self._runner, self._request, self._timeout_s = runner, request, timeout_s
        self._remote = runner.put(bundle)
        plan = Bundle.load(bundle).plan
        self._ports, self.report = plan.outputs, asdict(plan.report)
        self._threads = ["--threads", str(threads)] if threads else []

    def measure(self, feeds: Mapping[str, np.ndarray]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The timed run: its document and its outputs."""
        request = self._request
        if request.metric == "memory":
            return self._watched(feeds)
        if request.metric != "latency":
            amount = ["--warmup", "0", "--iterations", "5"]
        else:
            seconds = request.warmup_seconds + request.min_seconds
            # The clock starts after the first inference: some drivers compile in it, longer than a block lasts.
            amount = ["--warmup", "1", "--iterations", str(MAX_ITERATIONS), "--max-seconds", f"{seconds:g}"]
            amount += ["--profile", str(PROFILE_REPEATS)]
        return self._run(feeds, amount)

    def _watched(self, feeds: Mapping[str, np.ndarray]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The run whose memory counts, watched from beside; its document has ``gpu_memory``."""
        transport, log = self._runner.transport, f"{self._runner.root}/memory.log"
        seconds = f"{gpu_memory.WATCH_SECONDS:g}"
        amount = ["--warmup", "0", "--iterations", str(MAX_ITERATIONS), "--max-seconds", seconds]
        document, outputs = self._run(feeds, amount, lambda command: gpu_memory.watched(command, log))
        found = gpu_memory.reading(transport.read_text(log), document["memory"].get("kgsl", {}))
        return {**document, "gpu_memory": found}, outputs

    def counters(self, feeds: Mapping[str, np.ndarray]) -> dict[str, dict[str, Any]]:
        """Cache counters of processor and GPU, each over :data:`COUNTED` inferences and the runner's start."""
        runner = self._runner
        amount = ["--warmup", "1", "--iterations", str(COUNTED)]
        with self._given(feeds) as given:
            options = [self._remote, *runner.device_options(), *self._threads, *amount, *given]
            found = counters.simpleperf(runner.transport, runner.command(options), self._timeout_s)
            wanted = counters.gpu_counters(runner.opencl["name"])
            for counter in wanted:
                options += ["--kgsl-counter", counter.option]
            return found | counters.gpu_reading(
                runner.run(options, self._timeout_s) if wanted else {}, wanted
            )

    def outputs(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs of one untimed inference."""
        return self._run(feeds, ["--warmup", "0", "--iterations", "1"])[1]

    @contextlib.contextmanager
    def _given(self, feeds: Mapping[str, np.ndarray]) -> Iterator[list[str]]:
        """Inputs on the phone as options of the runner."""
        with tempfile.TemporaryDirectory(prefix="ecp-inputs-") as folder:
            for index, array in enumerate(feeds.values()):
                np.ascontiguousarray(array).tofile(Path(folder) / f"input{index}.bin")
            pushed = self._runner.put(Path(folder))
        pairs = [["--input", f"{name}={pushed}/input{index}.bin"] for index, name in enumerate(feeds)]
        yield [word for pair in pairs for word in pair]

    def _run(
        self,
        feeds: Mapping[str, np.ndarray],
        amount: list[str],
        watch: Callable[[list[str]], list[str]] = list,
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        runner = self._runner
        with tempfile.TemporaryDirectory(prefix="ecp-phone-") as scratch, self._given(feeds) as given:
            dump = f"{runner.root}/out"
            options = [self._remote, *runner.device_options(), *self._threads, *amount, "--dump-output", dump]
            options += given
            document = runner.run(options, self._timeout_s, watch=watch)
            outputs = {}
            for index, port in enumerate(self._ports):
                local = Path(scratch) / f"output{index}.bin"
                runner.transport.pull(f"{dump}/output{index}.bin", local)
                outputs[port.name] = np.fromfile(local, port.dtype).reshape(port.shape)
        return document, outputs


class _Replay(Backend):
    """What the accuracy gate asks: outputs for feeds. The timed run's own outputs answer for the first input."""

    name = "phone"

    def __init__(self, job: _Job, feeds: Mapping[str, np.ndarray], outputs: dict[str, np.ndarray]):
        self._job, self._feeds, self._outputs = job, feeds, outputs

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs for ``feeds``."""
        if all(np.array_equal(feeds[k], self._feeds[k]) for k in feeds):
            return self._outputs
        return self._job.outputs(feeds)

    def prepare(self, onnx_path: Path, config: RunConfig) -> None:
        """Nothing: the bundle is on the phone already."""

    def describe(self) -> Description:
        """Not used by the gate."""
        return Description("", "")

    def stage(self, feeds: Mapping[str, np.ndarray]) -> None:
        """Nothing: ``run`` does all."""

    def execute(self) -> None:
        """Nothing: ``run`` does all."""

    def fetch(self) -> dict[str, np.ndarray]:
        """The timed run's outputs."""
        return self._outputs


def _reply(
    request: Request, document: dict[str, Any], error: dict[str, Any], compiled: dict[str, Any]
) -> Reply:
    from ecp.native.build import source_hash

    times = [float(v) for v in (*document["warmup_ms"], *document["samples_ms"])]
    device = document["device"]
    extra: dict[str, Any] = {
        "true_backend": f"OpenCL {device['platform']}: {device['name']}",
        "details": {
            **compiled,
            **document["start"],
            "driver": device["driver_version"],
            "opencl": device["opencl"],
        },
        "bundle": document["bundle"],
        "memory": document["memory"],
        "threads": document["threads"],
    }
    status, reason = "measured", ""
    if request.metric == "memory":
        warmup, samples = [], [document["memory"]["VmHWM"] / 2**20]
        extra |= {"source": "rss", "unit": "MiB", "first_ms": times[0], "gpu_memory": document["gpu_memory"]}
    elif request.metric == "cache":
        return _cache_reply(document, error, extra)
    else:
        start = steady_start(times, measure.WINDOW, request.limits.get("steady", measure.TOLERANCE))
        if start is None or len(times) - start < measure.LEAST_SAMPLES:
            status, reason = "unstable", f"no steady state in {len(times)} inferences"
            start = len(times) // 2
        warmup, samples = times[:start], times[start:]
        extra |= {"source": "wall", "unit": "ms", "clock": "steady_clock", "device_ms": document["device_ms"]}
        if min(document["device_ms"], default=0.0) > max(times):
            status, reason = "failed", "device time above wall time: the runner did not wait for the device"
    if not error["ok"]:
        status, reason = "failed", error["reason"]
    return Reply(
        status,
        reason,
        backend_version=f"runner {source_hash()}",
        warmup_ms=warmup,
        samples_ms=samples,
        first_ms=times[0],
        compile_s=document["start"]["total_ms"] / 1e3,
        error=error,
        extra=extra,
    )


def _cache_reply(document: dict[str, Any], error: dict[str, Any], extra: dict[str, Any]) -> Reply:
    """The first of these counters that could be read is the value; all stand in ``extra`` with their reasons."""
    from ecp.native.build import source_hash

    found = document["counters"]
    extra["counters"] = found
    version = f"runner {source_hash()}"
    for name in ("tp-l1-cacheline-misses", "cache-misses", "L1-dcache-load-misses"):
        if name in found and found[name]["value"] is not None:
            extra |= {"source": found[name]["source"], "unit": f"{name} in {COUNTED} inferences"}
            ok = bool(error["ok"])
            status, reason = ("measured", "") if ok else ("failed", error["reason"])
            values = [float(found[name]["value"])]
            return Reply(status, reason, backend_version=version, samples_ms=values, error=error, extra=extra)
    reasons = "; ".join(dict.fromkeys(f"{r['source']}: {r['reason']}" for r in found.values()))
    return Reply("unavailable", reasons, backend_version=version, error=error, extra=extra)
