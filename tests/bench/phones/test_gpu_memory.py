"""The watcher's log to numbers and reasons, and the watcher's promise: the command's own exit code and streams."""

from __future__ import annotations

import subprocess
import time

from bench.phones import gpu_memory
from tests.bench.phones.test_parsers import MEMINFO

MALI = "mali0                  1500\n  kctx-0xffffff800f0c1000        {pages}       4242\n"


def sample(meminfo: str, mali: str) -> str:
    return f"@pid 4242\n@meminfo\n{meminfo}@mali\n{mali}@end\n"


def test_the_highest_sample_counts():
    log = sample(MEMINFO, MALI.format(pages=700)) + sample(
        MEMINFO.replace("350000", "200000"), MALI.format(pages=900)
    )
    found = gpu_memory.reading(log, {"kernel_max": 5 << 20, "gpumem_mapped": 7 << 20})
    assert found["dumpsys"]["mib"] == (350000 + 1024) / 1024 and found["dumpsys"]["samples"] == 2
    assert found["mali"]["mib"] == 900 * 4096 / 2**20
    assert found["kgsl"]["mib"] == 7.0 and found["kgsl"]["bytes"]["kernel_max"] == 5 << 20


def test_every_source_has_a_reason():
    log = sample(
        "No process found for: 4242\n", "cat: /sys/kernel/debug/mali0/gpu_memory: Permission denied\n"
    )
    found = gpu_memory.reading(log, {})
    assert "No process found" in found["dumpsys"]["reason"]
    assert "Permission denied" in found["mali"]["reason"]
    assert {row["mib"] for row in found.values()} == {None} and "Qualcomm" in found["kgsl"]["reason"]
    other = gpu_memory.reading(
        sample(MEMINFO.replace("mtrack", "other"), MALI.format(pages=1).replace("4242", "7")), {}
    )
    assert (
        "no row GL mtrack" in other["dumpsys"]["reason"]
        and other["mali"]["reason"] == "the process is not listed"
    )


def test_a_sample_that_was_cut_off_says_nothing():
    cut = sample(MEMINFO, MALI.format(pages=700)).removesuffix("@end\n")
    for log in (cut, "", None):
        found = gpu_memory.reading(log, {})
        assert found["dumpsys"]["reason"] == "the runner ended before the first sample"


def test_the_watched_command_keeps_its_code_and_streams(tmp_path):
    log = str(tmp_path / "a log")
    begin = time.monotonic()
    done = subprocess.run(
        gpu_memory.watched(
            ["sh", "-c", 'echo "out $1"; echo err >&2; sleep 0.5; exit 7', "sh", "a  'b"], log
        ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (7, "out a  'b\n", "err\n")
    assert time.monotonic() - begin < 30
    assert "@pid " in (tmp_path / "a log").read_text()
    assert [p.name for p in tmp_path.iterdir()] == ["a log"]
