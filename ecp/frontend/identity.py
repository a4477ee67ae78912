"""What makes a model another model: its content, the files with external data included.

Every cache, record and report knows a model by :func:`model_sha256`. Nothing here imports onnx: a start from the
cache asks for the identity, and the importer would cost more than the whole start.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ecp.checked import open_regular
from ecp.errors import ModelError
from ecp.frontend.digests import file_sha256
from ecp.frontend.weights import Odd, fields

# onnx.proto: the messages that a tensor may hide in, by kind and field number; tensors name files in field 13.
_INSIDE = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_EXTERNAL_DATA, _DATA_LOCATION, _EXTERNAL, _BYTES = 13, 14, 1, 2


@dataclass(frozen=True)
class Location:
    """A file that a tensor names. ``needed`` False: the tensor says elsewhere that its data are not external."""

    name: str
    needed: bool


def model_sha256(path: str | Path) -> str:
    """Hex SHA-256 of a model's content: its identity everywhere in the project, whatever its path.

    Without external data it is the file's own hash, else one over the file's hash and those of the files that it
    names. Raises OSError where the model cannot be read, :class:`~ecp.errors.ModelError` where a named file is
    missing, is a link or no file, or lies outside the model's folder.
    """
    path = Path(path)
    own, found = file_sha256(path), locations(path)
    if not found:
        return own
    total = hashlib.sha256(f"ecp model with external data\0{own}".encode())
    for location in found:
        try:
            content = file_sha256(external_file(path.parent, location.name))
        except (OSError, ModelError) as error:
            if location.needed:
                words = str(error) if isinstance(error, ModelError) else error.strerror
                raise ModelError(f"{path}: external data at {location.name!r}: {words}") from None
            content = "absent"
        total.update(f"\0{location.name}\0{content}".encode("utf-8", "surrogateescape"))
    return total.hexdigest()


def locations(path: Path) -> list[Location]:
    """The files that a model's tensors name, sorted by name; none for a file that is no model. Raises OSError."""
    with open_regular(path, links=True) as stream:
        if not os.fstat(stream.fileno()).st_size:
            return []
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                found = dict[str, bool]()
                for name, needed in _locations(data):
                    found[name] = found.get(name, False) or needed
            except Odd:
                found = dict.fromkeys(_parsed_locations(path), True)
    return [Location(name, found[name]) for name in sorted(found)]


def external_file(folder: Path, location: str) -> Path:
    """The file at ``location`` of a model in ``folder``. Raises ModelError where it is outside, or not a plain file.

    A link on the way is refused, even to a file inside: what it leads to may change unseen. OSError where missing.
    """
    parts = PurePosixPath(location).parts
    if not location or "\0" in location or location.startswith("/") or Path(location).is_absolute():
        raise ModelError("outside the model's folder: refused")
    root = Path(os.path.realpath(folder))
    target = Path(os.path.normpath(root.joinpath(*parts)))
    if not target.is_relative_to(root) or target == root:
        raise ModelError("outside the model's folder: refused")
    if os.path.realpath(target) != str(target):
        raise ModelError("reached through a link: refused; put the file itself there")
    if not stat.S_ISREG(target.lstat().st_mode):
        raise ModelError("not a regular file: refused")
    return target


def _locations(data: mmap.mmap) -> Iterator[tuple[str, bool]]:
    """Every file that is named anywhere. Fields that occur twice, which protobuf merges, are all looked at."""
    open_messages = [("model", 0, len(data))]
    while open_messages:
        kind, begin, stop = open_messages.pop()
        if kind == "tensor":
            yield from _tensor_locations(data, begin, stop)
            continue
        for number, wire, _, body, end in fields(data, begin, stop):
            inner = _INSIDE[kind].get(number)
            if inner is None:
                continue
            if wire != _BYTES:
                raise Odd
            # Most nodes hold no tensor at all, and the key that names a file cannot be written in another way.
            if inner != "node" or b"location" in data[body:end]:
                open_messages.append((inner, body, end))


def _tensor_locations(data: mmap.mmap, begin: int, stop: int) -> Iterator[tuple[str, bool]]:
    names, needed = [], False
    for number, wire, _, body, end in fields(data, begin, stop):
        if number == _DATA_LOCATION:
            needed = needed or (wire == 0 and data[body] == _EXTERNAL)
        elif number == _EXTERNAL_DATA and wire == _BYTES:
            entry = [(n, data[b:e]) for n, w, _, b, e in fields(data, body, end) if w == _BYTES]
            if (1, b"location") in entry:
                names += [value.decode("utf-8", "surrogateescape") for n, value in entry if n == 2]
    for name in names:
        yield name, needed


def _parsed_locations(path: Path) -> list[str]:
    """For a file in a form that no exporter writes: what protobuf makes of it. A file that is no model names none."""
    from ecp.frontend.loading import side_files

    try:
        return side_files(path)
    except ModelError:
        return []
