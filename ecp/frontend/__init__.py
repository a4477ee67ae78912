"""ONNX to :class:`ecp.ir.graph.Graph`. Nothing here knows passes, devices or kernels.

:mod:`~ecp.frontend.onnx` drives; :mod:`~ecp.frontend.loading` reads and checks files;
:mod:`~ecp.frontend.builder` emits IR and folds constants; the ``convert_*`` modules hold one small
function per ONNX operator, registered by name.
"""
