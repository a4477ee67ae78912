"""The large tensors of an ONNX file, left where they lie: found in its wire format, read through a mapping.

Parsing a model with its weights makes a copy of them, and reading them out of it another. Here the file is split
instead: a small model without the bytes of large initializers, and a view of the mapped file for each of them.
A file that is not plainly what exporters write is not split; then the whole is parsed.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

import numpy as np

# Field numbers of onnx.proto, and wire types of protobuf.
_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# Smaller tensors are cheaper to parse than to map.
LEAST = 1 << 16


class Odd(Exception):
    """Not the plain form that exporters write."""


def split(path: Path) -> tuple[bytes, dict[int, np.ndarray]] | None:
    """(model without large raw data, bytes by index of the initializer); None where the file is not plain.

    The arrays are read-only views of a private mapping, which lives as long as they do. The caller must not
    outlive the file's content: a file that is cut short meanwhile takes the process with it.
    """
    if not path.is_file():
        return None
    try:
        with path.open("rb") as stream:
            data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):
        return None
    try:
        return _split(data)
    except Odd:
        return None


def _split(data: mmap.mmap) -> tuple[bytes, dict[int, np.ndarray]]:
    kept, graphs = [], []
    for number, kind, start, body, end in fields(data, 0, len(data)):
        if number == _GRAPH:
            graphs.append((kind, body, end))
            kept.append(b"")
        else:
            kept.append(data[start:end])
    if len(graphs) != 1 or graphs[0][0] != _BYTES:
        raise Odd
    small, raw = _graph(data, *graphs[0][1:])
    kept[kept.index(b"")] = _field(_GRAPH, small)
    return b"".join(kept), raw


def _graph(data: mmap.mmap, begin: int, stop: int) -> tuple[bytes, dict[int, np.ndarray]]:
    parts: list[bytes] = []
    raw: dict[int, np.ndarray] = {}
    index = 0
    for number, kind, start, body, end in fields(data, begin, stop):
        if number != _INITIALIZER or kind != _BYTES:
            parts.append(data[start:end])
            continue
        if end - body >= LEAST:
            small, found = _tensor(data, body, end)
            parts.append(_field(_INITIALIZER, small))
            if found is not None:
                raw[index] = found
        else:
            parts.append(data[start:end])
        index += 1
    return b"".join(parts), raw


def _tensor(data: mmap.mmap, begin: int, stop: int) -> tuple[bytes, np.ndarray | None]:
    parts: list[bytes] = []
    raw = None
    for number, kind, start, body, end in fields(data, begin, stop):
        if number == _RAW_DATA and kind == _BYTES:
            if raw is not None:
                raise Odd
            raw = np.frombuffer(data, np.uint8, end - body, body)
        else:
            parts.append(data[start:end])
    return b"".join(parts), raw


def fields(data: mmap.mmap, at: int, stop: int) -> Iterator[tuple[int, int, int, int, int]]:
    """(field number, wire type, start, start of the content, end) of every field of one message."""
    while at < stop:
        start = at
        tag, at = _varint(data, at, stop)
        number, kind = tag >> 3, tag & 7
        body = at
        if kind == _VARINT:
            _, at = _varint(data, at, stop)
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
        elif kind == _BYTES:
            size, body = _varint(data, at, stop)
            at = body + size
        else:
            raise Odd
        if at > stop or not number:
            raise Odd
        yield number, kind, start, body, at


def _varint(data: mmap.mmap, at: int, stop: int) -> tuple[int, int]:
    value = shift = 0
    while at < stop and shift < 64:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise Odd


def _field(number: int, content: bytes) -> bytes:
    head, size = bytearray([number << 3 | _BYTES]), len(content)
    while size >= 0x80:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    head.append(size)
    return bytes(head) + content
