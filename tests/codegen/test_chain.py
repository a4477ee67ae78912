"""All launches of a CPU plan as one: same bits, any number of workers and threads, again and again."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest

from ecp.codegen.chain import FILE, STATE, chain
from ecp.codegen.queue import LINE
from ecp.codegen.schedule import schedule_for
from ecp.compiler import compile_graph, default_schedule
from ecp.ir.graph import Graph
from ecp.plan import IntArgument, MemArgument
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


def test_plan_in_plan_out() -> None:
    bundle = compiled(GRAPHS["vit"](), False)
    plan, sources, pools = copy.deepcopy(bundle.plan), dict(bundle.sources), dict(bundle.pools)
    made, texts, filled = chain(plan, sources, pools, 3)
    assert (plan, sources) == (bundle.plan, bundle.sources) and not plan.groups
    check_plan(made)
    assert made.launches == plan.launches and set(texts) == {*sources, FILE}
    (state,) = [m for m in made.mems if m.name == STATE]
    static = next(p for p in made.pools if p.name == "static")
    assert state.offset + state.bytes == static.bytes == filled["static"].nbytes
    assert state.bytes >= 4 * LINE * (len(plan.launches) * 4 + 1)
    assert not filled["static"][state.offset :].any()
    assert np.array_equal(filled["static"][: state.offset], pools["static"])
    # Each distinct kernel is there once, as a function; places are in units of the pools' alignment.
    assert texts[FILE].count("__kernel") == 1
    assert texts[FILE].count("case ") == len({launch.kernel for launch in plan.launches})


def test_what_needs_groups_or_scalars_stays_as_it_is() -> None:
    bundle = compiled(GRAPHS["vit"](), False)
    given = (bundle.plan, bundle.sources, bundle.pools)
    for word in ("get_local_id(0)", "barrier(CLK_LOCAL_MEM_FENCE)", "__read_only image2d_t"):
        sources = {name: f"{text}\n/* {word} */" for name, text in bundle.sources.items()}
        assert chain(bundle.plan, sources, bundle.pools, 2)[0] is bundle.plan
    plan = copy.deepcopy(bundle.plan)
    plan.launches[0].args.append(IntArgument(1))
    assert chain(plan, *given[1:], 2)[0] is plan
    plan = replace(bundle.plan, launches=bundle.plan.launches[:1])
    assert chain(plan, *given[1:], 2)[0] is plan


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
