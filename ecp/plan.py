"""The plan of a bundle (``plan.json``) as types: what is allocated, built and launched, declared once.

Read and written through :mod:`ecp.typed_json`; the schema that follows from these types is ``plan.schema.json``
(``python -m ecp.plan`` prints it), and the native reader (native/src/bundle.cpp) is tested against it. Whoever adds,
removes or renames a field raises :data:`VERSION`: both readers refuse a version or a field that they do not know.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any

from ecp import typed_json
from ecp.options import Switches
from ecp.precision import ARITHMETICS, PRECISIONS
from ecp.typed_json import Items, Text, Whole

FORMAT, VERSION = "ecp-bundle", 2
# Far above any real model, far below what could exhaust a phone; native/src/bundle.cpp has the same.
MOST_BYTES, MOST_ITEMS, MOST_COUNT = 1 << 40, 1 << 31, 1 << 62
MOST_RANK, MOST_ARGUMENTS = 32, 1024
DTYPES = (
    "float32", "float16", "float64", "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8", "bool",
)  # fmt: skip

Name = Annotated[str, Text(least=1)]
# "name" or "folder/name"; never hidden, never outside the bundle.
File = Annotated[
    str, Text(least=1, pattern=r"(?:[A-Za-z0-9_][A-Za-z0-9_.\-]*/)?[A-Za-z0-9_][A-Za-z0-9_.\-]*")
]
Bytes = Annotated[int, Whole(0, MOST_BYTES)]
Size = Annotated[int, Whole(1, MOST_BYTES)]
Count = Annotated[int, Whole(0, MOST_COUNT)]
Side = Annotated[int, Whole(1, 65536)]
WorkItems = Annotated[list[Annotated[int, Whole(1, MOST_ITEMS)]], Items(1, 3)]
Arithmetic = Annotated[str, Text(choices=ARITHMETICS)]
Scalar = int | float | str | bool


@dataclass(slots=True)
class Model:
    """The model's name and the hash of its content."""

    name: str
    sha256: Annotated[str, Text(pattern="(?:[0-9a-f]{64})?")]


@dataclass(slots=True)
class Port:
    """An input or output of the model: a dense tensor in ``mem``."""

    name: Name
    shape: Annotated[list[Bytes], Items(0, MOST_RANK)]
    dtype: Annotated[str, Text(choices=DTYPES)]
    mem: str


@dataclass(slots=True)
class Pool:
    """Memory that is allocated at once; ``file`` holds its content where it has one, ``ro`` is never written to."""

    name: Name
    bytes: Bytes
    file: File | None
    access: Annotated[str, Text(choices=("ro", "rw"))]


@dataclass(slots=True)
class Image:
    """An image2d of texels of four numbers."""

    width: Side
    height: Side
    format: Annotated[str, Text(choices=("RGBA_F32", "RGBA_F16"))]


@dataclass(slots=True)
class Mem:
    """What a kernel's argument names: a range of a pool, as a buffer or an image."""

    name: Name
    pool: str
    offset: Bytes
    bytes: Size
    image: Image | None = None


@dataclass(slots=True)
class Program:
    """One OpenCL C file. ``target``: instructions beyond what the device's compiler has (``sm_90a``), else empty."""

    name: Name
    file: File
    options: str
    target: Annotated[str, Text(choices=("", "sm_90a"))] = ""


@dataclass(slots=True)
class MemArgument:
    """The mem of this name."""

    mem: str


@dataclass(slots=True)
class IntArgument:
    """An ``int``."""

    i32: Annotated[int, Whole(-(1 << 31), (1 << 31) - 1)]


@dataclass(slots=True)
class FloatArgument:
    """A ``float``."""

    f32: float


@dataclass(slots=True)
class Launch:
    """A kernel with its arguments. ``local_size`` None: the driver's choice. ``flops`` and ``bytes`` are counted.

    ``nodes``: the ONNX nodes it computes; ``layout``: it only moves data, and ``reason`` says why.
    ``resident_groups``: work-groups that wait for each other, so that all must run at once.
    """

    program: str
    kernel: Name
    args: Annotated[list[MemArgument | IntArgument | FloatArgument], Items(0, MOST_ARGUMENTS)]
    global_size: WorkItems
    local_size: WorkItems | None
    family: str
    nodes: list[str] = field(default_factory=list)
    flops: Count = 0
    bytes: Count = 0
    layout: bool = False
    reason: str = ""
    arithmetic: Arithmetic = "float"
    target: Annotated[str, Text(choices=("", "sm_90a"))] = ""
    resident_groups: Annotated[int, Whole(0, MOST_ITEMS)] = 0


@dataclass(slots=True)
class Group:
    """``launch`` stands for ``count`` launches from number ``first``; these stay for the profiler."""

    first: Annotated[int, Whole(0, 100_000)]
    count: Annotated[int, Whole(1, 100_000)]
    launch: Launch


