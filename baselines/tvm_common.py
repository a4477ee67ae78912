"""TVM's front end and build settings, shared by the LLVM, the OpenCL and the RPC adapters.

API of TVM 0.27 (Relax). Source: TVM documentation, "End-to-End Optimize Model" and the ``relax.pipeline`` reference.
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from baselines.base import Unavailable, Unsupported
from baselines.common import first_line
from baselines.output import captured_output

# The wheel names no upper bound, but the next release makes meta-schedule crash (ToJSONGraph).
FFI_VERSION = "0.1.14.post0"
INSTALL = f"pip install apache-tvm==0.27.0.post1 apache-tvm-ffi=={FFI_VERSION} cloudpickle"


def import_tvm() -> Any:
    """The ``tvm`` module; :class:`Unavailable` with the command that installs a working pair of wheels."""
    # TVM imports torch where it is installed, though nothing here uses that: its memory is not TVM's.
    hide = "torch" not in sys.modules
    if hide:
        sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        with captured_output():
            import tvm
            import tvm.relax
    except (ImportError, OSError) as exc:
        raise Unavailable(f"tvm does not import ({first_line(exc)}); {INSTALL}") from exc
    finally:
        if hide:
            del sys.modules["torch"]
    return tvm


def tvm_version() -> str:
    """Version of the wheel, or of a source build that has no package metadata."""
    try:
        return version("apache-tvm")
    except PackageNotFoundError:
        return str(import_tvm().__version__)


def import_onnx(onnx_path: Path) -> Any:
    """The model as a Relax module with weights as constants; :class:`Unsupported` in the importer's own words."""
    import onnx

    import_tvm()
    from tvm.relax.frontend.onnx import from_onnx

    model = onnx.load(str(onnx_path))
    try:
        with captured_output():
            return from_onnx(model)
    except Exception as exc:  # the importer raises whatever an operator converter raised
        raise Unsupported(f"tvm ONNX importer: {first_line(exc)}") from exc


def input_names(mod: Any, count: int) -> list[str]:
    """Names of the first ``count`` parameters of ``main``; the importer may have sanitised them."""
    return [p.name_hint if hasattr(p, "name_hint") else str(p) for p in mod["main"].params[:count]]


def llvm_target(threads: int) -> Any:
    """LLVM for this processor: its own triple and CPU name, so that every vector width it has may be used."""
    tvm = import_tvm()
    triple = tvm.get_global_func("tvm.codegen.llvm.GetDefaultTargetTriple")()
    cpu = tvm.get_global_func("tvm.codegen.llvm.GetHostCPUName")()
    return tvm.target.Target({"kind": "llvm", "mtriple": triple, "mcpu": cpu, "num-cores": threads})


def limit_threads(threads: int) -> None:
    """TVM's own pool: the environment for a pool not started yet, the runtime call for one that is."""
    os.environ["TVM_NUM_THREADS"] = str(threads)
    tvm = import_tvm()
    configure = tvm.get_global_func("runtime.config_threadpool", allow_missing=True)
    if configure is not None:
        configure(1, threads)
