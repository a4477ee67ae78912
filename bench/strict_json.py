"""JSON from outside, stricter than ``json.loads``: what databases and arithmetic cannot take is refused by name."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from bench.escape import line

DEEPEST = 64


class Malformed(ValueError):
    """Stored data that is not what it should be; the text is one line for people."""


def parse_json(text: bytes | str, *, infinite: bool = False) -> Any:
    """JSON as RFC 8259 has it, stricter where databases and arithmetic are: UTF-8, no key twice, no NaN, infinity or
    NUL, whole numbers of 64 bits, nesting up to ``DEEPEST``. Raises :class:`Malformed`.

    ``infinite``: ``NaN`` and ``Infinity``, which earlier commands wrote into cells, are read as ``None``.
    """
    try:
        constant = _nothing if infinite else _no_constant
        data = json.loads(text, object_pairs_hook=_unique, parse_constant=constant)
    except RecursionError as error:
        raise Malformed(f"nested deeper than {DEEPEST}") from error
    except UnicodeDecodeError as error:
        raise Malformed("not UTF-8") from error
    except ValueError as error:
        raise Malformed(line(error)) from error
    _check(data, DEEPEST)
    return data


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Malformed(f"the key {line(twice)[:60]!r} stands there twice")
    return found


def _nothing(_: str) -> None:
    return None


def _no_constant(name: str) -> Any:
    raise Malformed(f"{name} is not a number of JSON")


def _check(value: Any, depth: int) -> None:
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise Malformed("a number is too large")
    elif isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise Malformed("a whole number has more than 64 bits")
    elif value is not None:
        if not depth:
            raise Malformed(f"nested deeper than {DEEPEST}")
        if isinstance(value, dict):
            for name in value:
                _check_text(name)
            value = value.values()
        for item in value:
            _check(item, depth - 1)


def _check_text(text: str) -> None:
    if "\0" in text:
        raise Malformed("a text holds NUL")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Malformed("a text holds half a character (lone surrogate)") from error


def cleaned(value: Any) -> Any:
    """``value`` with every text such that :func:`parse_json` takes it: NUL and lone surrogates become U+FFFD."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode() if _odd(value) else value
    if isinstance(value, Mapping):
        return {cleaned(str(k)): cleaned(v) for k, v in value.items()}
    return [cleaned(v) for v in value] if isinstance(value, list | tuple) else value


def _odd(text: str) -> bool:
    return "\0" in text or any("\ud800" <= c <= "\udfff" for c in text)
