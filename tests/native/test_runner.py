"""ecp-run on the OpenCL implementations of this computer: right results, caches, and clear refusals."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from ecp.compiler import compile_graph
from ecp.errors import BundleError, IndexRangeError, InputError
from ecp.native.process import RunnerProcess
from ecp.runtime.bundle import Bundle
from ecp.runtime.session import Session
from tests.codegen.indices import Case
from tests.native import make_bundle


def test_exact_on_every_device(execute, device, tmp_path):
    bundle = make_bundle.write(tmp_path / "bundle")
    code, result, errors = execute(
        bundle, device, "--check", "--warmup", "2", "--iterations", "5", "--profile", "3"
    )
    assert code == 0, errors
    assert result["check"]["outputs"][0]["bit_equal"]
    assert result["device"]["name"].strip() == device.device
    assert result["bundle"]["plan_sha256"] == make_bundle.sha256(bundle / "plan.json")
    assert len(result["warmup_ms"]) == 2 and len(result["samples_ms"]) == 5
    assert result["first_ms"] == result["warmup_ms"][0]
    assert [len(launch["ms"]) for launch in result["profile"]] == [3, 3]
    assert result["profile"][1]["nodes"] == ["/mul", "/bias", "größe"]
    assert len(result["device_ms"]) == 3
    assert result["memory"]["VmHWM"] >= result["memory"]["VmRSS"] > 0


def test_half_image(execute, device, tmp_path):
    code, result, errors = execute(make_bundle.write(tmp_path / "b", half_image=True), device, "--check")
    assert code == 0, errors
    assert result["check"]["outputs"][0]["bit_equal"]


@pytest.mark.parametrize("threads", ["1", "2"])
def test_threads_are_compute_units(execute, any_device, tmp_path, threads):
    if any_device.compute_units < 2:
        pytest.skip("one processor")
    code, result, errors = execute(
        make_bundle.write(tmp_path / "b"), any_device, "--check", "--threads", threads
    )
    assert code == 0, errors
    assert result["threads"] == int(threads) and result["check"]["ok"]


def test_too_many_threads_is_refused(execute, any_device, tmp_path):
    code, _, errors = execute(make_bundle.write(tmp_path / "b"), any_device, "--threads", "9999")
    assert code == 2 and "compute units" in errors


def test_command_buffer(execute, device, tmp_path):
    if "cl_khr_command_buffer" not in device.handle.extensions.split():
        pytest.skip(f"{device.device} has no cl_khr_command_buffer")
    code, result, errors = execute(make_bundle.write(tmp_path / "b"), device, "--check", "--command-buffer")
    assert code == 0, errors
    assert result["command_buffer"] and result["check"]["outputs"][0]["bit_equal"]


def test_wrong_golden_is_a_failure(execute, any_device, tmp_path):
    bundle = make_bundle.write(tmp_path / "bundle")
    wrong = make_bundle.arrays()["y"]
    wrong[3, 5] += 1
    (bundle / "golden/output0.bin").write_bytes(wrong.tobytes())
    code, result, errors = execute(bundle, any_device, "--check")
    assert code == 1 and "differs" in errors
    (output,) = result["check"]["outputs"]
    assert (output["different"], output["max_abs"], output["ok"]) == (1, 1.0, False)


def test_nan_is_never_within_tolerance(execute, any_device, tmp_path):
    bundle = make_bundle.write(tmp_path / "bundle")
    wrong = make_bundle.arrays()["y"]
    wrong[0, 0] = np.nan
    (bundle / "golden/output0.bin").write_bytes(wrong.tobytes())
    code, result, _ = execute(bundle, any_device, "--check", "--tolerance", "1000")
    assert code == 1 and not result["check"]["ok"]


def test_input_and_dump(execute, any_device, tmp_path):
    bundle = make_bundle.write(tmp_path / "bundle")
    data = make_bundle.arrays()
    x = np.roll(data["x"], 1, axis=0)
    name = tmp_path / "in put 'x'=1.bin"
    name.write_bytes(x.tobytes())
    code, _, errors = execute(
        bundle,
        any_device,
        "--input",
        f"x={name}",
        "--dump-output",
        str(tmp_path / "out put"),
        "--iterations",
        "1",
    )
    assert code == 0, errors
    y = np.fromfile(tmp_path / "out put" / "output0.bin", np.float32).reshape(data["y"].shape)
    np.testing.assert_array_equal(y, np.roll(data["y"], 1, axis=0))


def test_kernel_cache_and_its_key(execute, any_device, tmp_path):
    bundle = make_bundle.write(tmp_path / "bundle")
    cache = ("--cache", str(tmp_path / "cache"))
    _, first, _ = execute(bundle, any_device, *cache)
    _, second, _ = execute(bundle, any_device, *cache)
    assert (first["start"]["programs_from_cache"], second["start"]["programs_from_cache"]) == (0, 2)
    plan = make_bundle.plan()
    plan["programs"][0]["options"] = "-cl-std=CL1.2 -DOTHER=1"
    _, third, _ = execute(make_bundle.write(tmp_path / "bundle", changed_plan=plan), any_device, *cache)
    assert third["start"]["programs_from_cache"] == 1


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def become_folder(file: Path) -> None:
    file.unlink()
    (file / "inner").mkdir(parents=True)


def become_link(file: Path) -> None:
    file.rename(file.parent.parent / file.name)
    file.symlink_to(file.parent.parent / file.name)


@pytest.mark.parametrize(
    "damage",
    [
        *(flip, become_folder, become_link, lambda file: file.write_bytes(b"not a kernel")),
        *(lambda file: file.write_bytes(b""), lambda file: file.write_bytes(file.read_bytes()[:-1])),
    ],
)
def test_damaged_cache_is_built_again(execute, any_device, tmp_path, damage):
    bundle = make_bundle.write(tmp_path / "bundle")
    cache = ("--cache", str(tmp_path / "cache"), "--check")
    execute(bundle, any_device, *cache)
    for file in list((tmp_path / "cache").iterdir()):
        damage(file)
    code, result, errors = execute(bundle, any_device, *cache)
    assert code == 0, errors
    assert result["start"]["programs_from_cache"] == 0
    if damage not in (become_folder, become_link):  # for the runner these are no kept binaries at all
        assert [n.endswith("is damaged, built again") for n in result["start"]["notes"]] == [True, True]
    _, again, _ = execute(bundle, any_device, *cache)
    assert again["start"]["programs_from_cache"] == 2


def test_compiler_errors_name_file_and_code(execute, any_device, tmp_path):
    bundle = make_bundle.write(tmp_path / "bundle")
    (bundle / "kernels/mm.cl").write_text("__kernel void mm(__global float *x) { x[0] = nonsense; }")
    code, result, errors = execute(bundle, any_device)
    assert code == 1 and result is None
    assert "kernels/mm.cl" in errors and "CL_BUILD_PROGRAM_FAILURE" in errors and "nonsense" in errors


def test_unknown_kernel_and_argument_count(execute, any_device, tmp_path):
    plan = make_bundle.plan()
    plan["launches"][0]["kernel"] = "absent"
    code, _, errors = execute(make_bundle.write(tmp_path / "a", changed_plan=plan), any_device)
    assert code == 1 and "launch 0 (absent)" in errors and "CL_INVALID_KERNEL_NAME (-46)" in errors
    plan = make_bundle.plan()
    plan["launches"][1]["args"].pop()
    code, _, errors = execute(make_bundle.write(tmp_path / "b", changed_plan=plan), any_device)
    assert code == 2 and "has 4 arguments, its kernel takes 5" in errors


def test_groups_that_wait_for_each_other_must_all_fit(execute, any_device, tmp_path):
    plan = make_bundle.plan()
    plan["launches"][0]["resident_groups"] = any_device.compute_units
    code, _, errors = execute(make_bundle.write(tmp_path / "fits", changed_plan=plan), any_device, "--check")
    assert code == 0, errors
    plan["launches"][0]["resident_groups"] += 1
    code, result, errors = execute(make_bundle.write(tmp_path / "more", changed_plan=plan), any_device)
    assert code == 2 and result is None and "launch 0 (mm) needs" in errors
    assert "compute units at once" in errors


def test_no_substitute_device(execute, tmp_path):
    bundle = make_bundle.write(tmp_path / "bundle")
    code, result, errors = execute(bundle, None, "--device", "Adreno (TM) 9999")
    assert code == 3 and result is None and "Adreno (TM) 9999" in errors
    code, _, errors = execute(bundle, None, "--opencl-lib", str(tmp_path / "libOpenCL.so"))
    assert code == 3 and "libOpenCL.so" in errors


def test_usage_errors(execute, tmp_path):
    bundle = make_bundle.write(tmp_path / "bundle")
    for options, words in (
        (("--iterations", "x"), "--iterations needs a whole number"),
        (("--iterations", "0"), "at least 1"),
        (("--bogus",), "unknown argument"),
        (("--cache",), "--cache needs a value"),
        (("--input", "x"), "two parts"),
        (("second",), "unknown argument"),
    ):
        code, _, errors = execute(bundle, None, *options)
        assert code == 2 and words in errors
    code, _, errors = execute(None, None)
    assert code == 2 and "bundle folder or --list" in errors


def test_unknown_input_name_is_refused(execute, any_device, tmp_path):
    bundle = make_bundle.write(tmp_path / "bundle")
    code, _, errors = execute(bundle, any_device, "--input", f"z={bundle / 'plan.json'}")
    assert code == 2 and 'no input "z"' in errors


def test_list(execute, any_device):
    code, result, errors = execute(None, None, "--list")
    assert code == 0, errors
    assert any_device.device in [d["name"].strip() for d in result["devices"]]


SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
// Stands in for Qualcomm's driver: numbers and layouts of msm_kgsl.h, written out by hand.
static int fd = -1;
static unsigned long long reads;
int open(const char *path, int flags, ...) {
  va_list ap; va_start(ap, flags); int mode = va_arg(ap, int); va_end(ap);
  if (strcmp(path, "/dev/kgsl-3d0") == 0) return fd = memfd_create("kgsl", 0);
  return ((int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open"))(path, flags, mode);
}
int ioctl(int f, unsigned long request, ...) {
  va_list ap; va_start(ap, request); char *arg = va_arg(ap, char *); va_end(ap);
  if (f != fd || fd < 0) return ((int (*)(int, unsigned long, void *))dlsym(RTLD_NEXT, "ioctl"))(f, request, arg);
  unsigned *u = (unsigned *)arg;
  if (request == 0xC0140938u) { if (getenv("KGSL_DENY")) { errno = EPERM; return -1; } return 0; }
  if (request == 0x40100939u) return 0;
  if (request == 0xC018093Bu) {
    unsigned count = u[2]; char *values; memcpy(&values, arg, sizeof values); ++reads;
    for (unsigned i = 0; i < count; ++i) {
      unsigned *v = (unsigned *)(values + 16 * i);
      unsigned long long value = reads * 1000ull * (v[0] + v[1]);
      memcpy(v + 2, &value, 8);
    }
    return 0;
  }
  errno = ENOTTY; return -1;
}
"""


