"""Load only the OpenCL drivers that can serve a device name.

The loader inside pyopencl opens every installed driver at its first call, so that a process that wants one CPU
device would carry three compilers. Here the loader is shown only the drivers that the asked device can come from;
a device of another kind that is asked for later in the same process is reached by opening its driver directly,
as the loader would.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from ecp.runtime import icd

# Part of a library's name -> the device names it can serve. A library that is not listed is always loaded.
_SERVES: dict[str, tuple[str, ...]] = {
    "intelocl": ("local-cpu",),
    "pocl": ("local-pocl",),
    "rusticl": ("local-rusticl",),
    "mesaopencl": ("local-gpu",),
    "nvidia": ("local-gpu",),
    "igdrcl": ("local-gpu",),
}
_RENDER_NODES = Path("/dev/dri")


def wanted(kind: str, libraries: Mapping[str, str]) -> dict[str, str]:
    """Those of ``libraries`` (icd file name -> text) that a device of ``kind`` can come from."""
    return {name: text for name, text in libraries.items() if kind in _kinds(text, kind)}


def _kinds(library: str, unknown: str) -> tuple[str, ...]:
    name = library.strip().rsplit("/", 1)[-1].lower()
    served = next((kinds for part, kinds in _SERVES.items() if part in name), (unknown,))
    if "rusticl" in name and os.environ.get("RUSTICL_ENABLE", "llvmpipe") != "llvmpipe":
        served = (*served, "local-gpu")
    # Mesa finds GPUs through render nodes only; without one its library is dead weight.
    if ("mesaopencl" in name or "rusticl" in name) and not _RENDER_NODES.exists():
        served = tuple(k for k in served if k != "local-gpu")
    return served


def platforms(kind: str) -> list[Any]:
    """The pyopencl platforms of the drivers that can serve ``kind``. Raises ImportError without pyopencl."""
    icd.setup()
    import pyopencl as cl

    libraries = wanted(kind, icd.drivers())
    if not libraries:
        # Nothing to show to the loader; where icd files are unknown to us, it knows better.
        return [] if icd.drivers() else cl.get_platforms()
    with _shown(icd.folder_of(libraries)):
        try:
            found = cl.get_platforms()
        except cl.Error:
            found = []
    for library in libraries.values():
        found += [cl.Platform.from_int_ptr(pointer) for pointer in _opened(library.strip())]
    return list({platform.int_ptr: platform for platform in found}.values())


def environment(kind: str) -> dict[str, str]:
    """Variables that show another program's loader only the drivers of ``kind``; empty where all are needed."""
    icd.setup()
    libraries = wanted(kind, icd.drivers()) if kind else {}
    return {"OCL_ICD_VENDORS": str(icd.folder_of(libraries))} if libraries else {}


@contextmanager
def _shown(folder: Path) -> Iterator[None]:
    """The loader reads the variable once, at its first call; children of this process still see everything."""
    before = os.environ.get("OCL_ICD_VENDORS")
    os.environ["OCL_ICD_VENDORS"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["OCL_ICD_VENDORS"]
        else:
            os.environ["OCL_ICD_VENDORS"] = before


@cache
def _opened(library: str) -> tuple[int, ...]:
    """Platform handles of a driver, by the loader's own protocol (cl_khr_icd)."""
    try:
        lookup = ctypes.CDLL(library).clGetExtensionFunctionAddress
    except (OSError, AttributeError):
        return ()  # an icd file whose library is gone: the loader passes it over as well
    lookup.restype, lookup.argtypes = ctypes.c_void_p, [ctypes.c_char_p]
    address = lookup(b"clIcdGetPlatformIDsKHR")
    if not address:
        return ()
    pointers, count = ctypes.POINTER(ctypes.c_void_p), ctypes.c_uint()
    get = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_uint, pointers, ctypes.POINTER(ctypes.c_uint))(address)
    if get(0, None, ctypes.byref(count)) != 0 or not count.value:
        return ()
    handles = (ctypes.c_void_p * count.value)()
    if get(count.value, handles, None) != 0:
        return ()
    return tuple(h for h in handles if h)
