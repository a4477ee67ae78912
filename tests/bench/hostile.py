"""Lines that are almost records: real ones out of the committed campaigns, changed by a seeded hand."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from bench import archive

COMMITTED = Path(__file__).parents[2] / "reports" / "records"

VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        "",
        [],
        {},
        0,
        -1,
        1.5,
        -0.0,
        2**31,
        2**63,
        2**64,
        -(2**63),
        1e15,
        1e16,
        1e300,
        1e-320,
    ),
    *(
        "\x00",
        "\ud800",
        "\x1b[31mred\x1b[0m",
        "[red]x[/red]",
        "<script>",
        "a|b\nc",
        "=1+1",
        "$x$",
        "x" * 5000,
    ),
    *([None], [[]], [1, "a"], [0.0], [1e308, 1e308], {"value": None}, {"value": "x"}, {"": {}}, {"a": [{}]}),
    *("measured", "failed", "20260101T000000Z", "local", "versus", "limits", "profile", "cache", "accuracy"),
)
TOKENS = (
    *(
        b"1e999",
        b"-1e999",
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b'"\\ud800"',
        b'"\\u0000"',
        b"1" * 400,
        b"1" * 5000,
    ),
    *(
        b"\xff\xfe",
        b"\x00",
        b"[" * 200_000,
        b'{"a":' * 5000,
        b'{"a":1,"a":2}',
        b"//",
        b"'x'",
        b"01",
        b"+1",
        b".5",
    ),
)


def real_lines() -> list[bytes]:
    """Lines of every campaign, the first and the last few of each."""
    found: list[bytes] = []
    for file in archive.record_files(COMMITTED):
        lines = archive.read(file).splitlines()
        found += [*lines[:4], *lines[-2:]]
    return found


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    items = (
        value.items() if isinstance(value, dict) else enumerate(value[:3]) if isinstance(value, list) else ()
    )
    for key, item in items:
        found += _places(item, (*path, key))
    return found


def mutate(line: bytes, rng: random.Random) -> bytes:
    """The line with one to three changes; mostly still JSON, sometimes not even text."""
    data = json.loads(line)
    for _ in range(rng.randint(1, 3)):
        places = _places(data)
        # Shallow places first: there is one cell, and thousands of readings.
        depth = rng.choice([1, 2, 2, 2, 3, 3, 4])
        path = rng.choice([p for p in places if len(p) <= depth] or places)
        holder = data
        for key in path[:-1]:
            holder = holder[key]
        if rng.random() < 0.2 and isinstance(holder, dict):
            del holder[path[-1]]
        else:
            holder[path[-1]] = rng.choice(VALUES)
    text = json.dumps(data).encode()
    if rng.random() < 0.25:
        at = rng.randrange(len(text))
        how = rng.randrange(4)
        if how == 0:
            text = text[:at]
        elif how == 1:
            text = text[:at] + bytes([rng.randrange(256)]) + text[at + 1 :]
        else:
            colon = text.find(b":", at)
            end = min((e for e in (text.find(c, colon) for c in (b",", b"}")) if e > 0), default=at)
            text = text[: colon + 1] + rng.choice(TOKENS) + text[end:]
    return text.replace(b"\n", b" ")
