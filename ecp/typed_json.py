"""Dataclasses as strict JSON: every field is written, every field is required, and nothing else is taken.

The form of a document is declared once, as types: annotations with :class:`Whole`, :class:`Text` and :class:`Items`
bound numbers, texts and lists. From them come the decoder, the encoder and the JSON schema. A field with
``metadata={"stored": False}`` is none of the document's.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

# Values a document may hold, and how deep: checked before it is parsed, so that memory is bounded.
MOST_VALUES, MOST_DEPTH = 1 << 19, 32
Read = Callable[[Any], Any]


class FormError(ValueError):
    """What does not fit the declared form; ``path`` grows on the way out, innermost first."""

    def __init__(self, what: str):
        super().__init__(what)
        self.what = what
        self.path: list[str] = []

    def __str__(self) -> str:
        where = "".join(reversed(self.path)).lstrip(".")
        return f"{where or 'the document'} {self.what}"


@dataclass(frozen=True)
class Whole:
    """An integer from ``low`` to ``high``."""

    low: int
    high: int


@dataclass(frozen=True)
class Text:
    """A text of ``least`` to ``most`` bytes without NUL, that matches ``pattern`` or is one of ``choices``."""

    least: int = 0
    most: int = 4096
    pattern: str = ""
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Items:
    """A list of ``least`` to ``most`` entries."""

    least: int = 0
    most: int = 100_000


def parse(data: bytes) -> Any:
    """Value of a JSON text (RFC 8259): no NaN, no key twice, no more values and no deeper than the limits.

    Raises :class:`FormError`.
    """
    values = sum(data.count(mark) for mark in b",:[{")
    if values > MOST_VALUES:
        raise FormError(f"holds more than {MOST_VALUES} values")
    try:
        text = data.decode("utf-8")
        return json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except RecursionError:
        raise FormError("is nested too deep") from None
    except UnicodeDecodeError as error:
        raise FormError(f"is not UTF-8 at byte {error.start}") from None
    except FormError:
        raise
    except ValueError as error:
        raise FormError(f"is not JSON: {error}") from None


def decode(kind: type, value: Any) -> Any:
    """An object of the dataclass ``kind`` from a parsed document. Raises :class:`FormError`."""
    return _reader(kind)(value)


def encode(value: Any) -> Any:
    """The inverse of :func:`decode`: plain dicts, lists, texts and numbers."""
    if is_dataclass(value) and not isinstance(value, type):
        return {name: encode(getattr(value, name)) for name in _names(value.__class__)}
    if isinstance(value, (list, tuple)):
        return [encode(entry) for entry in value]
    if isinstance(value, dict):
        return {key: encode(entry) for key, entry in value.items()}
    return value


@cache
def _names(kind: type) -> tuple[str, ...]:
    return tuple(f.name for f in fields(kind) if f.metadata.get("stored", True))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        seen: set[str] = set()
        name = next(k for k, _ in pairs if k in seen or seen.add(k))  # type: ignore[func-returns-value]
        raise FormError(f"has the key {name!r} twice")
    return table


def _no_constant(name: str) -> Any:
    raise FormError(f"holds {name}, which is no JSON")


@cache
def _reader(hint: Any) -> Read:
    """The decoder of one annotation."""
    origin, args = get_origin(hint), get_args(hint)
    if is_dataclass(hint) and isinstance(hint, type):
        return _object(hint)
    if origin is Annotated:
        return _bounded(args[0], args[1])
    if origin in (Union, UnionType):
        return _union(args)
    if origin is list:
        return _list(_reader(args[0]), Items())
    if origin is tuple:
        return _fixed([_reader(a) for a in args])
    if origin is dict:
        return _mapping(_reader(args[1]))
    return _PLAIN[hint]


def _bounded(base: Any, bound: Any) -> Read:
    if isinstance(bound, Whole):
        return _whole(bound)
    if isinstance(bound, Text):
        return _text(bound)
    return _list(_reader(get_args(base)[0]), bound)


def _object(kind: type) -> Read:
    hints = get_type_hints(kind, include_extras=True)
    table = [(name, _reader(hints[name])) for name in _names(kind)]
    known = frozenset(name for name, _ in table)

    def read(value: Any) -> Any:
        if type(value) is not dict:
            raise FormError("is not an object")
        if value.keys() != known:
            _wrong_keys(set(value), known)
        made = {}
        for name, reader in table:
            try:
                made[name] = reader(value[name])
            except FormError as error:
                error.path.append("." + name)
                raise
        return kind(**made)

    return read


def _wrong_keys(given: set[str], known: frozenset[str]) -> None:
    missing, unknown = sorted(known - given), sorted(given - known)
    if missing:
        raise FormError(f'has no "{missing[0]}"')
    raise FormError(f'has the unknown field "{unknown[0][:60]}"')


def _list(read_entry: Read, bound: Items) -> Read:
    def read(value: Any) -> list[Any]:
        if type(value) is not list or not bound.least <= len(value) <= bound.most:
            raise FormError(f"is not a list of {bound.least} to {bound.most} entries")
        made = []
        try:
            for entry in value:
                made.append(read_entry(entry))
        except FormError as error:
            error.path.append(f"[{len(made)}]")
            raise
        return made

    return read


def _fixed(readers: list[Read]) -> Read:
    def read(value: Any) -> tuple[Any, ...]:
        if type(value) is not list or len(value) != len(readers):
            raise FormError(f"is not a list of {len(readers)} entries")
        return tuple(reader(entry) for reader, entry in zip(readers, value))

    return read


def _mapping(read_entry: Read) -> Read:
    check_key, most = _text(Text(least=1)), Items().most

    def read(value: Any) -> dict[str, Any]:
        if type(value) is not dict or len(value) > most:
            raise FormError("is not an object")
        return {check_key(key): read_entry(entry) for key, entry in value.items()}

    return read


def _union(args: tuple[Any, ...]) -> Read:
    """``T | None``, or objects of one field each that are told apart by its name, or scalars."""
    some = [a for a in args if a is not NoneType]
    if len(some) == 1:
        inner = _reader(some[0])
        return lambda value: None if value is None else inner(value)
    if not all(is_dataclass(a) for a in some):
        entries = _list(_scalar, Items())
        return lambda value: entries(value) if type(value) is list else _scalar(value)
    kinds = {_names(a)[0]: _reader(a) for a in some}

    def read(value: Any) -> Any:
        if type(value) is not dict or len(value) != 1 or (name := next(iter(value))) not in kinds:
            raise FormError(f"is not one of {', '.join(kinds)}")
        return kinds[name](value)

    return read


def _whole(bound: Whole) -> Read:
    def read(value: Any) -> int:
        if type(value) is not int or not bound.low <= value <= bound.high:
            raise FormError(f"is not an integer from {bound.low} to {bound.high}")
        return value

    return read


def _text(bound: Text) -> Read:
    choices, fits = frozenset(bound.choices), re.compile(bound.pattern).fullmatch

    def read(value: Any) -> str:
        if choices:
            if type(value) is not str or value not in choices:
                raise FormError(f"is not one of {', '.join(bound.choices)}")
            return value
        if type(value) is not str or "\0" in value:
            raise FormError("is not a text")
        try:
            size = len(value) if value.isascii() else len(value.encode())
        except UnicodeEncodeError:
            raise FormError("is a text with a lone surrogate") from None
        if not bound.least <= size <= bound.most:
            raise FormError(f"is not a text of {bound.least} to {bound.most} bytes")
        if bound.pattern and not fits(value):
            raise FormError(f"is {value[:60]!r}, which does not match {bound.pattern}")
        return value

    return read


def _number(value: Any) -> float:
    if (
        type(value) not in (int, float)
        or not abs(value) <= 1.7976931348623157e308
        or not math.isfinite(value)
    ):
        raise FormError("is not a number")
    return float(value)


def _boolean(value: Any) -> bool:
    if type(value) is not bool:
        raise FormError("is not true or false")
    return value


def _scalar(value: Any) -> int | float | str | bool:
    """A number, a text or a boolean that is only passed on."""
    if type(value) is bool:
        return value
    if type(value) is str:
        return str(_PLAIN[str](value))
    if type(value) is int and abs(value) < 1 << 63:
        return value
    if type(value) is float and math.isfinite(value):
        return value
    raise FormError("is not a number, a text or true or false")


_PLAIN: dict[Any, Read] = {str: _text(Text()), bool: _boolean, float: _number}


def schema(kind: type, title: str) -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of documents that :func:`decode` takes for ``kind``."""
    definitions: dict[str, Any] = {}
    root = _schema(kind, definitions)
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **root}
    return {**head, "$defs": dict(sorted(definitions.items()))}


