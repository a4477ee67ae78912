"""All launches of a CPU plan as one: same bits, any number of workers and threads, again and again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from ecp.codegen.chain import FILE, STATE, chain
from ecp.codegen.core.kernel import Kernel, Launch, global_id, group_id, local_id
from ecp.codegen.pools import LINE, Memory
from ecp.codegen.schedule import schedule_for
from ecp.compiler import compile_graph, default_schedule
from ecp.ir.graph import Graph
from ecp.plan import Mem, MemArgument, Pool
from ecp.plan_check import check_plan
from ecp.runtime.bundle import Bundle
from ecp.runtime.devices import OpenCLDevice
from ecp.runtime.session import Session
from tests.codegen.conftest import cases
from tests.codegen.test_conv import chain as two_convolutions
from tests.graphs import vit_block

GRAPHS = {
    "vit": lambda: vit_block(tokens=70, dim=64, heads=2),
    "ecp": lambda: vit_block(tokens=21, dim=64, heads=2, core=12),
    "conv": lambda: two_convolutions(16, 32, 14, 3, residual=True),
}


def compiled(graph: Graph, chained: bool, workers: int = 2, **switches: bool) -> Bundle:
    row = replace(schedule_for("cpu"), chain=chained, workers=workers)
    return compile_graph(graph, "cpu", schedule=row, **switches)


def feeds_of(graph: Graph) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {i: rng.standard_normal(graph.types[i].shape).astype(np.float32) for i in graph.inputs}


def outputs(session: Session, feeds: dict[str, np.ndarray]) -> bytes:
    return b"".join(a.tobytes() for a in session.run(feeds).values())


@pytest.mark.parametrize(("name", "opencl"), cases(list(GRAPHS), {"ecp"}), indirect=["opencl"])
def test_same_bits_as_launch_by_launch(name: str, opencl: OpenCLDevice) -> None:
    if opencl.device_class != "cpu":
        pytest.skip("GPUs run launch by launch")
    graph = GRAPHS[name]()
    feeds = feeds_of(graph)
    one_by_one, whole = compiled(graph, False), compiled(graph, True)
    assert (one_by_one.report.dispatches, whole.report.dispatches) == (one_by_one.report.launches, 1)
    with Session(one_by_one, opencl) as session:
        want = outputs(session, feeds)
    with Session(whole, opencl) as session:
        assert outputs(session, feeds) == want
        # The launches are still there for the profiler, and it leaves the counters as they were.
        assert len(session.profile(2)) == whole.report.launches
        assert outputs(session, feeds) == want


@pytest.mark.parametrize(("workers", "opencl"), cases(["1", "2", "3", "16"], set()), indirect=["opencl"])
def test_any_number_of_workers_again_and_again(workers: str, opencl: OpenCLDevice) -> None:
    if opencl.device_class != "cpu":
        pytest.skip("GPUs run launch by launch")
    graph = GRAPHS["vit"]()
    feeds = feeds_of(graph)
    with Session(compiled(graph, False, int(workers)), opencl) as session:
        want = outputs(session, feeds)
    bundle = compiled(graph, True, int(workers))
    # One thread must get through alone: nobody may wait for a work-item that has not begun.
    for threads in (None, 1):
        with Session(bundle, opencl, threads=threads) as session:
            assert {outputs(session, feeds) for _ in range(60)} == {want}
            state = np.empty(next(m.bytes for m in bundle.plan.mems if m.name == STATE) // 4, np.int32)
            session._cl.enqueue_copy(session._queue, state, session._mems[STATE])
            assert not state.any()


def test_a_chain_is_added_to_the_plan_of_its_launches() -> None:
    alone, made = compiled(GRAPHS["vit"](), False, 3), compiled(GRAPHS["vit"](), True, 3)
    check_plan(made.plan)
    assert made.plan.launches == alone.plan.launches and not alone.plan.groups
    assert made.sources == {**alone.sources, FILE: made.sources[FILE]}
    (state,) = [m for m in made.plan.mems if m.name == STATE]
    static = next(p for p in made.plan.pools if p.name == "static")
    assert state.offset + state.bytes == static.bytes == made.pools["static"].nbytes
    assert state.bytes >= 4 * LINE * (len(made.plan.launches) * 4 + 1)
    assert not made.pools["static"][state.offset :].any()
    assert np.array_equal(made.pools["static"][: state.offset], alone.pools["static"])
    # Each distinct kernel is there once, as a function; places are in units of the pools' alignment.
    text = made.sources[FILE]
    assert text.count("__kernel") == 1
    assert text.count("case ") == len({launch.kernel for launch in alone.plan.launches})


def launch(write: Callable[[Kernel], object], image: bool = False) -> Launch:
    kernel = Kernel("map")
    out = kernel.argument("x", "float32", write=True)
    if image:
        kernel.image("weights")
    kernel.declare("const int", item=global_id())
    write(kernel)
    kernel.emit(f"{out}[item] = 1.0f;")
    return kernel.finish((4,), (1,))


def memory() -> Memory:
    pools = [Pool("arena", 64, None, "rw"), Pool("static", 0, None, "rw")]
    return Memory({n: Mem(n, "arena", 0, 64) for n in ("x", "weights")}, pools, {})


def inside(kernel: Kernel) -> None:
    with kernel.loop("i", 3), kernel.when("i > 0"):
        kernel.barrier()


def test_work_items_that_do_things_together_are_not_chained() -> None:
    plain = launch(lambda k: None)
    joined = chain([plain, plain], memory(), 2)
    assert joined is not None and "const int item = g0;" in joined.source
    assert chain([plain], memory(), 2) is None
    together: list[Callable[[Kernel], object]] = [
        lambda k: k.declare("const int", lid=local_id()),
        lambda k: k.emit("int a = ", group_id(1), ";"),
        lambda k: k.local_array("float", part=4),
        inside,
    ]
    for other in (*map(launch, together), launch(lambda k: None, image=True)):
        kept = memory()
        assert chain([plain, other], kept, 2) is None and not kept.more


def test_a_chain_outside_its_plan_is_refused() -> None:
    plan = compiled(GRAPHS["vit"](), True).plan
    launch = plan.groups[0].launch
    with pytest.raises(ValueError, match="unknown mem"):
        plan.groups[0].launch = replace(launch, args=[MemArgument("nowhere")])
        check_plan(plan)
    with pytest.raises(ValueError, match="unknown program"):
        plan.groups[0].launch = replace(launch, program="p7")
        check_plan(plan)


@pytest.mark.parametrize("opencl", ["local-cpu", "local-pocl"], indirect=True)
def test_known_drivers_on_this_processor_chain_by_default(
    opencl: OpenCLDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert default_schedule(opencl).chain
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert not default_schedule(opencl).chain
    assert not schedule_for("cpu").chain
