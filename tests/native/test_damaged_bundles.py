"""A bundle is untrusted: every damage is one clear sentence and exit code 2, before any device is touched."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.native import make_bundle

Plan = dict[str, Any]


def _set(*path: Any, to: Any) -> Callable[[Plan], None]:
    def change(plan: Plan) -> None:
        target: Any = plan
        for key in path[:-1]:
            target = target[key]
        target[path[-1]] = to

    return change


def _drop(*path: Any) -> Callable[[Plan], None]:
    def change(plan: Plan) -> None:
        target: Any = plan
        for key in path[:-1]:
            target = target[key]
        del target[path[-1]]

    return change


DAMAGES: list[tuple[Callable[[Plan], None], str]] = [
    (_set("format", to="zip"), "format is not ecp-bundle"),
    (_set("version", to=1), "reads version 2 only"),
    (_set("version", to=2.0), "reads version 2 only"),
    (_set("precision", to="fp8"), "precision is not one of fp32, fp16"),
    (_drop("launches"), 'has no "launches"'),
    (_set("outputs", to=[]), "outputs is empty"),
    (_set("pools", 1, "file", to="../../etc/passwd"), "not a file inside the bundle"),
    (_set("pools", 1, "file", to="/etc/passwd"), "not a file inside the bundle"),
    (_set("pools", 1, "file", to="a/b/c"), "not a file inside the bundle"),
    (_set("pools", 1, "file", to=".hidden"), "not a file inside the bundle"),
    (_set("pools", 1, "file", to="absent.bin"), "not a regular file in the bundle"),
    (_set("pools", 1, "bytes", to=5000), "needs 5000 bytes, but weights.bin has 4144"),
    (_set("pools", 1, "name", to="arena"), 'repeats the name "arena"'),
    (_set("pools", 0, "bytes", to=-1), "pools[0].bytes is not an integer"),
    (_set("pools", 0, "bytes", to=2**63), "pools[0].bytes is not an integer"),
    (_set("mems", 0, "pool", to="nowhere"), 'unknown "nowhere"'),
    (_set("mems", 0, "offset", to=4), "not a multiple of 4096"),
    (_set("mems", 2, "bytes", to=4097), 'reaches beyond pool "arena"'),
    (_set("mems", 2, "offset", to=2**40), 'reaches beyond pool "arena"'),
    (_set("mems", 1, "name", to="in0"), 'repeats the name "in0"'),
    (_set("mems", 4, "image", "width", to=4), "is larger than its 48 bytes"),
    (_set("mems", 4, "image", "width", to=0), "width is not an integer from 1"),
    (_set("mems", 4, "image", "format", to="BGRA"), "is not one of RGBA_F32, RGBA_F16"),
    (_set("mems", 0, "image", to={"width": 1, "height": 1, "format": "RGBA_F32"}), "pool without a file"),
    (_set("inputs", 0, "shape", to=[8, 17]), 'does not fit into mem "in0"'),
    (_set("inputs", 0, "shape", to=[2**31, 2**31, 2**31]), 'does not fit into mem "in0"'),
    (_set("inputs", 0, "shape", to=[-1]), "shape is not an integer from 0"),
    (_set("inputs", 0, "dtype", to="complex64"), "not a known type"),
    (_set("outputs", 0, "mem", to="b"), "lies in an image"),
    (_set("programs", 0, "file", to="kernels/none.cl"), "missing or too large"),
    (_set("programs", 0, "options", to="-DX=\n"), "build option"),
    (_set("launches", 0, "program", to="p9"), 'unknown "p9"'),
    (_set("groups", to=[7]), "groups[0] is not an object"),
    (_set("chain", to=None), 'unknown field "chain"'),
    (_set("launches", 0, "global_size", to=[]), "global_size is empty"),
    (_set("launches", 0, "global_size", to=[1, 1, 1, 1]), "list of up to 3"),
    (_set("launches", 0, "global_size", to=[8, 0]), "global_size is not an integer from 1"),
    (_set("launches", 0, "local_size", to=[3, 4]), "does not divide global_size"),
    (_set("launches", 0, "local_size", to=[2]), "another rank than global_size"),
    (_set("launches", 0, "resident_groups", to=-1), "resident_groups is not an integer"),
    (_set("launches", 0, "args", 0, to={"mem": "x9"}), 'unknown "x9"'),
    (_set("launches", 0, "args", 0, to={"mem": "in0", "i32": 1}), "not one of mem, i32, f32"),
    (_set("launches", 0, "args", 3, to={"i32": 2**31}), "is not an integer"),
    (_set("launches", 1, "args", 3, to={"f32": 1e300}), "is not a float"),
    (_set("launches", 0, "args", 3, to={"u64": 1}), "not one of mem, i32, f32"),
    (_set("golden", "inputs", 0, "name", to="z"), 'unknown "z"'),
    (_set("golden", "outputs", 0, "file", to="golden/input0.bin"), "for two things"),
]


@pytest.mark.parametrize(("damage", "words"), DAMAGES, ids=[w for _, w in DAMAGES])
def test_damaged_plan(execute, tmp_path, damage, words):
    plan = make_bundle.plan()
    damage(plan)
    code, result, errors = execute(make_bundle.write(tmp_path / "b", changed_plan=plan), None)
    assert (code, result) == (2, None), errors
    assert words in errors and len(errors.splitlines()) == 1


TEXTS = [
    ("", "expected a value"),
    ("{", "expected"),
    ("[" * 100, "nested too deep"),
    ('{"format":1,"format":1}', 'key "format" twice'),
    ('{"a":1}x', "text after the document"),
    ('{"a":01}', "expected"),
    ('{"a":1e999}', "number out of range"),
    ('{"a":"\\ud800"}', "lone surrogate"),
    ('{"a":"\x01"}', "control character"),
    ('{"a":NaN}', "expected a value"),
    ('{"a":1,}', "expected"),
]


@pytest.mark.parametrize(("text", "words"), TEXTS, ids=[t[:20] for t, _ in TEXTS])
def test_not_json(execute, tmp_path, text, words):
    bundle = make_bundle.write(tmp_path / "b")
    (bundle / "plan.json").write_text(text)
    code, _, errors = execute(bundle, None)
    assert code == 2 and words in errors


def test_broken_utf8_and_missing_folder(execute, tmp_path):
    bundle = make_bundle.write(tmp_path / "b")
    (bundle / "plan.json").write_bytes(b'{"a":"\xc3("}')
    assert execute(bundle, None)[0] == 2
    code, _, errors = execute(tmp_path / "nothing", None)
    assert code == 2 and "is this a bundle folder?" in errors


def test_links_out_of_the_bundle_are_refused(execute, tmp_path):
    bundle = make_bundle.write(tmp_path / "b")
    weights = bundle / "weights.bin"
    weights.rename(tmp_path / "elsewhere.bin")
    weights.symlink_to(tmp_path / "elsewhere.bin")
    code, _, errors = execute(bundle, None)
    assert code == 2 and "not a regular file" in errors


def test_python_and_cpp_accept_the_same_valid_plan(tmp_path):
    from ecp.runtime.bundle import Bundle

    folder: Path = make_bundle.write(tmp_path / "b")
    assert Bundle.load(folder).plan.to_json() == json.loads((folder / "plan.json").read_text())
