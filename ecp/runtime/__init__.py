"""OpenCL devices, the bundle (compiled model on disk) and its executor.

The only package that imports pyopencl. It executes bundles and knows nothing of graphs or codegen.
"""
