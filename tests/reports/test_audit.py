"""The audit against the table of claims that was recomputed by hand, and against a changed paper."""

from decimal import Decimal
from pathlib import Path

import pytest
import yaml

from reports import numbers
from reports.audit import audit_all, vit_math

GOLDEN = yaml.safe_load((Path(__file__).parent / "golden_claims.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def audited():
    return {row.claim.id: row for row in audit_all()}


@pytest.mark.parametrize("row", GOLDEN, ids=lambda r: r["id"])
def test_golden_row(audited, row):
    got = audited[row["id"]]
    assert got.outcome.verdict == row["verdict"]
    for name, want in row["values"].items():
        unit = 10.0 ** -max(0, -int(Decimal(str(want)).as_tuple().exponent))
        assert abs(got.outcome.values[name] - want) <= 0.55 * unit, name


def test_further_claims_and_their_sources(audited):
    assert len(audited) >= len(GOLDEN) + 15
    for row in audited.values():
        assert row.rests_on, row.claim.id
        assert row.outcome.because and row.claim.formula, row.claim.id


@pytest.mark.parametrize(
    ("size", "dense", "at_08", "params"),
    [("tiny", 1.254, 1.247, 5.717), ("small", 4.599, 4.585, 22.051), ("base", 17.564, 17.536, 86.568)],
)
def test_macs_and_parameters_of_a_vit(size, dense, at_08, params):
    assert round(vit_math.macs(size), 3) == dense
    assert round(vit_math.macs(size, 0.8), 3) == at_08
    assert round(vit_math.params(size), 3) == params
    assert round(vit_math.macs(size, 1.0), 9) == round(vit_math.macs(size), 9)


def test_a_verdict_follows_the_numbers(audited, monkeypatch):
    """Change one published number: the claim that rests on it must change its verdict."""
    assert audited["t6.ecp_latency"].outcome.verdict == "conflict"
    real = numbers.get

    def changed(number_id):
        return real("t7.ecp_vit_base.ours" if number_id == "t6.ecp_vit_base.latency" else number_id)

    monkeypatch.setattr(numbers, "get", changed)
    assert {r.claim.id: r for r in audit_all()}["t6.ecp_latency"].outcome.verdict == "holds"
