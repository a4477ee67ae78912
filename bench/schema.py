"""The one strict door for what was stored: the types of what stands in records.jsonl, run.json and cells.

A schema lists what readers compute with; other keys are kept as they are, so that a newer writer may add some.
Readers get either data of these types or :class:`Malformed`, whose text is one line for people.
"""

from __future__ import annotations

import reprlib
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bench.escape import line
from bench.strict_json import Malformed

SCHEMA_VERSION = 1
STATUSES = ("measured", "unsupported", "unavailable", "failed", "unstable", "not-run")
# Metrics whose samples are times: their ratios and logarithms are taken.
TIMED = ("latency", "versus")
LARGEST = 1e15
LEAST_MS = 1e-9
LONGEST_MODEL = 500


class Newer(Malformed):
    """Stored data of a later schema."""


class _Typed(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


Number = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]
Amount = Annotated[float, Field(ge=0, le=LARGEST)]
Count = Annotated[int, Field(ge=0, le=10**15)]
Readings = Annotated[list[Number], Field(min_length=1)]
Place = Annotated[int, Field(ge=0, le=2**31 - 1)]
Status = Literal["measured", "unsupported", "unavailable", "failed", "unstable", "not-run"]
# Names of one line: they become headings, file names and marks of figures.
_ONE_LINE = r"^[^\x00-\x1f\x7f-\x9f\u2028-\u202e]*$"
Name = Annotated[str, Field(max_length=200, pattern=_ONE_LINE)]
Model = Annotated[str, Field(max_length=LONGEST_MODEL, pattern=_ONE_LINE)]


class Cell(_Typed):
    """:class:`bench.records.CellKey`; lengths are those of the index's columns."""

    device: Annotated[Name, Field(max_length=100)]
    backend: Annotated[Name, Field(max_length=100)]
    backend_version: Name
    model: Model
    model_sha256: Annotated[Name, Field(max_length=64)]
    precision: Annotated[Name, Field(max_length=20)]
    metric: Annotated[Name, Field(max_length=50)]


class Gate(_Typed):
    """:class:`bench.validity.Gate`."""

    name: str
    status: str
    detail: str = ""
    decides: bool = True


class Details(_Typed):
    """What a backend told of itself."""

    launches: Count | None = None
    layout_launches: Count | None = None
    arena_bytes: Amount | None = None
    naive_bytes: Amount | None = None
    materialized: list[list[Any]] | None = None


class Energy(_Typed):
    """Millijoules of an inference, or why not."""

    value: Number | None = None
    reason: str = ""


class Profile(_Typed):
    """Times of a profile, and its tables of operators and launches."""

    layout_ms: Amount | None = None
    compute_ms: Amount | None = None
    latency_ms: Amount | None = None
    class_ms: dict[str, Number] | None = None
    hook_overhead: Number | None = None
    intermediate_mb: Number | None = None
    heaviest: list[dict[str, Any]] | None = None
    launches: list[dict[str, Any]] | None = None


class Extra(_Typed):
    """The keys of ``extra`` that a reader computes with."""

    unit: Annotated[str, Field(max_length=20)] | None = None
    source: Annotated[str, Field(max_length=50)] | None = None
    threads: Place | None = None
    batch: Annotated[int, Field(ge=1, le=10**9)] | None = None
    options: dict[str, Any] = {}
    details: Details = Details()
    gates: list[Gate] | None = None
    energy: Energy = Energy()
    profile: Profile | None = None
    turn_lengths: list[Annotated[int, Field(ge=1, le=10**9)]] | None = None
    plain_ms: list[Amount] | None = None
    wilson: Annotated[list[Number], Field(min_length=2, max_length=2)] | None = None
    counts: dict[str, Any] | None = None
    miss_rates: dict[str, Number] | None = None
    geometry: dict[str, Any] | None = None
    kernels: dict[str, dict[str, Any]] | list[dict[str, Any]] | None = None
    first_failure: dict[str, Any] | None = None
    level_with: list[str] | None = None
    value: Number | None = None
    block_wall_s: Amount | None = None
    pair_wall_s: Amount | None = None
    worker_start_s: Amount | None = None
    worker_total_s: Amount | None = None
    wall_ms: Amount | None = None
    device_ms: Amount | list[Amount] | None = None  # one of all inferences, or one each (phones)
    median_ms: Amount | None = None
    against_ms: Amount | None = None
    idle_mib: Amount | None = None
    prepared_mib: Amount | None = None
    above_idle_mib: Number | None = None
    peak_mib: Amount | None = None


class Error(_Typed):
    """How far the output was from the reference."""

    ok: bool | None = None
    max_abs: Amount | None = None
    limit: Amount | None = None
    ref: str | None = None
    top1_agreement: Number | None = None


T = TypeVar("T")


class Reading(_Typed, Generic[T]):
    """What was read, or nothing and the reason in ``unknown``."""

    value: T | None = None
    unknown: str | None = None


