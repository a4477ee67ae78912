"""ECP-ViT reference model and the layout-eliminating OpenCL compiler.

``compile`` turns an ONNX file into a :class:`Bundle`, :class:`Session` runs it. ``import ecp`` imports
neither torch nor pyopencl.
"""

from ecp.compiler import compile_onnx as compile
from ecp.runtime.bundle import Bundle
from ecp.runtime.session import Session

__version__ = "0.1.0"

__all__ = ["Bundle", "Session", "__version__", "compile"]
