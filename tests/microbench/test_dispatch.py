"""What a launch costs beyond its work: 2 and 42 launches that do nearly nothing, by Session, by runner, as a chain.

The difference of the two medians over 40 is the price of a launch; what a call costs once drops out of it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ecp.codegen.schedule import Schedule
from ecp.compiler import compile_graph, default_schedule
from ecp.ir.graph import Graph
from ecp.native.build import NoToolchain, runner
from ecp.native.process import RunnerProcess
from ecp.runtime.devices import resolve
from ecp.runtime.session import Session
from tests.graphs import build

FEW, MANY = 2, 42


def steps(count: int) -> Graph:
    """``count`` additions of one to 16 numbers; with fusion off each is a launch."""
    rows = [("Add", [f"v{i}", "one"], f"v{i + 1}", {}) for i in range(count)]
    return build(rows, {"v0": (1, 16)}, {"one": np.ones(1, np.float32)}, [f"v{count}"])


@pytest.mark.parametrize("count", [FEW, MANY])
@pytest.mark.parametrize("how", ["session", "runner", "session-chain", "runner-chain"])
def test_launches(benchmark, tmp_path, how, count):
    device = resolve("local")
    executor, _, chained = how.partition("-")
    row: Schedule = replace(default_schedule(device), chain=bool(chained))
    if chained and not row.cpu:
        pytest.skip("GPUs run launch by launch")
    bundle = compile_graph(steps(count), device.device_class, schedule=row, fuse=False)
    assert bundle.report.launches == count
    bundle.save(tmp_path / "bundle")
    if executor == "runner":
        try:
            runner("host")
        except NoToolchain as error:
            pytest.skip(str(error))
        ready = RunnerProcess(tmp_path / "bundle", device)
    else:
        ready = Session(bundle, device)
    with ready:
        ready.stage({"v0": np.zeros((1, 16), np.float32)})
        ready.execute()
        (y,) = ready.fetch().values()
        assert (y == count).all()
        benchmark.group = f"{executor}, {'one chain' if chained else 'launch by launch'}"
        benchmark.extra_info.update(device="local", launches=count, dispatches=bundle.report.dispatches)
        benchmark(ready.execute)