class State(_Typed):
    """Readings of the machine that the gates compute with (:mod:`bench.validity`)."""

    affinity: Reading[list[int]] | None = None
    clocks_mhz: Reading[Readings] | None = None
    cpu_s: Reading[dict[str, Amount]] | None = None
    own_cpu_s: Reading[Amount] | None = None
    monotonic_s: Reading[Amount] | None = None
    speed_probe_ms: Reading[Amount] | None = None
    temperature_c: Reading[Readings] | None = None
    throttle_count: Reading[Count] | None = None
    memory_mib: Reading[dict[str, Amount]] | None = None
    utc: Reading[str] | None = None

    @model_validator(mode="before")
    @classmethod
    def _readings(cls, data: Any) -> Any:
        # What stands there without a source is no reading, and no gate looks at it.
        return {k: v for k, v in data.items() if isinstance(v, dict)} if isinstance(data, dict) else data


class Block(_Typed):
    """A line of records.jsonl: :class:`bench.records.BlockRecord`."""

    run_id: Name
    seq: Place
    block: Place
    cell: Cell
    status: Status
    reason: str = ""
    warmup_ms: list[Amount] = []
    samples_ms: list[Amount] = []
    first_ms: Amount | None = None
    compile_s: Amount | None = None
    error: Error = Error()
    env_before: State = State()
    env_after: State = State()
    extra: Extra = Extra()
    schema_version: int
    kind: Literal["block"]

    @model_validator(mode="after")
    def _times(self) -> Block:
        if self.cell.metric in TIMED and any(t < LEAST_MS for t in self.samples_ms):
            raise ValueError("a sample is no time above zero")
        turns = self.extra.turn_lengths
        if turns and self.samples_ms and sum(turns) != len(self.samples_ms):
            raise ValueError(f"turns of {sum(turns)} samples do not cut {len(self.samples_ms)} samples")
        return self


class Git(_Typed):
    """The revision that was measured."""

    commit: Annotated[Name, Field(max_length=64)] | None = None
    branch: Name | None = None
    dirty: bool | None = None


class GitReading(_Typed):
    """:class:`Git` with its source."""

    value: Git | None = None


class Environment(_Typed):
    """What run.json says of the machine, as far as a reader takes it apart."""

    git: GitReading | Git | None = None


class RunFacts(_Typed):
    """run.json."""

    schema_version: int = SCHEMA_VERSION
    run_id: Name | None = None
    began: str | None = None
    metric: str | None = None
    state: str | None = None
    interleaved_with: str | None = None
    request: dict[str, Any] | None = None
    command: list[str] | None = None
    environment: Environment | None = None
    host: dict[str, Any] | None = None
    git: Git | None = None
    plan: list[dict[str, Any]] | None = None
    models: dict[str, dict[str, Any]] | None = None
    device: dict[str, Any] | None = None


class Row(_Typed):
    """A cell as ``--json`` writes it (:class:`bench.cells.Cell`), with what reports add."""

    device: Name = ""
    backend: Name = ""
    backend_version: str = ""
    model: Model
    model_sha256: str = ""
    precision: Name = ""
    metric: Name
    status: str
    value: Number | None = None
    unit: str | None = None
    ci: list[Number | None] | None = None
    blocks: list[list[Number]] | None = None
    source: str | None = None
    reason: str | None = None
    variant: Name | None = None
    against: Model | None = None
    extra: Extra | None = None


class _TrainedModel(_Typed):
    name: Model = ""
    core_ratio: Number = 1.0


class _TrainedOn(_Typed):
    kind: Name = ""
    per_class: Count | None = None


class _Recipe(_Typed):
    epochs: Number | None = None


class _Training(_Typed):
    model: _TrainedModel = _TrainedModel()
    data: _TrainedOn = _TrainedOn()
    recipe: _Recipe = _Recipe()
    seed: int | None = None


class _Core(_Typed):
    method: Name | None = None


class Summary(_Typed):
    """What ``bench train`` writes when it is done."""

    top1: Number
    config: _Training
    core: _Core | None = None
    device: Name = ""
    torch: str = ""
    train_images: Count | None = None
    classes: list[str | int] | None = None


def explain(error: ValidationError) -> str:
    """Place and reason of the first mistake, and how many more there are: one line."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    more = error.error_count() - 1
    said = f"{place}: {first['msg'].lower()}" if place else first["msg"].removeprefix("Value error, ")
    if place and first["type"] != "missing":
        said += f", not {reprlib.repr(first['input'])}"
    return _short(said, 200) + (f" (and {more} more)" if more else "")


def check(kind: type[BaseModel], data: Any) -> dict[str, Any]:
    """``data`` itself where it has the types of ``kind``. Raises :class:`Malformed`, or :class:`Newer`."""
    if not isinstance(data, dict):
        raise Malformed(f"{type(data).__name__} where an object should be")
    version = data.get("schema_version", SCHEMA_VERSION)
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise Newer(
            f"written by schema {version}, this program reads up to {SCHEMA_VERSION} (a newer release reads it)"
        )
    try:
        kind.model_validate(data)
    except ValidationError as error:
        raise Malformed(explain(error)) from error
    return data


def _short(text: str, most: int = 60) -> str:
    told = line(text)
    return told if len(told) <= most else told[: most - 1] + "…"
