"""Order of measurements: random, interleaved, repeatable."""

from __future__ import annotations

import json

from bench.plan import Case, make_plan, plan_from_json, plan_to_json, retry_steps

CASES = [Case("local", backend, "vit_tiny", "latency") for backend in ("a", "b", "c", "d")]


def test_every_round_holds_every_case_once() -> None:
    steps = make_plan(CASES, blocks=10, seed=3)
    assert [s.seq for s in steps] == list(range(40))
    for block in range(10):
        assert sorted(s.case.backend for s in steps if s.block == block) == ["a", "b", "c", "d"]
    assert [s.block for s in steps] == sorted(s.block for s in steps)


def test_the_order_is_random_and_the_seed_fixes_it() -> None:
    def order(seed: int) -> list[str]:
        return [s.case.backend for s in make_plan(CASES, 10, seed)]

    assert order(1) == order(1) and order(1) != order(2)
    rounds = {tuple(order(1)[i : i + 4]) for i in range(0, 40, 4)}
    assert len(rounds) > 3


def test_the_plan_survives_json() -> None:
    steps = make_plan([Case("d", "b", "m", "latency", "fp16", 1, {"b.x": "1"})], 2, 0)
    assert plan_from_json(json.loads(json.dumps(plan_to_json(steps)))) == steps


def test_only_spoiled_blocks_are_planned_again() -> None:
    steps = make_plan(CASES[:2], 2, 0)
    latest = {
        ("a", "vit_tiny", 0): "unstable",
        ("a", "vit_tiny", 1): "measured",
        ("b", "vit_tiny", 0): "failed",
    }
    again = retry_steps(steps, latest, first_seq=100)
    assert [(s.seq, s.block, s.case.backend) for s in again] == [(100, 0, "a")]