@dataclass(slots=True)
class Check:
    """The indices of tensor ``index`` into ``size`` elements that ``node`` reads by."""

    node: str
    index: str
    size: Size


@dataclass(slots=True)
class Status:
    """Where kernels note run-time indices that are outside: in ``mem``, by number (from 1) of the check."""

    mem: str
    checks: list[Check]


@dataclass(slots=True)
class GoldenFile:
    """The content of a port, to check with."""

    name: str
    file: File


@dataclass(slots=True)
class Golden:
    """A stored input and its reference output."""

    inputs: list[GoldenFile] = field(default_factory=list)
    outputs: list[GoldenFile] = field(default_factory=list)


@dataclass(slots=True)
class ChosenSchedule:
    """The schedule's row and where it is from: ``given``, ``tuned on this device`` or ``shipped``. For the record."""

    source: str
    row: dict[str, Scalar | list[int]]


@dataclass(slots=True)
class Report:
    """What the compiler did, for people and for the record (``explain`` prints it).

    ``compile_seconds`` is what the call took that gave the bundle: a look-up where ``from_cache``, and then
    ``cold_compile_seconds`` is what the compile took that filled the cache. ``dispatches``: calls of the driver for
    one inference, fewer than ``launches`` where these are grouped. ``arithmetic`` is what was asked for,
    ``half_launches`` how many launches multiply in half (products and convolutions), ``wgmma_launches`` how many
    products by ``wgmma``.
    """

    imported_nodes: Count = 0
    transformative_nodes: Count = 0
    eliminated: Count = 0
    launches: Count = 0
    dispatches: Count = 0
    layout_launches: Count = 0
    layout_bytes: Count = 0
    materialized: list[tuple[str, str]] = field(default_factory=list)
    arena_bytes: Count = 0
    naive_bytes: Count = 0
    weight_bytes: Count = 0
    macs: Count = 0
    compile_seconds: float = 0.0
    # Whether this came from a cache is known to the one who asks, not to the plan on disk.
    from_cache: bool = field(default=False, metadata={"stored": False})
    cold_compile_seconds: float = 0.0
    arithmetic: Arithmetic = "float"
    half_launches: Count = 0
    wgmma_launches: Count = 0


@dataclass(slots=True)
class Plan:
    """Everything of a bundle but the contents of its files.

    ``persistent``: one launch computes the whole network; where it does not though it might have,
    ``persistent_reason`` says why.
    """

    inputs: list[Port]
    outputs: Annotated[list[Port], Items(1)]
    pools: list[Pool]
    mems: list[Mem]
    programs: list[Program]
    launches: list[Launch]
    groups: list[Group] = field(default_factory=list)
    status: Status | None = None
    format: Annotated[str, Text(choices=(FORMAT,))] = FORMAT
    version: Annotated[int, Whole(VERSION, VERSION)] = VERSION
    model: Model = field(default_factory=lambda: Model("", ""))
    device: str = ""
    device_class: str = ""
    precision: Annotated[str, Text(choices=PRECISIONS)] = "fp32"
    arithmetic: Arithmetic = "float"
    options: Switches = field(default_factory=Switches)
    persistent: bool = False
    persistent_reason: str = ""
    schedule: ChosenSchedule | None = None
    report: Report = field(default_factory=Report)
    golden: Golden = field(default_factory=Golden)

    def dispatched(self) -> Iterator[Launch]:
        """What one inference enqueues: groups, and the launches that none of them stands for."""
        starts, at = {g.first: g for g in self.groups}, 0
        while at < len(self.launches):
            group = starts.get(at)
            yield group.launch if group else self.launches[at]
            at += group.count if group else 1

    def every_launch(self) -> Iterator[Launch]:
        """All launches, then those of the groups."""
        yield from self.launches
        yield from (group.launch for group in self.groups)

    def to_json(self) -> dict[str, Any]:
        """The content of plan.json."""
        return typed_json.encode(self)  # type: ignore[no-any-return]

    @staticmethod
    def from_json(data: bytes) -> Plan:
        """The inverse. Raises :class:`~ecp.typed_json.FormError`; references are checked by ``ecp.plan_check``."""
        content = typed_json.parse(data)
        if type(content) is dict:  # before any other word: a later version has other fields
            given = content.get("format"), content.get("version")
            if given[0] != FORMAT:
                raise typed_json.FormError("has no format ecp-bundle")
            if type(given[1]) is not int or given[1] != VERSION:
                raise typed_json.FormError(
                    f"is of version {str(given[1])[:40]}, this reader takes {VERSION} only"
                )
        return typed_json.decode(Plan, content)  # type: ignore[no-any-return]


def schema() -> dict[str, Any]:
    """The JSON schema of plan.json."""
    return typed_json.schema(Plan, f"plan.json of an ECP bundle, version {VERSION}")


if __name__ == "__main__":
    import json

    print(json.dumps(schema(), indent=1))
