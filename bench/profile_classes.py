"""Profiled operators -> classes, by the published table ``op_classes.yaml``; nothing is classified in code."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from baselines.base import OpTime
from ecp.errors import UsageError

FILE = Path(__file__).parent / "op_classes.yaml"
LAYOUT, OTHER = "layout", "other"


class Rule(BaseModel):
    """One line of the table; every condition that is given must hold."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    kind: str = Field(alias="class")
    op: str | None = None
    name: str | None = None
    onnx: str | None = None
    activation_matmul: bool | None = None


class Mapping(BaseModel):
    """The whole file: classes, rules for every backend, rules tried after them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int
    classes: list[str]
    common: list[Rule]
    backends: dict[str, list[Rule]]


@dataclass(frozen=True)
class GraphFacts:
    """What the ONNX graph tells: nodes (and their outputs) that multiply two computed tensors."""

    activation_matmuls: frozenset[str]


def load(path: Path = FILE) -> Mapping:
    """Read and check the table; :class:`UsageError` names the first mistake."""
    try:
        mapping = Mapping.model_validate(yaml.safe_load(path.read_text()))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise UsageError(f"{path}: {' '.join(str(error).split())[:300]}") from error
    for rule in [*mapping.common, *(r for rules in mapping.backends.values() for r in rules)]:
        if rule.kind not in mapping.classes:
            raise UsageError(f"{path}: class {rule.kind!r} is not in the list of classes")
    return mapping


def classify(mapping: Mapping, backend: str, op: OpTime, facts: GraphFacts) -> str:
    """The class of one operator: the backend's own rules first, then the common ones, else ``other``."""
    for rule in [*mapping.backends.get(backend, []), *mapping.common]:
        if _matches(rule, op, facts):
            return rule.kind
    return OTHER


def _matches(rule: Rule, op: OpTime, facts: GraphFacts) -> bool:
    if rule.op is not None and not re.fullmatch(rule.op, op.op_type):
        return False
    if rule.name is not None and not re.fullmatch(rule.name, op.name):
        return False
    if rule.onnx is not None and not re.fullmatch(rule.onnx, _origin(op), re.DOTALL):
        return False
    if rule.activation_matmul is None:
        return True
    return rule.activation_matmul == any(n in facts.activation_matmuls for n in (op.name, *_origins(op)))


def _origins(op: OpTime) -> Sequence[str]:
    found: Any = op.details.get("onnx_nodes") or op.details.get("nodes") or ()
    return found.split(",") if isinstance(found, str) else list(found)


def _origin(op: OpTime) -> str:
    return ",".join(_origins(op))