@pytest.fixture(scope="module")
def kgsl_shim(tmp_path_factory):
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("shim")
    (folder / "shim.c").write_text(SHIM)
    library = folder / "shim.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", str(folder / "shim.c"), "-o", str(library), "-ldl"], check=True
    )
    return str(library)


def test_kgsl_counters(execute, any_device, tmp_path, kgsl_shim):
    bundle = make_bundle.write(tmp_path / "bundle")
    options = ("--kgsl-counter", "8:9", "--kgsl-counter", "9:3")
    code, result, errors = execute(bundle, any_device, *options, env={"LD_PRELOAD": kgsl_shim})
    assert code == 0, errors
    assert result["kgsl_counters"] == {
        "reason": None,
        "values": [
            {"group": 8, "countable": 9, "delta": 17000},
            {"group": 9, "countable": 3, "delta": 12000},
        ],
    }


def test_kgsl_refusal_has_a_reason(execute, any_device, tmp_path, kgsl_shim):
    bundle = make_bundle.write(tmp_path / "bundle")
    env = {"LD_PRELOAD": kgsl_shim, "KGSL_DENY": "1"}
    code, result, _ = execute(bundle, any_device, "--kgsl-counter", "8:9", env=env)
    assert code == 0 and "perfcounter" in result["kgsl_counters"]["reason"]
    assert result["kgsl_counters"]["values"] == []
    _, result, _ = execute(bundle, any_device, "--kgsl-counter", "8:9")
    if not Path("/dev/kgsl-3d0").exists():
        assert "/dev/kgsl-3d0" in result["kgsl_counters"]["reason"]


