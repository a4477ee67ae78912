"""The graph IR: data structures, op table, shape inference, verifier, printer and numpy interpreter.

The numpy interpreter is the semantics of the compiler. Nothing here knows OpenCL, devices or ONNX.
"""
