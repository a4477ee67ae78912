"""Checkpoints as one safetensors file: weights, optimiser, random state, and where the run stood.

Nothing is pickled. A file is written beside the old one and renamed over it, so an interruption leaves the
last complete checkpoint.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ecp.errors import UsageError


@dataclass
class Progress:
    """Where a run stands: the next ``step`` counted over all epochs, and what was measured so far."""

    step: int
    config: dict[str, Any]
    data_sha256: str
    core: dict[str, Any]
    curve: list[dict[str, float]]
    scaler: dict[str, Any]


def save(
    path: Path,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    extra: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """Write atomically; ``extra`` tensors come back from :func:`extras`."""
    tensors = {f"model.{k}": v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        for name, value in state.items():
            tensors[f"optimizer.{index}.{name}"] = torch.as_tensor(value).detach().cpu().contiguous()
    tensors |= {f"extra.{k}": v.detach().cpu().contiguous() for k, v in (extra or {}).items()}
    tensors["random.cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, metadata={"progress": json.dumps(progress.__dict__)})
    partial.replace(path)


def read_progress(path: Path) -> Progress:
    """The progress of a checkpoint; :class:`UsageError` if the file is missing or damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            return Progress(**json.loads((file.metadata() or {})["progress"]))
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        raise UsageError(
            f"{path}: not a checkpoint of this project ({type(error).__name__}: {error})"
        ) from error


def extras(path: Path) -> dict[str, torch.Tensor]:
    """The ``extra`` tensors of a checkpoint."""
    with safe_open(path, framework="pt") as file:
        return {n[6:]: file.get_tensor(n) for n in file.keys() if n.startswith("extra.")}  # noqa: SIM118 - no dict


def model_state(path: Path) -> dict[str, torch.Tensor]:
    """The weights alone, of a checkpoint or of a plain safetensors file of weights."""
    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            if any(n.startswith("model.") for n in names):
                return {n[6:]: file.get_tensor(n) for n in names if n.startswith("model.")}
            return {n: file.get_tensor(n) for n in names}
    except (OSError, SafetensorError) as error:
        raise UsageError(f"{path}: not a safetensors file ({error})") from error


def restore(path: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
    """Load weights, optimiser and random state back; the run then continues bit for bit."""
    progress = read_progress(path)
    model.load_state_dict(model_state(path))
    whole = optimizer.state_dict()
    with safe_open(path, framework="pt") as file:
        names = list(file.keys())
        for name in (n for n in names if n.startswith("optimizer.")):
            _, index, key = name.split(".")
            whole["state"].setdefault(int(index), {})[key] = file.get_tensor(name)
        torch.set_rng_state(file.get_tensor("random.cpu"))
        if "random.cuda" in names and torch.cuda.is_available():
            torch.cuda.set_rng_state(file.get_tensor("random.cuda"))
    learning_rates = [group["lr"] for group in whole["param_groups"]]
    optimizer.load_state_dict(whole)
    for group, rate in zip(optimizer.param_groups, learning_rates):
        group["lr"] = rate
    return progress