def _schema(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    origin, args = get_origin(hint), get_args(hint)
    if is_dataclass(hint) and isinstance(hint, type):
        return _schema_of_object(hint, definitions)
    if origin is Annotated:
        return _schema_of_bound(args[0], args[1], definitions)
    if origin in (Union, UnionType):
        return {"anyOf": [_schema(a, definitions) for a in args]}
    if origin is list:
        return {"type": "array", "items": _schema(args[0], definitions), "maxItems": Items().most}
    if origin is tuple:
        entries = [_schema(a, definitions) for a in args]
        return {"type": "array", "prefixItems": entries, "minItems": len(args), "maxItems": len(args)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema(args[1], definitions)}
    if hint is str:
        return {"type": "string", "maxLength": Text().most}
    return {"type": {bool: "boolean", float: "number", int: "integer", NoneType: "null"}[hint]}


def _schema_of_object(kind: type, definitions: dict[str, Any]) -> dict[str, Any]:
    if kind.__name__ not in definitions:
        definitions[kind.__name__] = {}
        hints = get_type_hints(kind, include_extras=True)
        definitions[kind.__name__] = {
            "description": (kind.__doc__ or "").strip().split("\n")[0],
            "type": "object",
            "properties": {name: _schema(hints[name], definitions) for name in _names(kind)},
            "required": list(_names(kind)),
            "additionalProperties": False,
        }
    return {"$ref": f"#/$defs/{kind.__name__}"}


def _schema_of_bound(base: Any, bound: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    if isinstance(bound, Whole):
        return {"type": "integer", "minimum": bound.low, "maximum": bound.high}
    if isinstance(bound, Text):
        if bound.choices:
            return {"enum": list(bound.choices)}
        form: dict[str, Any] = {"type": "string", "minLength": bound.least, "maxLength": bound.most}
        return {**form, "pattern": f"^{bound.pattern}$"} if bound.pattern else form
    entries = _schema(get_args(base)[0], definitions)
    return {"type": "array", "items": entries, "minItems": bound.least, "maxItems": bound.most}
