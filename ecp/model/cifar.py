"""CIFAR-10 and CIFAR-100 as published for Python, read without unpickling.

The files are pickles. A pickle is a program, and loading one runs it, so none is loaded here: the opcodes are listed
(:func:`pickletools.genops`, which runs nothing) and replayed over plain data. Dicts, lists, text, numbers and one
kind of array (unsigned bytes, in C order) are all that can come out. Without torch.
"""

from __future__ import annotations

import hashlib
import math
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ecp.errors import UsageError

TEST, TRAIN, META = "test", "train", "meta"


@dataclass(frozen=True)
class Layout:
    """One of the two data sets: folder, files with their published MD5 by split, and the keys in the files."""

    folder: str
    files: dict[str, dict[str, str]]
    labels: str
    names: str


LAYOUTS = {
    "cifar10": Layout(
        "cifar-10-batches-py",
        {
            TEST: {"test_batch": "40351d587109b95175f43aff81a1287e"},
            TRAIN: {
                "data_batch_1": "c99cafc152244af753f735de768cd75f",
                "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
                "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
                "data_batch_4": "634d18415352ddfa80567beed471001a",
                "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
            },
            META: {"batches.meta": "5ff9c542aee3614f3951f8cda6e48888"},
        },
        "labels",
        "label_names",
    ),
    "cifar100": Layout(
        "cifar-100-python",
        {
            TEST: {"test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
            TRAIN: {"train": "16019d7e3df5f24257cddd939b257f8d"},
            META: {"meta": "7973b15100ade9c7d40fb424638fde48"},
        },
        "fine_labels",
        "fine_label_names",
    ),
}


@dataclass(frozen=True)
class Batch:
    """One file: ``pixels`` uint8 ``[n, 32, 32, 3]``, n ``labels``, and the file's bytes."""

    file: str
    pixels: np.ndarray
    labels: list[int]
    content: bytes


def read_batches(root: Path, name: str, split: str) -> list[Batch]:
    """The files of a split (``train`` or ``test``) below ``root``, or in ``root`` itself.

    Raises :class:`UsageError` for a file that is missing, is not the published one (by its MD5, before anything in
    it is looked at), or does not hold pictures and labels.
    """
    return [_batch(name, file, data, raw) for file, data, raw in _read(root, name, split)]


def class_names(root: Path, name: str) -> list[str]:
    """The names of the classes, from the data set's own list. Raises :class:`UsageError`."""
    ((file, data, _),) = _read(root, name, META)
    names = data.get(LAYOUTS[name].names)
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        raise UsageError(f"{file} has no list of names: it is not a {name} file")
    return list(names)


def _read(root: Path, name: str, split: str) -> list[tuple[str, dict[str, Any], bytes]]:
    layout, found = LAYOUTS[name], []
    files = layout.files[split]
    probe = next(iter(files))
    base = next((b for b in (root / layout.folder, root) if (b / probe).is_file()), None)
    if base is None:
        raise UsageError(
            f"{root} holds no {layout.folder}/{probe}: give the folder that holds torchvision's layout of {name}"
        )
    for file, md5 in files.items():
        try:
            content = (base / file).read_bytes()
        except OSError as error:
            raise UsageError(f"cannot read {base / file}: {error.strerror}") from error
        got = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if got != md5:
            raise UsageError(
                f"{base / file} has MD5 {got}, the published file {md5}: nothing of it was read; "
                "unpack the archive again"
            )
        found.append((file, parse(content, str(base / file)), content))
    return found


def _batch(name: str, file: str, data: dict[str, Any], content: bytes) -> Batch:
    pixels, labels = data.get("data"), data.get(LAYOUTS[name].labels)
    if not isinstance(pixels, np.ndarray) or pixels.ndim != 2 or pixels.shape[1] != 3 * 32 * 32:
        raise UsageError(f"{file} has no pictures of 32 x 32: it is not a {name} file")
    if not isinstance(labels, list) or any(type(v) is not int for v in labels):
        raise UsageError(f"{file} has no {LAYOUTS[name].labels}: it is not a {name} file")
    if len(labels) != len(pixels):
        raise UsageError(f"{file} has {len(pixels)} pictures and {len(labels)} labels")
    return Batch(file, pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), labels, content)


def parse(content: bytes, where: str) -> dict[str, Any]:
    """The dict that a data file of CIFAR's form holds; nothing in the file is called or imported.

    Values are text, numbers, lists, dicts and uint8 arrays. Raises :class:`UsageError` for anything else.
    """
    try:
        return _Replay().run(content)
    except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
        words = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(
            f"{where} is damaged or not a data file ({words}); unpack the archive again"
        ) from error


class _Symbol(str):
    """A name that the file refers to, never looked up."""


@dataclass
class _Array:
    """An array whose content comes in a later opcode."""

    value: np.ndarray | None = None


_ARRAY, _DTYPE, _ENCODE = "an array", "the type of unsigned bytes", "text to bytes"
#: What names in the files stand for.
_SYMBOLS = {
    "numpy.core.multiarray _reconstruct": _ARRAY,
    "numpy._core.multiarray _reconstruct": _ARRAY,
    "numpy ndarray": "the class of arrays",
    "numpy dtype": _DTYPE,
    "_codecs encode": _ENCODE,
}
_BYTE = _Symbol("uint8")
_MARK = object()
_VALUES = {
    "BININT", "BININT1", "BININT2", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES",
    "BINBYTES8", "BINSTRING", "SHORT_BINSTRING",
}  # fmt: skip
_FIXED: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "MARK": lambda: _MARK,
}  # fmt: skip


