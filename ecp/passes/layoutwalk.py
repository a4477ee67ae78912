"""In which order kernels walk over a value: who writes it, who reads it, and along which axis vectors run.

A walk is an array of logical element numbers in the order of access, one row per vector. It says what the kernel
families of ``ecp.codegen`` do on CPU devices, to the accuracy that comparing layouts needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, prod

import numpy as np

from ecp.ir.graph import Graph, Node
from ecp.ir.interp import evaluate
from ecp.passes.rewrite import is_elementwise, is_view

VECTOR = 16  # lanes
PANEL = 64  # columns of a product's register tile
ROWS = 6  # rows of a product's register tile


@dataclass(frozen=True)
class Access:
    """``walk``: logical elements (numbers in row-major order) in order of access, shape [steps, lanes].

    ``repeats``: how often the walk is made, in pieces of ``span`` elements (0: as a whole) that are repeated at once.
    ``own``: the kernel follows the layout, whatever it is (element-wise launches walk in storage order).
    """

    walk: np.ndarray
    repeats: float = 1.0
    span: int = 0
    own: bool = False


def accesses(
    graph: Graph, made: Mapping[str, Node], users: Mapping[str, list[Node]], value: str
) -> list[Access]:
    """Every access to ``value``, by its writer and its readers through views."""
    numbers = np.arange(graph.types[value].size, dtype=np.int32).reshape(graph.types[value].shape)
    return [*_writes(graph, made, value, numbers), *_reads(graph, users, value, numbers)]


def operand_axes(graph: Graph, users: Mapping[str, list[Node]], point: str) -> set[int]:
    """Axes of ``point`` that its readers reduce over: the paper's reduction dimensions, carried up through views."""
    shape = graph.types[point].shape
    found: set[int] = set()
    numbers = np.arange(prod(shape), dtype=np.int32).reshape(shape)
    for operand, node, port in _operands(graph, users, point, numbers):
        axis = _reduced(node, port, operand.ndim)
        if axis is None or operand.shape[axis] < 2:
            continue
        first, second = (np.take(operand, at, axis=axis).reshape(-1)[0] for at in (0, 1))
        moved = np.array(np.unravel_index([first, second], shape))
        found |= {int(i) for i in np.nonzero(moved[:, 0] != moved[:, 1])[0]}
    return found


def _reduced(node: Node, port: int, rank: int) -> int | None:
    if node.op == "MatMul":
        return rank - 1 if port == 0 or rank == 1 else rank - 2
    if node.op in ("Conv", "MaxPool", "AveragePool"):
        return 1
    if node.op in ("Softmax", "LayerNormalization"):
        return rank - 1 if node.op == "LayerNormalization" else int(node.attrs["axis"])
    axes = node.attrs.get("axes")
    return int(max(axes)) if axes else None


def _operands(
    graph: Graph, users: Mapping[str, list[Node]], value: str, numbers: np.ndarray
) -> list[tuple[np.ndarray, Node, int]]:
    """(element numbers in the operand's shape, inner node, port) of every operator that reads ``value``."""
    found = []
    for operand, fused, name in _at_launches(graph, users, value, numbers):
        for node, port, seen in _inside(fused, name, operand):
            found.append((seen, node, port))
    return found


def _at_launches(
    graph: Graph, users: Mapping[str, list[Node]], value: str, numbers: np.ndarray
) -> list[tuple[np.ndarray, Node, str]]:
    found: list[tuple[np.ndarray, Node, str]] = []
    for node in users.get(value, []):
        if node.op == "Fused":
            found.append((numbers, node, value))
        elif node.op != "Concat":
            for out, seen in zip(node.outputs, evaluate(node, {value: numbers})):
                found += _at_launches(graph, users, out, np.asarray(seen))
    return found


def _inside(fused: Node, value: str, numbers: np.ndarray) -> list[tuple[Node, int, np.ndarray]]:
    """Operators of a launch that read ``value``, through the views inside it."""
    found = []
    for node in fused.attrs["body"].nodes:
        for port, name in enumerate(node.inputs):
            if name != value:
                continue
            if is_view(node) and node.op != "Concat":
                (seen,) = evaluate(node, {value: numbers})
                found += _inside(fused, node.output, np.asarray(seen))
            else:
                found.append((node, port, numbers))
    return found


def _reads(graph: Graph, users: Mapping[str, list[Node]], value: str, numbers: np.ndarray) -> list[Access]:
    found = []
    for operand, fused, name in _at_launches(graph, users, value, numbers):
        kind = fused.attrs["kind"]
        for node, port, seen in _inside(fused, name, operand):
            found.append(_read(fused.attrs["body"], kind, node, port, seen))
    return found


