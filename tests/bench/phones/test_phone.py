"""The whole way to a phone with real adb, real adbd and real OpenCL: recognised, measured, lost, given back."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bench import devices, inputs
from bench.phones import add, connect, counters, launcher
from bench.phones.runner import PhoneRunner
from bench.protocol import Request
from bench.transports.adb import AdbTransport, find_adb
from ecp.errors import DeviceError, UsageError
from tests.bench.phones.conftest import Phone, entry
from tests.bench.phones.test_parsers import MEMINFO
from tests.bench.transports import real_adbd


def test_the_right_phone_is_found(phone: Phone):
    transport, identity = connect.find_phone("test", phone.entry)
    transport.close()
    assert (identity.product_model, identity.soc_model, identity.abi) == ("TP-1", "T1000", "x86_64")
    assert identity.serial_hash and phone.adbd.serial not in str(identity)
    reachable, detail = connect.probe("test", phone.entry)
    assert reachable and "Testers TP-1" in detail
    assert "mean nothing" not in detail
    _, detail = connect.probe("test", entry(emulated=True))
    assert "emulated: its times mean nothing" in detail


@pytest.mark.parametrize(
    ("props", "words"),
    [
        ({"ro.product.model": "CPH2449"}, "it is a CPH2449, not TP-1"),
        ({"ro.soc.model": "SM8550"}, "its chip is SM8550, not T1000"),
        ({"ro.product.cpu.abi": "arm64-v8a"}, "its programs are arm64-v8a"),
    ],
)
def test_another_phone_is_refused(phone: Phone, props, words):
    phone.props(**props)
    with pytest.raises(DeviceError, match=words) as caught:
        connect.find_phone("test", phone.entry)
    assert caught.value.exit_code == 3 and "nothing else is used in its place" in str(caught.value)


def test_a_phone_that_does_not_name_its_chip_is_accepted(phone: Phone):
    phone.props(**{"ro.soc.model": ""})
    connect.find_phone("test", phone.entry)[0].close()


def test_other_serial_and_no_phone(phone: Phone, monkeypatch):
    monkeypatch.setenv("ANDROID_SERIAL", "other")
    with pytest.raises(DeviceError, match="does not list other"):
        connect.find_phone("test", phone.entry)
    monkeypatch.delenv("ANDROID_SERIAL")
    phone.adbd.stop()
    with pytest.raises(DeviceError, match="is not reachable"):
        connect.find_phone("test", phone.entry)


def test_latency_and_memory(phone: Phone, request_: Request):
    with launcher("test", phone.entry) as launch:
        reply = launch(request_, 120)
        assert reply.status == "measured", reply.reason
        assert reply.error["ok"] and reply.error["top1_agreement"] == 1.0
        assert len(reply.samples_ms) > 5 and len(reply.extra["device_ms"]) == 5
        assert reply.extra["phone"]["product_model"] == "TP-1"
        memory = launch(replace(request_, metric="memory"), 120)
        assert memory.status == "measured" and 1 < memory.samples_ms[0] < 4096
        other = launch(replace(request_, backend="onnxruntime"), 120)
        assert other.status == "unsupported" and "no adapter for phones" in other.reason


def test_gpu_memory_is_sampled_while_the_runner_runs(phone: Phone, request_: Request):
    with launcher("test", phone.entry) as launch:
        found = launch(replace(request_, metric="memory"), 120).extra["gpu_memory"]
        assert found["dumpsys"]["mib"] is None and "dumpsys" in found["dumpsys"]["reason"]
        assert found["mali"]["mib"] is None and "gpu_memory" in found["mali"]["reason"]
        assert found["kgsl"]["mib"] is None and "Qualcomm" in found["kgsl"]["reason"]
        # Stands in for Android's program, and answers only for a process that is there.
        phone.program(
            "dumpsys",
            '[ "$1" = meminfo ] && [ -e "/proc/$2/exe" ] || { echo "No process found for: $2"; exit; }\n'
            f"cat <<'END'\n{MEMINFO}END",
        )
        reply = launch(replace(request_, metric="memory"), 120)
    assert reply.status == "measured", reply.reason
    found = reply.extra["gpu_memory"]["dumpsys"]
    assert found["mib"] == (350000 + 1024) / 1024 and found["samples"] >= 1


def test_wrong_output_is_failed(phone: Phone, request_: Request, tmp_path: Path):
    reference = inputs.load(Path(request_.reference))
    inputs.save(tmp_path / "wrong.npz", {"y": reference["y"][:, :, ::-1]})
    with launcher("test", phone.entry) as launch:
        reply = launch(replace(request_, reference=str(tmp_path / "wrong.npz")), 120)
    assert reply.status == "failed" and "wrong output" in reply.reason


def test_lost_phone_fails_its_block_and_the_next_one_goes_on(phone: Phone, request_: Request):
    with launcher("test", phone.entry) as launch:
        assert launch(request_, 120).status == "measured"
        phone.adbd.stop()
        phone.adbd.start()
        replies = [launch(request_, 120) for _ in range(3)]
    assert replies[-1].status == "measured"
    assert all(r.status == "measured" or "went away" in r.reason for r in replies)


def test_a_phone_that_stays_away_stops_the_run(phone: Phone, request_: Request, monkeypatch):
    monkeypatch.setattr(AdbTransport.reconnect, "__defaults__", (1.0,))
    with launcher("test", phone.entry) as launch:
        phone.adbd.stop()
        with pytest.raises(DeviceError, match=r"127\.0\.0\.1"):
            launch(request_, 120)


def test_time_limit_is_a_failed_block(phone: Phone, request_: Request):
    slow = replace(request_, warmup_seconds=20.0, min_seconds=20.0)
    with launcher("test", phone.entry) as launch:
        assert launch(request_, 120).status == "measured"
        # Shorter than starting the runner takes on the fastest machine.
        reply = launch(slow, 0.05)
    assert reply.status == "failed" and "--timeout" in reply.reason


def test_no_usable_opencl_names_what_was_tried(phone: Phone):
    wrong = entry(opencl_libraries=["/vendor/lib64/libOpenCL.so"])
    transport, identity = connect.find_phone("test", wrong)
    with transport, pytest.raises(DeviceError, match=r"no usable OpenCL.*/vendor/lib64/libOpenCL\.so"):
        PhoneRunner(transport, identity, wrong)


def test_a_cpu_is_no_substitute_for_the_gpu(phone: Phone):
    gpu = entry(gpu={"name": "Adreno 740", "device_class": "adreno"})
    transport, identity = connect.find_phone("test", gpu)
    with transport, pytest.raises(DeviceError, match="no GPU in it"):
        PhoneRunner(transport, identity, gpu)


def test_add_writes_an_entry_that_matches_the_phone(phone: Phone, tmp_path: Path):
    file = tmp_path / "devices.yaml"
    file.write_text(
        "# kept\nversion: 1\ndevices:\n  local:\n    transport: local\n    title: here\n    opencl: local\n"
    )
    written = add.add("mine", file)
    assert file.read_text().startswith("# kept")
    found = devices.load_devices(file)
    assert isinstance(found["mine"], devices.AdbDevice)
    assert found["mine"].match.product_models == ["TP-1"] and written["memory_gb"] >= 1
    connect.find_phone("mine", found["mine"])[0].close()
    with pytest.raises(UsageError, match="already"):
        add.add("mine", file)
    with pytest.raises(UsageError, match="no device name"):
        add.add("My Phone", file)


def test_add_keeps_what_stands_after_the_table():
    text = "devices:\n  a:\n    transport: local\n    title: t\n    opencl: local\n\n# about the version\nversion: 1\n"
    written = add.insert(text, "b", {"transport": "local", "title": "u", "opencl": "local"})
    assert written.endswith("\n# about the version\nversion: 1\n")
    import yaml

    assert list(yaml.safe_load(written)["devices"]) == ["a", "b"]


def test_cache_counters_have_values_or_reasons(phone: Phone, request_: Request):
    with launcher("test", phone.entry) as launch:
        reply = launch(replace(request_, metric="cache"), 120)
        assert reply.status == "unavailable" and "no simpleperf on the phone" in reply.reason
        # Stands in for Android's program: runs the command, then prints what simpleperf would.
        phone.program(
            "simpleperf",
            'events=$4; shift 4; "$@" > /dev/null || exit 1\n'
            "echo 'Performance counter statistics,'\n"
            'for e in $(echo "$events" | tr , " "); do\n'
            '  case $e in raw-l3*) echo "9,$e,1,K/sec,(20%),";; *) echo "4711,$e,1,K/sec,(100%),";; esac\n'
            "done\necho 'Total test time,1.5,seconds,'",
        )
        reply = launch(replace(request_, metric="cache"), 120)
    assert (
        reply.status == "measured" and reply.samples_ms == [4711.0] and reply.extra["source"] == "simpleperf"
    )
    found = reply.extra["counters"]
    assert found["raw-l3d-cache"]["value"] is None and "20%" in found["raw-l3d-cache"]["reason"]
    assert "no counter numbers" in found["gpu-cache"]["reason"]


def test_gpu_counter_numbers_follow_the_generation():
    def options(name: str) -> list[str]:
        return [c.option for c in counters.gpu_counters(name)]

    assert options("QUALCOMM Adreno(TM) 740") == ["9:7", "9:8", "8:12"]
    assert options("Adreno (TM) 640") == ["9:6", "9:7", "8:9"]
    assert options("Adreno (TM) 540") == options("Mali-G710") == []
    wanted = counters.gpu_counters("Adreno 740")
    refused = {"kgsl_counters": {"reason": "denied", "values": []}}
    assert {r["reason"] for r in counters.gpu_reading(refused, wanted).values()} == {"denied"}
    rows = [{"group": c.group, "countable": c.countable, "delta": i} for i, c in enumerate(wanted)]
    read = counters.gpu_reading({"kgsl_counters": {"reason": None, "values": rows}}, wanted)
    assert read["tp-l1-cacheline-misses"]["value"] == 1


@pytest.fixture
def tvm_server() -> Iterator[int]:
    """TVM's RPC server on a port of the phone, which here is this computer."""
    pytest.importorskip("tvm")
    port = real_adbd.free_port()
    command = [sys.executable, "-m", "tvm.exec.rpc_server", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--port-end", str(port + 1)]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    end = time.monotonic() + 120
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            break
        time.sleep(0.5)
    yield port
    # The server serves from a child of its own, which would outlive it.
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(10)


@pytest.mark.slow
def test_tvm_is_measured_on_this_phone_and_nowhere_else(
    phone: Phone, request_: Request, tvm_server: int, monkeypatch
):
    monkeypatch.setenv("TVM_RPC", f"127.0.0.1:{tvm_server}")
    monkeypatch.setenv("TVM_RPC_TARGET", '{"kind": "llvm"}')
    with launcher("test", phone.entry) as launch:
        reply = launch(replace(request_, backend="tvm-rpc"), 120)
        assert reply.status == "unavailable" and "does not lead to this phone" in reply.reason
        forward = [find_adb(), "-s", phone.adbd.serial, "forward", "tcp:0", f"tcp:{tvm_server}"]
        port = subprocess.run(forward, capture_output=True, text=True, check=True, timeout=30).stdout.strip()
        monkeypatch.setenv("TVM_RPC", f"127.0.0.1:{port}")
        reply = launch(replace(request_, backend="tvm-rpc"), 120)
        memory = launch(replace(request_, backend="tvm-rpc", metric="memory"), 120)
    assert reply.status == "measured", reply.reason
    assert reply.error["ok"] and len(reply.samples_ms) == 10 and "time_evaluator" in reply.extra["sample"]
    assert memory.status == "unsupported"
