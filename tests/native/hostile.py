"""Hostile bundles: what a seeded mutator does to a good one, and what a person would try by hand."""

# ruff: noqa: E501  (lists of short texts)

from __future__ import annotations

import copy
import json
import os
import random
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.native import make_bundle

Damage = Callable[[Path], None]
# Values that no field is meant to hold, or that lie at the edge of what it may.
VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2**31, 2**40, 2**40 + 1, 2**62, 2**63, 2**64, 10**40, 0.5, 1e308, float("nan"),
    float("inf"), "", "a", "../x", "/etc/passwd", "a/b/c", "x" * 5000, "\0", "\ud800", "größe", [], [-1], [0],
    [[[[]]]], [2**63] * 3, {}, {"mem": "in0"}, {"x": 1},
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of all values inside a document."""
    entries = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, inner in entries:
        yield (*path, key)
        yield from places(inner, (*path, key))


def at(document: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        document = document[key]
    return document


def mutated(seed: int) -> dict[str, Any]:
    """A plan with one to three changes: a value replaced, removed, doubled, swapped, or a field added."""
    rng = random.Random(seed)
    plan = copy.deepcopy(make_bundle.plan())
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        path = rng.choice(list(places(plan)))
        parent, key = at(plan, path[:-1]), path[-1]
        kind = rng.randrange(5)
        if kind == 0:
            del parent[key]
        elif kind == 1 and isinstance(parent, list):
            parent.insert(rng.randrange(len(parent) + 1), copy.deepcopy(parent[key]))
        elif kind == 2 and isinstance(parent, dict):
            parent[rng.choice(("extra", "version2", key + " "))] = rng.choice(VALUES)
        elif kind == 3:
            parent[key] = copy.deepcopy(at(plan, rng.choice(list(places(plan)))))
        else:
            parent[key] = rng.choice(VALUES)
    return plan


def text(content: bytes) -> Damage:
    """plan.json of these bytes."""
    return lambda folder: (folder / "plan.json").write_bytes(content) and None


def source(line: str) -> Damage:
    """A line ahead of the first kernel."""
    return lambda folder: (
        (folder / "kernels/mm.cl").write_text(f"{line}\n{make_bundle.SOURCES['kernels/mm.cl']}") and None
    )


def instead(name: str, make: Callable[[Path], object]) -> Damage:
    """Something else where a file was."""

    def damage(folder: Path) -> None:
        path = folder / name
        path.rename(folder.parent / f"{folder.name}-{path.name}")
        make(path)

    return damage


def edited(*path: Any, to: Any) -> Damage:
    """A plan with one other value."""

    def damage(folder: Path) -> None:
        plan = make_bundle.plan()
        at(plan, path[:-1])[path[-1]] = to
        (folder / "plan.json").write_text(json.dumps(plan))

    return damage


def _socket(path: Path) -> None:
    handle = socket.socket(socket.AF_UNIX)
    here = os.open(".", os.O_RDONLY)
    try:
        os.chdir(path.parent)  # names of sockets are short
        handle.bind(path.name)
    finally:
        os.fchdir(here)
        os.close(here)
        handle.close()


def _elsewhere(path: Path) -> Path:
    return path.parent.parent / f"{path.parent.name}-{path.name}"


def _of_files() -> Iterator[tuple[str, Damage]]:
    kinds: dict[str, Callable[[Path], object]] = {
        "absent": lambda p: None,
        "folder": lambda p: p.mkdir(),
        "fifo": os.mkfifo,
        "socket": _socket,
        "link to a device": lambda p: p.symlink_to("/dev/zero"),
        "link to itself": lambda p: p.symlink_to(p.name),
        "link to a secret": lambda p: p.symlink_to("/etc/passwd"),
        "empty": lambda p: p.touch(),
        "huge and sparse": lambda p: (p.touch(), os.truncate(p, 1 << 40)),
    }
    for name in ("plan.json", "weights.bin", "kernels/mm.cl", "golden/input0.bin"):
        for kind, make in kinds.items():
            yield f"{name} {kind}", instead(name, make)
    for name in ("kernels", "golden"):
        yield f"{name} is a link", instead(name, lambda p: p.symlink_to(_elsewhere(p)))


TEXTS = (
    b"", b"{", b"null", b"[" * 100_000, b'{"a":' * 100_000, b'{"format":1,"format":1}', b'{"a":1}x', b'{"a":NaN}',
    b'{"a":Infinity}', b'{"a":1e999}', b'{"a":"\\ud800"}', b'{"a":"\xc3("}', b"\xef\xbb\xbf{}", b'{"a":01}', b'{"a":1,}',
    b"\xff\xfe{\0}\0", b'{"a":' + b"9" * 10_000 + b"}", b"[" + b"0," * (4 << 20) + b"0]", b"[" + b"[]," * (2 << 20) + b"0]",
    b" " * (17 << 20), b'"' + b"a" * (15 << 20) + b'"', b'{"format":"ecp-bundle"}', b'{"format":"ecp-bundle","version":3}',
    b'{"format":"ecp-bundle","version":"2"}', b'{"format":"zip","version":2}',
)  # fmt: skip
SOURCES = (
    '#include "/etc/passwd"', "#include </etc/passwd>", '  #  include "/etc/passwd"', '/**/ #include "/etc/passwd"',
    '#/**/include "/etc/passwd"', '#inc\\\nlude "/etc/passwd"', '# \\\ninclude "/etc/passwd"', '??=include "/etc/passwd"',
    '%:include "/etc/passwd"', '#include_next "/etc/passwd"', '#import "/etc/passwd"', '#embed "/etc/passwd"',
    '#define F "/etc/passwd"\n#include F', '#pragma GCC dependency "/etc/passwd"', '_Pragma("GCC dependency \\"/etc/passwd\\"")',
    '#if __has_include("/etc/passwd")\n#endif', '# 1 "/etc/passwd"', '#line 1 "/etc/passwd"',
    'asm(".incbin \\"/etc/passwd\\"");', '__asm__(".include \\"/etc/passwd\\"");',
    "#define J(a,b) a##b\nJ(as,m)(\".incbin\");", "\v#include \"/etc/passwd\"", "#\f include \"/etc/passwd\"", "nul \0 byte",
)  # fmt: skip
OPTIONS = (
    "-I/etc", "-include /etc/passwd", "-D", "-DX=/etc/passwd", "-DX=$(id)", "-cl-std=CL9.9", "@/etc/passwd", "-imacros /etc/passwd",
    "-Xclang -load", "-o /tmp/x", "-save-temps", "-v", "\n-I.", "-cl-std=CL1.2\t-I.", "größe",
)  # fmt: skip
PLACES = (
    (("pools", 1, "file"), "plan.json"), (("pools", 1, "file"), "golden/input0.bin"), (("pools", 1, "file"), "kernels/mm.cl"),
    (("golden", "inputs", 0, "file"), "weights.bin"), (("pools", 0, "access"), "ro"), (("pools", 0, "bytes"), 2**40 + 4096),
    (("mems", 0, "offset"), 2**64), (("mems", 0, "offset"), 2**63 - 4096), (("launches", 0, "global_size"), [2**31] * 3),
    (("launches", 0, "global_size"), [2**31, 8]), (("launches", 0, "local_size"), [8, 12]), (("launches", 0, "nodes"), [1]),
    (("outputs",), []), (("inputs", 0, "shape"), [0, 2**40, 2**40]), (("inputs", 0, "shape"), [-1]), (("inputs", 0, "shape"), [1] * 33),
    (("launches", 0, "args"), [{"mem": "in0"}] * 1025), (("groups",), [{"first": 1, "count": 2, "launch": None}]),
    (("status",), {"mem": "b", "checks": []}), (("status",), {"mem": "w", "checks": []}),
)  # fmt: skip


def by_hand() -> Iterator[tuple[str, Damage]]:
    """(name, damage done to a good bundle's folder); the readers must refuse all but ``VALID``."""
    yield from _of_files()
    yield from ((f"text {i}", text(t)) for i, t in enumerate(TEXTS))
    yield from ((f"source {s!r}", source(s)) for s in SOURCES)
    yield from ((f"option {o!r}", edited("programs", 0, "options", to=o)) for o in OPTIONS)
    yield from ((f"{path} = {str(to)[:40]}", edited(*path, to=to)) for path, to in PLACES)


# Absurd, and still within the rules: whether it builds and runs is decided by the device.
VALID = {
    "kernels/mm.cl empty",
    "('launches', 0, 'global_size') = [2147483648, 8]",
    "('launches', 0, 'local_size') = [8, 12]",
}
