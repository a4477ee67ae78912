"""Bundles are untrusted input; sessions check what they are fed."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ecp.codegen.wgmma_gpu import WGMMA
from ecp.compiler import compile_graph
from ecp.errors import BuildError, BundleError, DeviceError, InputError, UsageError
from ecp.kernel_text import check_source
from ecp.plan import Launch, MemArgument
from ecp.runtime.bundle import Bundle
from ecp.runtime.devices import OpenCLDevice, resolve
from ecp.runtime.session import Session
from tests.graphs import vit_block


@pytest.fixture(scope="module")
def cpu() -> OpenCLDevice:
    try:
        return resolve("local-cpu")
    except DeviceError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return compile_graph(vit_block(), "cpu")


@pytest.fixture
def folder(bundle: Bundle, tmp_path: Path) -> Path:
    return bundle.save(tmp_path / "b")


def edit(folder: Path, change: object) -> None:
    plan = json.loads((folder / "plan.json").read_text())
    change(plan)  # type: ignore[operator]
    (folder / "plan.json").write_text(json.dumps(plan))


def test_saved_and_loaded_bundle_computes_the_same_bits(
    bundle: Bundle, folder: Path, cpu: OpenCLDevice
) -> None:
    x = {"x": np.random.default_rng(0).standard_normal((1, 9, 32)).astype(np.float32)}
    with Session(bundle, cpu) as a, Session(Bundle.load(folder), cpu) as b:
        np.testing.assert_array_equal(a.run(x)["y"], b.run(x)["y"])
        np.testing.assert_array_equal(a.run(x)["y"], b.run(x)["y"])
    assert Bundle.load(folder).sha256 == bundle.sha256


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p.update(version=99),
        lambda p: p.update(format="other"),
        lambda p: p["mems"][0].update(offset=-1),
        lambda p: p["mems"][0].update(bytes=1 << 40),
        lambda p: p["mems"][0].update(pool="nowhere"),
        lambda p: p["programs"][0].update(file="../../etc/passwd"),
        lambda p: p["programs"][0].update(file="/etc/passwd"),
        lambda p: p["launches"][0].update(program="none"),
        lambda p: p["launches"][0].update(global_size=[0, 1]),
        lambda p: p["launches"][0]["args"][0].update(mem="none"),
        lambda p: p["inputs"][0].update(shape=[1, 9, 1 << 30]),
        lambda p: p.pop("launches"),
        lambda p: [q.update(bytes=8) for q in p["pools"] if q["file"]],
    ],
)
def test_damaged_plan_is_refused(folder: Path, change: object) -> None:
    edit(folder, change)
    with pytest.raises(BundleError, match="not a usable bundle"):
        Bundle.load(folder)


def test_half_written_bundle_is_refused(folder: Path) -> None:
    text = (folder / "plan.json").read_text()
    (folder / "plan.json").write_text(text[: len(text) // 2])
    with pytest.raises(BundleError):
        Bundle.load(folder)
    (folder / "plan.json").unlink()
    with pytest.raises(BundleError):
        Bundle.load(folder)


@pytest.mark.parametrize(
    ("feeds", "words"),
    [
        ({}, "'x' is missing"),
        ({"x": np.zeros((1, 9, 32), np.float32), "z": np.zeros(1)}, "unknown input 'z'"),
        ({"x": np.zeros((1, 8, 32), np.float32)}, "wants float32"),
        ({"x": np.zeros((1, 9, 32), np.float64)}, "float64"),
    ],
)
def test_wrong_feeds_are_named(bundle: Bundle, cpu: OpenCLDevice, feeds: dict, words: str) -> None:
    with Session(bundle, cpu) as session, pytest.raises(InputError, match=words):
        session.run(feeds)


def test_nan_input_gives_nan_not_a_number(bundle: Bundle, cpu: OpenCLDevice) -> None:
    x = np.zeros((1, 9, 32), np.float32)
    x[0, 3, 5] = np.nan
    with Session(bundle, cpu) as session:
        assert np.isnan(session.run({"x": x})["y"]).any()


def test_build_failure_shows_log_and_file(bundle: Bundle, cpu: OpenCLDevice) -> None:
    broken = Bundle(bundle.plan, {k: v + "\nthis is no C" for k, v in bundle.sources.items()}, bundle.pools)
    with pytest.raises(BuildError, match=r"kernels/p0\.cl did not build \(source kept in .*\.cl\)"):
        Session(broken, cpu)


def test_threads_are_honoured_or_refused(bundle: Bundle, cpu: OpenCLDevice) -> None:
    with Session(bundle, cpu, threads=1) as session:
        assert session.threads == 1
    with pytest.raises(DeviceError, match="threads asked"):
        Session(bundle, cpu, threads=cpu.compute_units + 1)


def test_bundle_of_another_device_class_is_refused(cpu: OpenCLDevice) -> None:
    with pytest.raises(DeviceError, match="compiled for device class 'adreno'"):
        Session(compile_graph(vit_block(), "adreno"), cpu)


def test_unknown_device_name() -> None:
    with pytest.raises(UsageError, match="known: local"):
        resolve("local-tpu")


def test_profile_names_every_launch(bundle: Bundle, cpu: OpenCLDevice) -> None:
    with Session(bundle, cpu) as session:
        session.stage({"x": np.zeros((1, 9, 32), np.float32)})
        times = session.profile(3)
    assert len(times) == bundle.report.launches == 5
    assert all(t.ms > 0 and t.nodes for t in times)
    assert sum(t.flops for t in times) >= 2 * bundle.report.macs


def test_a_launch_that_does_not_fit_its_kernel_is_one_sentence(bundle: Bundle, cpu: OpenCLDevice) -> None:
    plan = copy.deepcopy(bundle.plan)
    plan.launches[0].args.pop()
    with pytest.raises(BundleError, match="its kernel takes"):
        Session(replace(bundle, plan=plan), cpu)
    plan.launches[0].kernel = "absent"
    with pytest.raises(BundleError, match="has no kernel 'absent'"):
        Session(replace(bundle, plan=plan), cpu)


def test_a_pool_that_is_wrongly_called_read_only_harms_nobody(folder: Path, cpu: OpenCLDevice) -> None:
    kernels, weights = folder / "kernels/p0.cl", folder / "weights.bin"
    loaded, before = Bundle.load(folder), weights.read_bytes()
    mem = next(m for m in loaded.plan.mems if m.pool == "weights")
    launch = Launch(
        "p0", "spoil", [MemArgument(mem.name)], global_size=[1], local_size=None, family="x", nodes=["n"]
    )
    loaded.plan.launches = [launch]
    kernels.write_text("__kernel void spoil(__global int* m0) { m0[0] = 7; }\n")
    edit(folder, lambda p: p.update(launches=loaded.plan.to_json()["launches"]))
    with Session(Bundle.load(folder), cpu) as session:
        session.execute()
    assert weights.read_bytes() == before


def test_generated_kernels_are_within_the_rules() -> None:
    for device_class in ("cpu", "nvidia", "adreno", "generic"):
        for text in compile_graph(vit_block(), device_class).sources.values():
            check_source(text, assembler=device_class == "nvidia")
    for device_class in ("adreno", "generic"):
        for text in compile_graph(vit_block(), device_class, "fp16", arithmetic="half").sources.values():
            assert "#error" in text
            check_source(text, assembler=False)
    check_source(WGMMA, assembler=True)
