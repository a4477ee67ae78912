"""A process loads the drivers that the asked device can come from, and no others until they are asked for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ecp.errors import DeviceError
from ecp.runtime import drivers, icd
from ecp.runtime.devices import resolve

FILES = {
    "intel.icd": "/venv/lib/libintelocl.so\n",
    "pocl.icd": "libpocl.so.2.10.0\n",
    "rusticl.icd": "libRusticlOpenCL.so.1\n",
    "mesa.icd": "libMesaOpenCL.so.1\n",
    "nvidia.icd": "libnvidia-opencl.so.1\n",
    "new.icd": "/opt/vendor/libnew.so\n",
}


@pytest.mark.parametrize(
    ("kind", "nodes", "enable", "names"),
    [
        ("local-cpu", True, "llvmpipe", {"intel.icd", "new.icd"}),
        ("local-pocl", True, "llvmpipe", {"pocl.icd", "new.icd"}),
        ("local-rusticl", False, "llvmpipe", {"rusticl.icd", "new.icd"}),
        ("local-gpu", False, "llvmpipe", {"nvidia.icd", "new.icd"}),
        ("local-gpu", True, "llvmpipe", {"nvidia.icd", "mesa.icd", "new.icd"}),
        ("local-gpu", True, "radeonsi", {"nvidia.icd", "mesa.icd", "rusticl.icd", "new.icd"}),
    ],
)
def test_drivers_of_a_name(
    kind: str, nodes: bool, enable: str, names: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drivers, "_RENDER_NODES", tmp_path if nodes else tmp_path / "absent")
    monkeypatch.setenv("RUSTICL_ENABLE", enable)
    assert set(drivers.wanted(kind, FILES)) == names


SCRIPT = """
import json, os, sys
from pathlib import Path
from ecp.runtime.devices import resolve
import numpy as np
out = {}
for name in sys.argv[1:]:
    device = resolve(name)
    maps = Path("/proc/self/maps").read_text()
    import pyopencl as cl
    context = cl.Context([device.handle])
    queue = cl.CommandQueue(context)
    buffer = cl.Buffer(context, cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR, hostbuf=np.arange(4))
    back = np.zeros(4, np.int64)
    cl.enqueue_copy(queue, back, buffer)
    out[name] = [device.kind, [lib for lib in ("libintelocl", "libpocl") if lib in maps], back.tolist()]
out["vendors"] = sorted(p.name for p in Path(os.environ["OCL_ICD_VENDORS"]).glob("*.icd"))
print(json.dumps(out), flush=True)
os._exit(0)
"""


@pytest.mark.parametrize("order", [("local-cpu", "local-pocl"), ("local-pocl", "local-cpu")])
def test_second_device_of_another_driver_works_too(order: tuple[str, str]) -> None:
    icd.setup()
    for library in ("libintelocl", "libpocl"):
        if not any(library in text for text in icd.drivers().values()):
            pytest.skip(f"{library} is not installed")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *order], capture_output=True, text=True, timeout=120, check=True
    )
    out = json.loads(done.stdout.splitlines()[-1])
    library = {"local-cpu": "libintelocl", "local-pocl": "libpocl"}
    first, second = order
    assert out[first] == [first, [library[first]], [0, 1, 2, 3]]
    assert out[second] == [second, ["libintelocl", "libpocl"], [0, 1, 2, 3]]
    assert out["vendors"] == sorted(icd.drivers()), "children of the process must see every driver"


def test_native_runner_is_shown_only_the_drivers_of_its_device() -> None:
    from ecp.native.process import environment

    try:
        device = resolve("local-cpu")
    except DeviceError as error:
        pytest.skip(str(error))
    shown = Path(environment(device)["OCL_ICD_VENDORS"])
    assert {p.name for p in shown.glob("*.icd")} == set(drivers.wanted("local-cpu", icd.drivers()))
    assert environment()["OCL_ICD_VENDORS"] == os.environ["OCL_ICD_VENDORS"]


def test_icd_file_of_a_missing_library_is_passed_over() -> None:
    assert drivers._opened("/nowhere/libabsent.so") == ()
