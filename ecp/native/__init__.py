"""The C++ runner of bundles (``src/``), its build presets, and the Python side that builds and drives it.

Nothing here compiles models. C++ sources, CMake files and the fuzz harness live beside two small modules:
``build`` (sources -> a binary in the user's cache) and ``process`` (a running ``ecp-run`` to talk to).
"""
