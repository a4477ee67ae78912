"""Graph-to-graph passes and the decisions that precede code generation; one pass, one file.

Order: ``canonicalize`` -> ``attention`` -> ``fuse`` -> ``storage`` (layout and placement) -> ``memory``.
A pass is pure: it returns a new graph (or a table about the graph) and never edits its argument.
"""