class _Replay:
    """A stack and a memo over plain data."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, content: bytes) -> dict[str, Any]:
        """What is on the stack at the end: one dict with names as keys."""
        for opcode, argument, _ in pickletools.genops(content):
            self._step(opcode.name, argument)
        (result,) = self.stack
        if type(result) is not dict:
            raise ValueError("it holds no dict")
        return {key: self._finished(value) for key, value in result.items()}

    def _step(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in _VALUES:
            stack.append(argument)
        elif name in _FIXED:
            stack.append(_FIXED[name]())
        elif name in ("BINPUT", "LONG_BINPUT"):
            self.memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])
        elif name == "GLOBAL":
            stack.append(self._symbol(argument))
        elif name not in ("PROTO", "FRAME", "STOP"):
            if name not in _ACTIONS:
                raise ValueError(f"opcode {name} is not among those that data need")
            _ACTIONS[name](self)

    @staticmethod
    def _finished(value: Any) -> Any:
        if isinstance(value, _Array):
            if value.value is None:
                raise ValueError("an array without content")
            return value.value
        return value

    @staticmethod
    def _symbol(name: str) -> _Symbol:
        if name not in _SYMBOLS:
            raise ValueError(f"the file wants to call {name.replace(' ', '.')[:80]}")
        return _Symbol(_SYMBOLS[name])

    def _marked(self) -> list[Any]:
        """The values above the last mark, taken off with it."""
        at = next((i for i in range(len(self.stack) - 1, -1, -1) if self.stack[i] is _MARK), None)
        if at is None:
            raise ValueError("a mark is missing")
        values = self.stack[at + 1 :]
        del self.stack[at:]
        return values

    def _pop(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise ValueError("a value is missing")
        values = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        if any(v is _MARK for v in values):
            raise ValueError("a value is missing")
        return values

    def _stack_global(self) -> None:
        module, name = self._pop(2)
        if type(module) is not str or type(name) is not str:
            raise ValueError("the file refers to something without a name")
        self.stack.append(self._symbol(f"{module} {name}"))

    def _pack(self, values: list[Any]) -> None:
        self.stack.append(tuple(values))

    def _onto_list(self, values: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise ValueError("a value is added to no list")
        self.stack[-1].extend(values)

    def _into_dict(self, pairs: list[Any]) -> None:
        keys = pairs[::2]
        if type(self.stack[-1]) is not dict or len(pairs) % 2 or any(type(k) is not str for k in keys):
            raise ValueError("a dict whose keys are not names")
        self.stack[-1].update(zip(keys, pairs[1::2]))

    def _reduce(self) -> None:
        """The three things that data files ask to be called."""
        wanted, given = self._pop(2)
        if not isinstance(wanted, _Symbol) or type(given) is not tuple:
            raise ValueError("the file calls a value")
        if wanted == _ARRAY:
            self.stack.append(_Array())
        elif wanted == _DTYPE and given and given[0] == "u1":
            self.stack.append(_BYTE)
        elif wanted == _ENCODE and len(given) == 2 and type(given[0]) is str and given[1] == "latin1":
            self.stack.append(given[0].encode("latin1"))
        else:
            raise ValueError(f"{wanted} is not made as in the published files")

    def _build(self) -> None:
        """The content of an array; of a type nothing needs to be known but that it is unsigned bytes."""
        target, state = self._pop(2)
        if target is _BYTE:
            self.stack.append(_BYTE)
            return
        if not isinstance(target, _Array) or type(state) is not tuple or len(state) != 5:
            raise ValueError("the file changes a value that is no array")
        _, shape, dtype, columns, raw = state
        raw = raw.encode("latin1") if type(raw) is str else raw
        whole = type(shape) is tuple and all(type(n) is int and n >= 0 for n in shape) and len(shape) <= 4
        if dtype is not _BYTE or columns is not False or type(raw) is not bytes or not whole:
            raise ValueError("an array that is not of unsigned bytes in rows")
        if math.prod(shape) != len(raw):
            raise ValueError(f"an array of {math.prod(shape)} values with {len(raw)} bytes")
        target.value = np.frombuffer(raw, np.uint8).reshape(shape)
        self.stack.append(target)


# No text or list is printed while reading: values that hold each other print without an end.
_ACTIONS: dict[str, Callable[[_Replay], None]] = {
    "STACK_GLOBAL": _Replay._stack_global,
    "TUPLE": lambda r: r._pack(r._marked()),
    "TUPLE1": lambda r: r._pack(r._pop(1)),
    "TUPLE2": lambda r: r._pack(r._pop(2)),
    "TUPLE3": lambda r: r._pack(r._pop(3)),
    "APPEND": lambda r: r._onto_list(r._pop(1)),
    "APPENDS": lambda r: r._onto_list(r._marked()),
    "SETITEM": lambda r: r._into_dict(r._pop(2)),
    "SETITEMS": lambda r: r._into_dict(r._marked()),
    "REDUCE": _Replay._reduce,
    "BUILD": _Replay._build,
}