def test_refuses_a_runtime_index_as_the_session_does(execute, any_device, tmp_path):
    case = Case("GatherND", (16, 8, 8), (2, 2), constant=True)
    bundle = compile_graph(case.graph, "cpu")
    bundle.golden = {"inputs": {"i": np.array([[15, -8], [-16, 7]])}, "outputs": {}}
    folder = bundle.save(tmp_path / "bundle")
    bad = np.array([[3, 2**32 + 1], [0, 0]])
    bad.tofile(tmp_path / "bad.bin")
    code, _, errors = execute(folder, any_device, "--input", f"i={tmp_path / 'bad.bin'}")
    with Session(bundle, any_device) as session, pytest.raises(IndexRangeError) as refused:
        session.run({"i": bad})
    assert code == 2 and errors == f"ecp-run: {refused.value}\n"
    assert "node 'pick': index 4294967297 in 'i' is outside [-8, 7]" in errors
    with RunnerProcess(folder, any_device, cache=False) as process:
        for _ in range(2):  # what was noted does not stay
            process.stage({"i": bad})
            with pytest.raises(InputError, match="index 4294967297 in 'i'"):
                process.execute()
            process.stage(bundle.golden["inputs"])
            process.execute()
        want = case.table[[15, 0], [0, 7]]
        assert np.array_equal(process.fetch()["y"], want)


@pytest.mark.parametrize(
    "damage",
    [
        {"mem": "nowhere"},
        {"mem": "b"},
        {"checks": [{"node": "a", "index": "b", "size": 0}]},
        {"checks": [{"node": 1, "index": "b", "size": 2}]},
        {"checks": "none"},
    ],
)
def test_damaged_status_is_refused(execute, any_device, tmp_path, damage):
    folder = make_bundle.write(tmp_path / "bundle")
    plan = json.loads((folder / "plan.json").read_text())
    plan["status"] = {"mem": "h", "checks": [{"node": "a", "index": "b", "size": 2}], **damage}
    (folder / "plan.json").write_text(json.dumps(plan))
    code, _, errors = execute(folder, any_device)
    assert code == 2 and "status" in errors
    with pytest.raises(BundleError):
        Bundle.load(folder)
