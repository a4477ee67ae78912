"""What a claim is, how it is registered and how it is checked."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import exp, log

from reports import numbers


class Verdict(StrEnum):
    """What recomputing a claim showed."""

    HOLDS = "holds"
    FALSE = "false"
    CONFLICT = "conflict"
    DEPENDS = "depends"
    MIXES = "mixes models"
    UNSUPPORTED = "unsupported"
    NOT_COMPARABLE = "not comparable"


MEANING = {
    Verdict.HOLDS: "the published numbers give what is claimed",
    Verdict.FALSE: "the published numbers, or the source they cite, give something else",
    Verdict.CONFLICT: "two places of the paper give different numbers for one thing",
    Verdict.DEPENDS: "true or not by a choice that the paper does not state",
    Verdict.MIXES: "the claim puts numbers of different models into one sentence",
    Verdict.UNSUPPORTED: "the paper has no number that the claim could be computed from",
    Verdict.NOT_COMPARABLE: "the numbers set side by side were taken under different conditions",
}


@dataclass(frozen=True)
class Outcome:
    """Result of one check: recomputed values by name (with their units), verdict and reason."""

    values: Mapping[str, float]
    verdict: Verdict
    because: str


class Reader:
    """Hands out published numbers and remembers which, so that each row can name what it rests on."""

    def __init__(self) -> None:
        self.used: list[str] = []

    def __call__(self, number_id: str) -> float:
        """The value of the published number ``number_id``."""
        return self.published(number_id).value

    def published(self, number_id: str) -> numbers.Published:
        """The published number itself, with its printed digits."""
        if number_id not in self.used:
            self.used.append(number_id)
        return numbers.get(number_id)

    def agrees(self, number_id: str, value: float) -> bool:
        """Whether ``value`` rounds to the printed number."""
        return self.published(number_id).agrees(value)

    def external(self, fact_id: str) -> float:
        """A fact from outside the paper (named with its source in the row)."""
        label = f"external:{fact_id}"
        if label not in self.used:
            self.used.append(label)
        return numbers.external(fact_id).value


Check = Callable[[Reader], Outcome]


@dataclass(frozen=True)
class Claim:
    """A sentence or a derived number of the paper, and the function that recomputes it."""

    id: str
    place: str
    says: str
    formula: str
    check: Check


@dataclass(frozen=True)
class Audited:
    """One row of the audit."""

    claim: Claim
    outcome: Outcome
    rests_on: tuple[str, ...] = field(default=())

    def as_row(self) -> dict[str, object]:
        """The row as plain data, for JSON and templates."""
        return {
            "id": self.claim.id,
            "place": self.claim.place,
            "says": self.claim.says,
            "formula": self.claim.formula,
            "values": {k: round(v, 6) for k, v in self.outcome.values.items()},
            "verdict": str(self.outcome.verdict),
            "because": self.outcome.because,
            "rests_on": list(self.rests_on),
        }


_CLAIMS: dict[str, Claim] = {}
_SUBJECTS = ("latency", "claims_text", "accuracy", "cost")


def claim(claim_id: str, *, place: str, says: str, formula: str) -> Callable[[Check], Check]:
    """Register a check. ``says`` quotes or condenses the paper; ``formula`` is what the function computes."""

    def register(check: Check) -> Check:
        if claim_id in _CLAIMS:
            raise ValueError(f"claim {claim_id} is registered twice")
        _CLAIMS[claim_id] = Claim(claim_id, place, says, formula, check)
        return check

    return register


def audit_all() -> list[Audited]:
    """Every claim, checked, in the order of the subjects' files."""
    for subject in _SUBJECTS:
        importlib.import_module(f"reports.audit.{subject}")
    rows = []
    for one in _CLAIMS.values():
        reader = Reader()
        outcome = one.check(reader)
        rows.append(Audited(one, outcome, tuple(reader.used)))
    return rows


def mean(values: list[float]) -> float:
    """Arithmetic mean."""
    return sum(values) / len(values)


def geomean(values: list[float]) -> float:
    """Geometric mean: the one that does not depend on which side is called the baseline."""
    return exp(mean([log(v) for v in values]))


def holds_if(condition: bool, otherwise: Verdict = Verdict.FALSE) -> Verdict:
    """HOLDS, or the other verdict."""
    return Verdict.HOLDS if condition else otherwise
