"""Summaries of ``bench train`` as measured cells: several seeds of one set-up become one cell with their range."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any


def is_summary(data: Any) -> bool:
    """Whether a JSON file is what ``bench train`` writes."""
    return isinstance(data, Mapping) and "top1" in data and isinstance(data.get("config"), Mapping)


def is_core_order(data: Any) -> bool:
    """Whether a JSON file is the core set beside a summary, which says of it what matters here."""
    return isinstance(data, Mapping) and data.get("format") == "ecp-core-order"


def model_name(config: Mapping[str, Any]) -> str:
    """The registry's name of the trained network: ``vit_small_patch16_224`` at ratio 0.3 -> ``ecp_vit_small@0.3``."""
    model = config.get("model") or {}
    name = re.sub(r"_patch\d+.*$", "", str(model.get("name", "")))
    ratio = float(model.get("core_ratio", 1.0))
    return name if ratio >= 1.0 else f"ecp_{name}@{ratio:g}"


def dataset_name(summary: Mapping[str, Any]) -> str:
    """The data set's name, which says so where only a part of it was trained on.

    ImageNet-1K comes in the layout of any folder of pictures: its thousand synset names tell it.
    """
    data = summary["config"].get("data") or {}
    name, classes = str(data.get("kind", "")), summary.get("classes") or []
    if (
        name == "imagefolder"
        and len(classes) == 1000
        and all(re.fullmatch(r"n\d{8}", str(c)) for c in classes)
    ):
        name = "imagenet"
    part = data.get("per_class")
    return f"{name} ({part} images per class)" if part else name


def cells(summaries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows in the form of ``--json`` cells, one per model, data set and core choice.

    ``ci`` is the range over the seeds (nothing for a single seed), which ``extra`` says.
    """
    groups: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for s in summaries:
        config = s["config"]
        choice = str((s.get("core") or {}).get("method", ""))
        key = (model_name(config), dataset_name(s), choice)
        groups.setdefault(key, []).append(s)
    return [_cell(*key, some) for key, some in groups.items()]


def _cell(model: str, dataset: str, choice: str, some: list[Mapping[str, Any]]) -> dict[str, Any]:
    values = [float(s["top1"]) for s in some]
    recipe = some[0]["config"].get("recipe") or {}
    return {
        "device": str(some[0].get("device", "")),
        "backend": "torch",
        "backend_version": str(some[0].get("torch", "")),
        "model": model,
        "precision": "fp32",
        "metric": "train",
        "status": "measured",
        "value": fmean(values),
        "unit": "%",
        "ci": [min(values), max(values)] if len(values) > 1 else None,
        "blocks": [[v] for v in values],
        "source": "labels",
        "reason": "",
        "variant": f"core by {choice}" if choice and choice != "grad-cam" else "",
        "extra": {
            "dataset": dataset,
            "core_choice": choice,
            "seeds": [s["config"].get("seed") for s in some],
            "epochs": recipe.get("epochs"),
            "images": some[0].get("train_images"),
            "interval": "range over seeds",
        },
    }
