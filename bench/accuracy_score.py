"""From predictions to numbers: top-1 with its Wilson interval, agreement with the reference. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.datasets.base import Dataset, Item
from bench.protocol import Reply
from bench.stats.wilson import wilson

NAMED = 20

Predictions = Mapping[int, Mapping[str, Any]]


def corrupt(predictions: Predictions) -> list[str]:
    """What is wrong with each picture that could not be decoded, in order."""
    return [str(row["corrupt"]) for _, row in sorted(predictions.items()) if "corrupt" in row]


def _share(hits: int, of: int) -> dict[str, Any]:
    low, high = wilson(hits, of)
    return {"correct": hits, "of": of, "percent": 100.0 * hits / of, "wilson": [100.0 * low, 100.0 * high]}


def refusal(data: Dataset, predictions: Predictions, allow_incomplete: bool) -> str:
    """Why no accuracy is claimed of this copy ('' where it can be)."""
    bad = corrupt(predictions)
    if allow_incomplete:
        return ""
    if data.problems:
        return (
            f"the data set is incomplete: {'; '.join(data.problems)}; --allow-incomplete measures it anyway"
        )
    if bad:
        more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
        return f"{len(bad)} pictures cannot be decoded: {'; '.join(bad[:3])}{more}; replace them, or --allow-incomplete"
    return ""


def score(
    data: Dataset, items: Sequence[Item], predictions: Predictions, *, allow_incomplete: bool, version: str
) -> Reply:
    """Metric ``accuracy``: the share of pictures whose top class is the label, in %."""
    missing = len(items) - len(predictions)
    if missing:
        return Reply(
            "not-run", f"{missing} of {len(items)} pictures are left: --resume finishes them", version
        )
    extra: dict[str, Any] = {**data.describe(), "evaluated": len(items), "unit": "%", "source": "labels"}
    extra["corrupt"] = corrupt(predictions)[:NAMED]
    extra["corrupt_count"] = len(corrupt(predictions))
    refused = refusal(data, predictions, allow_incomplete)
    if refused:
        return Reply("failed", refused, version, extra=extra)
    seen = {i: row for i, row in predictions.items() if "p" in row}
    outputs = {row["n"] for row in seen.values()}
    if not seen:
        return Reply("failed", "no picture could be decoded", version, extra=extra)
    if outputs != {len(data.classes)}:
        have = ", ".join(map(str, sorted(outputs)))
        why = f"the model has {have} outputs and {data.name} has {len(data.classes)} classes; fine-tune it first"
        return Reply(
            "unavailable", f"{why} (`bench train`), or give a model of that data set", version, extra=extra
        )
    extra |= _share(sum(row["p"] == items[i].label for i, row in seen.items()), len(seen))
    return Reply("measured", "", version, samples_ms=[extra["percent"]], extra=extra)


def agreement(
    data: Dataset, predictions: Predictions, reference: Predictions, reference_name: str, version: str
) -> Reply:
    """Metric ``agreement``: the share of pictures on which backend and reference answer the same, in %."""
    both = [i for i, row in predictions.items() if "p" in row and "p" in reference.get(i, {})]
    if not both:
        return Reply("not-run", f"no picture was answered by both it and {reference_name}", version)
    same = sum(predictions[i]["p"] == reference[i]["p"] for i in both)
    extra = {**data.describe(), "unit": "%", "source": "predictions", "reference": reference_name}
    extra |= _share(same, len(both))
    return Reply("measured", "", version, samples_ms=[extra["percent"]], extra=extra)
