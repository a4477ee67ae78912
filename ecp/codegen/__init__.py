"""From a placed graph to OpenCL C: one kernel family per file.

``schedule`` holds the tunable numbers per device class, ``core`` statements and their printer, ``reader`` the only
code that turns a value and its coordinates into a memory access, ``functions`` the element-wise table.
"""
