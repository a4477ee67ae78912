"""The command itself while the phone goes away: what was measured is kept, and --resume measures the rest."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.protocol import Request
from tests.bench.phones.conftest import Phone
from tests.bench.transports import real_adbd

# The command waits a minute for a phone that went away.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
BLOCKS = 6


def _records(folder: Path) -> list[dict[str, Any]]:
    """Whole records of the one run below ``folder``; the last line may be half written."""
    lines = [line for file in folder.glob("*/records.jsonl") for line in file.read_text().splitlines(True)]
    return [json.loads(line) for line in lines if line.endswith("\n")]


def test_nothing_measured_is_lost_and_resume_measures_the_rest(
    phone: Phone, request_: Request, tmp_path: Path, monkeypatch
):
    file = tmp_path / "devices.yaml"
    described = phone.entry.model_dump(exclude_none=True)
    file.write_text(yaml.safe_dump({"version": 1, "devices": {"test": described}}))
    monkeypatch.setenv("ECP_BENCH_DEVICES", str(file))
    results = tmp_path / "results"
    command = [sys.executable, "-m", "bench", "latency", "--device", "test", "--backends", "ecp", "--quick"]
    command += ["--models", f"onnx:{request_.onnx}", "--blocks", str(BLOCKS), "--out", str(results)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        while len(_records(results)) < 2 and run.poll() is None:
            time.sleep(0.1)
        phone.adbd.stop()
        output, errors = run.communicate(timeout=300)
    assert run.returncode == 3, output + errors
    kept = _records(results)
    assert 2 <= len(kept) < BLOCKS and "127.0.0.1" in errors
    phone.adbd.start()
    real_adbd.connect(phone.adbd.serial)
    again = subprocess.run([*command, "--resume"], capture_output=True, text=True, timeout=300)
    records = _records(results)
    assert records[: len(kept)] == kept
    assert [r["seq"] for r in records][:BLOCKS] == list(range(BLOCKS)), again.stderr
    assert {r["status"] for r in records} <= {"measured", "unstable"}, again.stdout
