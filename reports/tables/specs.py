"""Per paper table: its finder, which cell gives a cell's direction, and the command that would measure it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.models.spec import REGISTRY
from reports import costs
from reports.numbers import Column, Row
from reports.tables import find
from reports.tables.find import FRAMEWORKS, ON_DEVICE, ONE, Context, Find, Found, model_of, unlike_device

# The core ratio of the paper's best accuracies.
BEST_RATIO = 0.9


def same_row_reference(pairs: dict[str, str]) -> Callable[[str, str], tuple[str, str] | None]:
    """Reference cell: the same column in the paired row."""
    return lambda row, column: (pairs[row], column) if row in pairs else None


def reference_t7(row: str, column: str) -> tuple[str, str] | None:
    """Others against ours in the same row; ours on ECP-ViT against ours on the vanilla model; speedups
    against 1."""
    if column == "speedup":
        return ONE
    if column != "ours":
        return (row, "ours")
    return (row.removeprefix("ecp_"), "ours") if row.startswith("ecp_") else None


def reference_t5(row: str, column: str) -> tuple[str, str] | None:
    """ECP-ViT against ViT; gains against zero are the same statement, so they have no reference of their
    own."""
    return ("vit_small", column) if row == "ecp_vit_small" and not column.endswith("_gain") else None


def reference_t2(row: str, column: str) -> tuple[str, str] | None:
    """ECP-ViT's accuracy against the vanilla ViT of the same size."""
    pairs = {"ecp_vit_small": "vit_small", "ecp_vit_base": "vit_base"}
    return (pairs[row], column) if column == "top1" and row in pairs else None


def _device_command(metric: str) -> Callable[[Context, Row, Column], str]:
    def command(context: Context, row: Row, column: Column) -> str:
        # With the reference cell in the same run: a direction is not taken across two.
        backend = str(column.conditions.get("backend", "ecp"))
        what = str(column.conditions["metric"])
        others = ("tvm", "mnn") if what not in ON_DEVICE else () if backend == "ecp" else FRAMEWORKS[backend]
        name = what if what in ON_DEVICE else metric
        dense = str(row.conditions["model"]).removeprefix("ecp_")
        models, names = f"{dense},ecp_{dense}", ",".join(["ecp", *others])
        return f"nox -s {name} -- --device {context.device} --models {models} --backends {names}"

    return command


def _profile_command(context: Context, row: Row, column: Column) -> str:
    return f"nox -s profile -- --device {context.device} --models vit_base,deit_base --backends mnn"


def _accuracy_command(dataset: str) -> Callable[[Context, Row, Column], str]:
    def command(context: Context, row: Row, column: Column) -> str:
        name = costs.ALIASES.get(str(row.conditions["model"]), str(row.conditions["model"]))
        maker = REGISTRY[name][0] if name in REGISTRY else ""
        if column.conditions["metric"] in ("params", "macs", "resolution"):
            return (
                f"nox -s latency -- --quick --backends onnxruntime --models {name if maker else 'onnx:FILE'}"
            )
        data = str(column.conditions.get("dataset", dataset))
        if maker not in ("timm", "ecp"):  # no package has its weights: an export of the authors' own
            return f"nox -s accuracy -- --models onnx:FILE --dataset {data} --data PATH"
        best = row.conditions.get("ratio") == "best"
        model = f"{name}@{BEST_RATIO}" if best else model_of(row, column) if maker == "ecp" else name
        return f"nox -s train -- --model {model} --dataset {data} --data PATH"

    return command


def _none(context: Context) -> tuple[str, ...]:
    return ()


def _latency_backends(context: Context) -> tuple[str, ...]:
    named = {b for group in FRAMEWORKS.values() for b in group}
    rows = context.store.find(device=context.device, precision=context.precision, metric="latency")
    return tuple(dict.fromkeys(c.backend for c in rows if c.backend not in named))


def _find_further(context: Context, row: Row, backend: str) -> Found:
    return Found.of(context.cell("latency", str(row.conditions["model"]), backend), unlike_device(context))


@dataclass(frozen=True)
class Spec:
    """How one table is rebuilt."""

    find: Find
    reference: Callable[[str, str], tuple[str, str] | None]
    command: Callable[[Context, Row, Column], str]
    per_device: bool = False
    further_backends: Callable[[Context], tuple[str, ...]] = _none
    find_further: Callable[[Context, Row, str], Found] = _find_further
    text: tuple[str, ...] = ()

    def notes(self, context: Context) -> tuple[str, ...]:
        """Sentences below the table."""
        return self.text


_SAME_SIZE = {"ecp_vit_base": "vit_base", "deit_base": "vit_base"}
SPECS: dict[str, Spec] = {
    "t1": Spec(
        find.find_t1,
        same_row_reference(_SAME_SIZE),
        _profile_command,
        per_device=True,
        text=("Plain DeiT-B/16 is ViT-B/16's network: from one export the two should not differ.",),
    ),
    "t2": Spec(
        find.find_t2,
        reference_t2,
        _accuracy_command("imagenet"),
        text=("Parameters and MACs are counted from the networks (matmuls, convolutions, patches, head).",),
    ),
    "t3": Spec(
        find.find_t3,
        lambda row, column: (row, "1.0") if column != "1.0" else None,
        _accuracy_command("imagenet"),
    ),
    "t4": Spec(
        find.find_t4,
        lambda row, column: ("vit_base", column) if column == "top1" and row != "vit_base" else None,
        _accuracy_command("tiny-imagenet"),
        text=(
            "Parameters are counted with the data set's 200 classes; the printed ones are those of 1000-class heads. "
            "Image Res. is a setting: it gets no verdict.",
        ),
    ),
    "t5": Spec(find.find_t5, reference_t5, _accuracy_command("stl10")),
    "t6": Spec(
        find.find_t6,
        same_row_reference(_SAME_SIZE),
        _device_command("latency"),
        per_device=True,
        text=(
            "Measured memory: peak resident set of a whole process, MiB; the paper does not define its own.",
        ),
    ),
    "t7": Spec(
        find.find_t7,
        reference_t7,
        _device_command("latency"),
        per_device=True,
        further_backends=_latency_backends,
        text=(
            "Measured latency: median of block medians with its exact 95 % interval over blocks. "
            "Measured speedup: mean over those of TVM and MNN that were measured, as the paper does.",
        ),
    ),
}
