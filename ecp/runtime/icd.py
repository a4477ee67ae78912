"""Make the OpenCL implementations of this computer visible, including the one that comes from pip.

The Intel CPU runtime on PyPI (``intel-opencl-rt``) needs no system change but ships an ``.icd`` with a
placeholder path and libraries outside the loader's search path. This module preloads the libraries and
points the loader inside pyopencl at a folder of working ``.icd`` files: Intel's and the system's.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from ecp import checked
from ecp.checked import cache_dir

# Load order matters: each needs symbols of the ones before it.
_PRELOAD = ("libintlc.so.5", "libirng.so", "libsvml.so", "libimf.so")
_SYSTEM_VENDORS = Path("/etc/OpenCL/vendors")


def intel_library() -> Path | None:
    """Path of the pip-installed Intel OpenCL runtime, None where it is not installed."""
    path = Path(sys.prefix) / "lib" / "libintelocl.so"
    return path if path.exists() else None


@lru_cache(maxsize=1)
def setup() -> Path | None:
    """Prepare the loader once per process, before pyopencl is imported. Returns the vendors folder."""
    intel = intel_library()
    if intel is None:
        return None
    for name in _PRELOAD:
        library = intel.parent / name
        if library.exists():
            ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    vendors = Path(os.environ.get("OCL_ICD_VENDORS") or _SYSTEM_VENDORS)
    files = _texts(vendors)
    if vendors.parent == cache_dir() / "icd" and vendors.name != _name(files):
        # A folder made here and handed down by a parent process, damaged since.
        files = _texts(_SYSTEM_VENDORS)
    if not any("libintelocl.so" in text for text in files.values()):
        files["ecp-intel.icd"] = f"{intel}\n"
    folder = folder_of(files)
    os.environ["OCL_ICD_VENDORS"] = str(folder)
    # llvmpipe is a third implementation to check results on; Mesa hides it unless asked.
    os.environ.setdefault("RUSTICL_ENABLE", "llvmpipe")
    return folder


def drivers() -> dict[str, str]:
    """Every icd file that the loader is shown: its name and its text, a library. Call :func:`setup` before."""
    return _texts(Path(os.environ.get("OCL_ICD_VENDORS") or _SYSTEM_VENDORS))


def folder_of(files: Mapping[str, str]) -> Path:
    """A folder in the cache that holds exactly these icd files (name -> text); what else it holds is put right."""
    folder = checked.folder(cache_dir() / "icd" / _name(files))
    for stray in folder.glob("*.icd"):
        if stray.name not in files:
            checked.discard(stray)
    for name, text in files.items():
        if not _says(folder / name, text):
            checked.put(folder / name, text.encode())
    return folder


def _name(files: Mapping[str, str]) -> str:
    return hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()[:16]


def _texts(folder: Path) -> dict[str, str]:
    """The icd files of a folder; what is damaged in it says nothing that a loader could use."""
    found = {}
    for path in sorted(folder.glob("*.icd")) if folder.is_dir() else []:
        with suppress(OSError):
            found[path.name] = path.read_text(errors="replace")
    return found


def _says(path: Path, text: str) -> bool:
    try:
        with checked.open_regular(path, links=False) as stream:
            return stream.read() == text.encode()
    except OSError:
        return False
