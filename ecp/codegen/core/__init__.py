"""What a kernel is made of: statements, the builder that collects them, and the one printer of OpenCL C.

Nothing here knows an operator, a schedule or a device; nothing outside prints a kernel.
"""