def _read(body: Graph, kind: str, node: Node, port: int, seen: np.ndarray) -> Access:
    if node.op == "MatMul" and kind == "attention":
        return _attention_read(body, node, port, seen)
    if node.op == "MatMul" and seen.ndim > 1:
        out = body.types[node.output].shape
        if port == 0:
            return Access(_rows(seen.reshape(-1, seen.shape[-1])))
        flat = seen.reshape(-1, *seen.shape[-2:])
        return Access(_panels(flat), repeats=ceil(out[-2] / ROWS), span=flat.shape[1] * PANEL)
    if node.op == "Conv" and port == 0:
        taps = prod(body.types[node.inputs[1]].shape[2:])
        shrink = prod(body.types[node.output].shape[2:]) / max(1, prod(seen.shape[2:]))
        rows = _rows(np.moveaxis(seen, 1, -1).reshape(-1, seen.shape[1]))
        return Access(rows, repeats=taps * shrink, span=seen.shape[1] * seen.shape[-1] * 3)
    if node.op == "Softmax":
        seen = np.moveaxis(seen, node.attrs["axis"], -1)
    if node.op in ("Softmax", "LayerNormalization"):
        return Access(_rows(seen.reshape(-1, seen.shape[-1])), repeats=3, span=seen.shape[-1])
    if node.op in ("MaxPool", "AveragePool"):
        rows = _rows(np.moveaxis(seen, 1, -1).reshape(-1, seen.shape[1]))
        return Access(rows, repeats=prod(node.attrs["kernel"]), span=seen.shape[1] * seen.shape[-1] * 3)
    if is_elementwise(node) and kind in ("matmul", "conv"):
        return Access(_product_order(seen, kind))
    return Access(_rows(seen.reshape(-1, seen.shape[-1]) if seen.ndim else seen.reshape(1, 1)))


def _attention_read(body: Graph, node: Node, port: int, seen: np.ndarray) -> Access:
    """Queries and keys are read once, in rows of features; values in rows too, once per tile of queries."""
    if port == 0:
        return Access(_rows(seen.reshape(-1, seen.shape[-1])))
    before_softmax = body.nodes.index(node) < next(i for i, n in enumerate(body.nodes) if n.op == "Softmax")
    if before_softmax:  # [..., feature, key]
        return Access(_rows(np.swapaxes(seen, -1, -2).reshape(-1, seen.shape[-2])))
    tiles = ceil(body.types[node.output].shape[-2] / ROWS)
    span = seen.shape[-1] * seen.shape[-2]
    return Access(_rows(seen.reshape(-1, seen.shape[-1])), repeats=tiles, span=span)


def _writes(graph: Graph, made: Mapping[str, Node], value: str, numbers: np.ndarray) -> list[Access]:
    node = made.get(value)
    if node is None:
        return []
    if node.op == "Fused":
        return [_write(node, value, numbers)]
    if node.op == "Concat":
        found, start = [], 0
        for part in node.inputs:
            extent = graph.types[part].shape[node.attrs["axis"]]
            index = [slice(None)] * numbers.ndim
            index[node.attrs["axis"]] = slice(start, start + extent)
            start += extent
            if part not in graph.constants:
                found += _writes(graph, made, part, numbers[tuple(index)])
        return found
    if is_view(node):
        source = graph.types[node.inputs[0]]
        return _writes(graph, made, node.inputs[0], _before(node, source.shape, numbers))
    return []


def _before(node: Node, shape: tuple[int, ...], numbers: np.ndarray) -> np.ndarray:
    """``numbers`` of an operator's output rearranged as its input (bijective operators)."""
    (moved,) = evaluate(node, {node.inputs[0]: np.arange(prod(shape), dtype=np.int32).reshape(shape)})
    out = np.empty(prod(shape), np.int32)
    out[np.asarray(moved).reshape(-1)] = numbers.reshape(-1)
    return out.reshape(shape)


def _write(node: Node, value: str, numbers: np.ndarray) -> Access:
    body: Graph = node.attrs["body"]
    kind, made = node.attrs["kind"], body.producers()
    # Walk back over the epilogue to the anchor, undoing the views in it.
    while (inner := made.get(value)) is not None and (is_view(inner) or is_elementwise(inner)):
        sizes = [
            i for i in inner.inputs if i in body.types and body.types[i].size == numbers.size and i in made
        ]
        if not sizes:
            break
        if is_view(inner):
            numbers = _before(inner, body.types[sizes[0]].shape, numbers)
        value = sizes[0]
    if kind in ("matmul", "conv"):
        return Access(_product_order(numbers, kind))
    if kind == "attention":
        return Access(_rows(numbers.reshape(-1, numbers.shape[-1])))
    flat = numbers.reshape(-1, numbers.shape[-1]) if numbers.ndim else numbers.reshape(1, 1)
    return Access(_rows(flat), own=True)


def _product_order(numbers: np.ndarray, kind: str) -> np.ndarray:
    """Column panels outermost, then rows, then columns in vectors."""
    if kind == "conv" and numbers.ndim >= 3:
        numbers = np.moveaxis(numbers, 1, -1)
    if numbers.ndim < 2:
        return _rows(numbers.reshape(1, -1))
    return _panels(numbers.reshape(1, -1, numbers.shape[-1]))


def _panels(numbers: np.ndarray, width: int = PANEL) -> np.ndarray:
    """[batch, rows, columns] walked by panels of columns: [steps, lanes]."""
    parts = []
    for start in range(0, numbers.shape[-1], width):
        parts.append(
            _rows(numbers[..., start : start + width].reshape(-1, min(width, numbers.shape[-1] - start)))
        )
    lanes = max(p.shape[1] for p in parts)
    return np.concatenate([p if p.shape[1] == lanes else _padded(p, lanes) for p in parts])


def _rows(numbers: np.ndarray) -> np.ndarray:
    """[rows, columns] as [steps, lanes]; the last vector of a row repeats its last element."""
    columns = numbers.shape[1]
    lanes = min(VECTOR, columns)
    if columns % lanes:
        numbers = _padded(numbers, -(-columns // lanes) * lanes)
    return numbers.reshape(-1, lanes)


def _padded(numbers: np.ndarray, width: int) -> np.ndarray:
    return np.pad(numbers, ((0, 0), (0, width - numbers.shape[1])), mode="edge")
