"""Cached files that are never served damaged: each has a checksum, which is checked when the file is loaded.

Three forms: :func:`write` and :func:`read` put the checksum before the bytes, :func:`write_json` and
:func:`read_json` keep a file that people can read, and :func:`seal` and :func:`sealed` put it beside a file whose
format is another program's. What does not fit counts as absent, so that its owner makes it again; logger
``ecp.cache`` says so. The checksum is XXH3 (128 bits): it finds damage at the speed of memory, and is no defence
against somebody who may write to the cache.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import stat
import time
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from typing import Any

import platformdirs
import xxhash

log = logging.getLogger("ecp.cache")
log.addHandler(logging.NullHandler())
_MAGIC = b"ecp-checked 1 "
_PIECE = 1 << 20


def cache_dir() -> Path:
    """Folder for everything that can be rebuilt: kernels, models, icd files. ``$ECP_CACHE`` overrides it."""
    override = os.environ.get("ECP_CACHE")
    return Path(override) if override else Path(platformdirs.user_cache_dir("ecp-vit"))


def checksum(data: bytes | memoryview) -> str:
    """Hex checksum of a contiguous buffer."""
    return xxhash.xxh3_128(data).hexdigest()


def file_checksum(path: Path) -> str:
    """Checksum of a regular file's bytes. OSError where it is not one (links are none)."""
    total = xxhash.xxh3_128()
    with open_regular(path, links=False) as stream:
        while piece := stream.read(_PIECE):
            total.update(piece)
    return total.hexdigest()


def open_regular(path: Path, *, links: bool) -> BufferedReader:
    """A file opened to be read; OSError, at once, for a folder, a pipe, a device and (``links`` False) a link."""
    flags = (
        os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    )
    handle = os.open(path, flags | (0 if links else getattr(os, "O_NOFOLLOW", 0)))
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(22, "not a regular file", str(path))
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def write(path: Path, data: bytes) -> None:
    """Keep bytes with their checksum; the file appears whole or not at all. OSError."""
    put(path, _MAGIC + checksum(data).encode() + b"\n" + data)


def read(path: Path) -> bytes | None:
    """What :func:`write` kept; None where there is nothing that fits."""
    try:
        with open_regular(path, links=False) as stream:
            content = stream.read()
    except OSError:
        if os.path.lexists(path):
            _damaged(path)
        return None
    end = len(_MAGIC) + 32
    data = content[end + 1 :]
    if content[: end + 1] != _MAGIC + checksum(data).encode() + b"\n":
        _damaged(path)
        return None
    return data


def write_json(path: Path, content: Any) -> None:
    """Keep a JSON value with its checksum; the file appears whole or not at all. OSError."""
    put(path, json.dumps({"checksum": _of_json(content), "content": content}, indent=1).encode())


def read_json(path: Path) -> Any:
    """What :func:`write_json` kept; None where there is nothing that fits."""
    try:
        with open_regular(path, links=False) as stream:
            found = json.loads(stream.read())
        if found["checksum"] == _of_json(found["content"]):
            return found["content"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    _damaged(path)
    return None


def seal(path: Path) -> None:
    """Write the checksum of a finished file beside it. OSError."""
    put(_beside(path), file_checksum(path).encode())


def sealed(path: Path) -> bool:
    """Whether a file is there and is the one that was sealed."""
    try:
        with open_regular(_beside(path), links=False) as stream:
            wanted = stream.read(64)
        if wanted == file_checksum(path).encode():
            return True
    except OSError:
        pass
    if os.path.lexists(path):
        _damaged(path)
    return False


def publish(made: Path, path: Path) -> None:
    """Put a finished file in its place, whatever lies there, and seal it. OSError."""
    made.replace(clear(path))
    seal(path)


def clear(path: Path) -> Path:
    """The path, with what is no plain file there taken away, so that a file can be put in its place."""
    if path.is_dir() and not path.is_symlink():
        discard(path)
    return path


def folder(path: Path) -> Path:
    """A folder of the cache, made where it is missing; what lies there instead of one goes. OSError."""
    if os.path.lexists(path) and not path.is_dir():
        discard(path)
    path.mkdir(parents=True, exist_ok=True)
    return path


def discard(path: Path) -> None:
    """Out of sight in one step, then gone; whoever has files in it mapped keeps them."""
    dead = path.with_name(f".dead.{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    with suppress(OSError):
        path.rename(dead)
        if dead.is_dir() and not dead.is_symlink():
            shutil.rmtree(dead, ignore_errors=True)
        else:
            dead.unlink()


def put(path: Path, data: bytes) -> None:
    """Write a file in one step, whatever lies in its place. OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}.part")
    try:
        partial.write_bytes(data)
        partial.replace(clear(path))
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _of_json(content: Any) -> str:
    return checksum(json.dumps(content, sort_keys=True).encode())


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.sum")


def _damaged(path: Path) -> None:
    log.warning("%s is not what was kept there: it is made again", path)
