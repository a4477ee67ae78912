"""Files of a folder that is not trusted: regular ones inside it, of bounded size, each opened once."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ecp.typed_json import FormError

# A FIFO or device must neither block nor act when it is opened, and a link must not be followed out of the folder.
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Folder:
    """``name`` is ``file`` or ``folder/file``; links are followed on the way to the folder, not inside it."""

    def __init__(self, path: Path):
        self.path = path

    def read(self, name: str, most: int) -> bytes:
        """The whole file. Raises :class:`~ecp.typed_json.FormError`, also where it has more than ``most`` bytes."""
        with self._opened(name) as (handle, size):
            if size > most:
                raise _refused(name, f"has {size} bytes, more than {most}")
            with os.fdopen(os.dup(handle), "rb") as stream:
                data = stream.read(most + 1)
            if len(data) != size:
                raise _refused(name, "changed while it was read")
            return data

    def map(self, name: str, size: int) -> np.ndarray:
        """The file's bytes in memory, which must be ``size``: private, so that nothing ever writes to the file.

        Writable on purpose: a kernel that writes where its plan says it never does harms its own answer only.
        """
        with self._opened(name) as (handle, actual):
            if actual != size:
                raise _refused(name, f"has {actual} bytes, the plan says {size}")
            if not size:
                return np.zeros(0, np.uint8)
            with os.fdopen(os.dup(handle), "rb") as stream:
                return np.memmap(stream, np.uint8, "c")

    @contextmanager
    def _opened(self, name: str) -> Iterator[tuple[int, int]]:
        """(file descriptor, size) of a regular file."""
        parts, handles = name.split("/"), []
        try:
            handles.append(os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            for part in parts[:-1]:
                handles.append(os.open(part, _FLAGS | os.O_DIRECTORY, dir_fd=handles[-1]))
            handles.append(os.open(parts[-1], _FLAGS, dir_fd=handles[-1]))
            found = os.fstat(handles[-1])
            if not stat.S_ISREG(found.st_mode):
                raise _refused(name, "is not a regular file in the bundle")
            yield handles[-1], found.st_size
        except OSError as error:
            raise _refused(name, f"is not a regular file in the bundle: {error.strerror}") from None
        finally:
            for handle in handles:
                os.close(handle)


def _refused(name: str, what: str) -> FormError:
    error = FormError(what)
    error.path.append(name)
    return error
