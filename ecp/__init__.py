"""ECP-ViT reference model and the layout-eliminating OpenCL compiler.

``compile`` turns an ONNX file into a :class:`Bundle`, :class:`Session` runs it. ``import ecp`` imports
neither torch nor pyopencl.
"""

from ecp import quiet

quiet.apply()  # before anything below can import a framework

from ecp.compiler import compile_onnx as compile  # noqa: E402
from ecp.runtime.bundle import Bundle  # noqa: E402
from ecp.runtime.session import Session  # noqa: E402

__version__ = "0.1.0"

__all__ = ["Bundle", "Session", "__version__", "compile"]
