"""The accuracy rows of Tables 2 to 5 as trainings: which networks on which data set, and for about how long."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from bench.models.spec import parse
from bench.names import check_name
from reports import costs
from reports.measured import Store
from reports.tables.find import EPOCHS

# Dense rows, and the networks whose core-periphery form has a row or, in Table 3, a row per ratio.
ROWS = {
    "imagenet": (("vit_tiny", "vit_small", "vit_base"), ("vit_tiny", "vit_small", "vit_base")),
    "tiny-imagenet": (("vit_base", "deit_base", "beit_base", "convit_base"), ("vit_base",)),
    "stl10": (("vit_small",), ("vit_small",)),
    "cifar100": (("vit_small",), ("vit_small",)),
}
RATIOS = tuple(i / 10 for i in range(1, 10))
IMAGES = {"imagenet": 1_281_167, "tiny-imagenet": 100_000, "stl10": 5_000, "cifar100": 50_000}
# For the estimate alone: multiply-accumulates in units of 10^9 that a training gets through in a second.
GMACS_PER_S = {"gpu": 15_000.0, "cpu": 100.0}
PASSES = 3  # a step is about three inferences
# --quick: one epoch of a part, a look and not a result; the tables say so.
QUICK_PER_CLASS = 20
QUICK_IMAGES = 4_000


@dataclass(frozen=True)
class Training:
    """One row's training: the model, the harness's arguments, and the seconds it may take."""

    model: str
    arguments: tuple[str, ...]
    seconds: float


def trainings(
    dataset: str, data: str, models: tuple[str, ...] | None, quick: bool, store: Store
) -> list[Training]:
    """All rows of a data set, or those of ``models``; one seed each, as in the paper."""
    dense, pruned = ROWS[check_name("data set of the paper", dataset, ROWS)]
    rows = (*dense, *(f"ecp_{m}@{r:g}" for m in pruned for r in RATIOS))
    return [_training(m, dataset, data, quick, store) for m in models or rows]


def _training(model: str, dataset: str, data: str, quick: bool, store: Store) -> Training:
    arguments = ["train", "--model", model, "--dataset", dataset, "--data", data]
    if quick:
        arguments += ["--set", "recipe.epochs=1", "--set", f"data.per_class={QUICK_PER_CLASS}"]
    cost = costs.of(parse(model).name, store)
    seen = QUICK_IMAGES if quick else EPOCHS * IMAGES[dataset]
    speed = GMACS_PER_S["gpu" if shutil.which("nvidia-smi") else "cpu"]
    return Training(model, tuple(arguments), PASSES * seen * (cost.macs_g if cost else 17.0) / speed)
