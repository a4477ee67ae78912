"""The state of NVIDIA GPUs: read, or unknown with the reason; a GPU's own time where a backend can tell."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from bench import nvidia, worker
from bench.protocol import Request

LINE = "NVIDIA H100 80GB HBM3, 580.159.04, 96.00, 81559, 1980, 2619, 41, 120.5, 0x0000000000000000"


def test_every_gpu_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvidia, "COMMAND", (sys.executable, "-c", f"print({LINE!r}); print({LINE!r})"))
    found = nvidia.state()["value"]
    assert len(found) == 2
    assert (found[0]["name"], found[0]["clocks.sm"]) == ("NVIDIA H100 80GB HBM3", "1980")


@pytest.mark.parametrize("program", ["print('a, b')", "raise SystemExit(9)", "print()"])
def test_what_cannot_be_read_is_unknown(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvidia, "COMMAND", (sys.executable, "-c", program))
    found = nvidia.state()
    assert found["value"] is None and found["unknown"]


def test_no_program_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvidia, "COMMAND", ("no-such-program",))
    assert "no-such-program" in nvidia.state()["unknown"]


@pytest.mark.parametrize(
    ("device_class", "metric", "expected"),
    [("nvidia", "versus", {"device_event_ms": 0.25}), ("cpu", "versus", {}), ("nvidia", "memory", {})],
)
def test_device_time_stands_beside_the_walls_on_gpus(device_class: str, metric: str, expected: dict) -> None:
    request = Request(metric, "ecp", "m", "0", "m.onnx", "i.npz", "r.npz", device_class=device_class)
    tells: Any = SimpleNamespace(device_event_ms=lambda: 0.25)
    assert worker._device_time(request, tells) == expected
    silent: Any = SimpleNamespace()
    assert worker._device_time(request, silent) == {}
