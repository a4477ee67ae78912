"""The schema of plan.json: current, and obeyed by the native reader field by field."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ecp.plan
from tests.native import hostile, make_bundle
from tests.native.test_hostile_bundles import native_says, put, python_says

COMMITTED = Path(ecp.plan.__file__).with_name("plan.schema.json")


def full() -> dict[str, Any]:
    """A valid plan in which every type of the schema occurs."""
    plan = make_bundle.plan()
    plan["report"]["materialized"] = [["node", "why"]]
    plan["groups"] = [{"first": 0, "count": 1, "launch": copy.deepcopy(plan["launches"][0])}]
    plan["status"] = {"mem": "h", "checks": [{"node": "a", "index": "b", "size": 2}]}
    return plan


def objects(schema: dict[str, Any], value: Any, here: dict[str, Any], path: tuple[Any, ...]) -> Iterator[Any]:
    """(path, definition) of every object in ``value`` that the schema declares."""
    for form in (here, *here.get("anyOf", ())):
        name = form.get("$ref", "").rpartition("/")[2]
        if name and isinstance(value, dict):
            definition = schema["$defs"][name]
            if set(value) == set(definition["properties"]):
                yield path, definition
                for field, inner in definition["properties"].items():
                    yield from objects(schema, value[field], inner, (*path, field))
        elif form.get("type") == "array" and isinstance(value, list) and "items" in form:
            for index, entry in enumerate(value):
                yield from objects(schema, entry, form["items"], (*path, index))


def wrong(form: dict[str, Any]) -> list[Any]:
    """Values that a field of this form must not hold."""
    known = {
        "string": [7, None, [], True], "integer": ["7", 0.5, None, True, [1]], "number": ["7", None, [1], True],
        "boolean": [0, "true", None], "array": [{}, "x", 7], "object": [[], "x", 7], "null": [],
    }  # fmt: skip
    bad: list[Any] = list(known.get(form.get("type", "null"), []))
    bad += [form[k] + d for k, d in (("minimum", -1), ("maximum", 1)) if k in form]
    bad += ["no such", 7, None] if "enum" in form else []
    bad += ["x" * (form["maxLength"] + 1)] if "maxLength" in form else []
    bad += [""] if form.get("minLength") else []
    return bad or [7, "x", [7]]


def test_the_committed_schema_is_current():
    words = "run: python -m ecp.plan > ecp/plan.schema.json"
    assert json.loads(COMMITTED.read_text()) == ecp.plan.schema(), words


def test_the_native_reader_keeps_the_schema(runner: Path, tmp_path: Path):
    folder, schema, plan = make_bundle.write(tmp_path / "b"), json.loads(COMMITTED.read_text()), full()
    put(folder, plan)
    assert not python_says(folder) and not native_says(runner, folder)
    seen, tried = set(), 0
    for path, definition in objects(schema, plan, {"$ref": schema["$ref"]}, ()):
        if id(definition) in seen:
            continue
        seen.add(id(definition))
        for field, form in definition["properties"].items():
            cases = [("missing", None), *(("wrong", value) for value in wrong(form))]
            for kind, value in cases:
                changed = copy.deepcopy(plan)
                target = hostile.at(changed, path)
                if kind == "missing":
                    del target[field]
                else:
                    target[field] = value
                put(folder, changed)
                ours, theirs = python_says(folder), native_says(runner, folder)
                assert ours and theirs, (path, field, kind, str(value)[:60], ours, theirs)
                tried += 1
        changed = copy.deepcopy(plan)
        hostile.at(changed, path)["surplus"] = None
        put(folder, changed)
        assert python_says(folder) and native_says(runner, folder), (path, "surplus")
    assert len(seen) == len(schema["$defs"]), "a type occurs nowhere in the plan of this test"
    print(f"{len(seen)} types, {tried} wrong values")
