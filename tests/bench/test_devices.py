"""devices.yaml: the shipped one is right, a wrong one is explained in one sentence."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from bench import devices
from bench.protocol import Request
from bench.runner import target_of
from ecp.errors import DeviceError, UsageError
from ecp.runtime import devices as opencl

ROOT = Path(__file__).parent.parent.parent


def test_the_shipped_file_has_the_phones_of_the_paper() -> None:
    table = devices.load_devices(ROOT / "devices.yaml")
    phone = table["oneplus11"]
    assert isinstance(phone, devices.AdbDevice) and phone.gpu is not None and phone.cache is not None
    assert (phone.gpu.name, phone.gpu.device_class, phone.memory_gb) == ("Adreno 740", "adreno", 16)
    assert "SM8550" in phone.match.soc_models and "table7" in phone.published
    small = table["xiaomi6"]
    assert isinstance(small, devices.AdbDevice) and small.memory_gb == 6 and small.published == ["figure7"]
    assert {"local", "local-cpu", "local-pocl", "local-gpu", "qemu-arm64"} <= set(table)


def test_cache_sizes_suit_a_simulator() -> None:
    for device in devices.load_devices(ROOT / "devices.yaml").values():
        for level in (
            (device.cache.i1, device.cache.d1, device.cache.l2, device.cache.ll) if device.cache else ()
        ):
            for number in (level.bytes, level.ways, level.line):
                assert number & (number - 1) == 0


def edited(tmp_path: Path, change: dict) -> Path:
    data = yaml.safe_load((ROOT / "devices.yaml").read_text())
    data["devices"]["oneplus11"].update(change)
    path = tmp_path / "devices.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"memory": 16}, "oneplus11.adb.memory: extra inputs"),
        ({"memory_gb": "sixteen"}, "oneplus11.adb.memory_gb: input should be a valid integer"),
        ({"transport": "usb"}, "oneplus11"),
        ({"opencl_libraries": []}, "oneplus11.adb.opencl_libraries"),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, change: dict, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        devices.load_devices(edited(tmp_path, change))
    assert said in str(caught.value) and "devices.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["{", "- a\n- b\n", "version: 2\ndevices: {}\n", ""])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"other\.yaml"):
        devices.load_devices(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.yaml"):
        devices.load_devices(tmp_path / "none.yaml")


def test_unknown_names_get_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean oneplus11"):
        devices.get_device("onepls11")


def test_an_unreachable_device_is_an_error_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "probe", lambda name, device: devices.Reach(False, "plug it in"))
    with pytest.raises(DeviceError, match="device 'oneplus11' is not reachable: plug it in") as caught:
        devices.require("oneplus11")
    assert caught.value.exit_code == 3


H100, H200 = "NVIDIA H100 80GB HBM3", "NVIDIA H200"


@pytest.fixture
def h100(monkeypatch: pytest.MonkeyPatch) -> None:
    """A computer whose OpenCL GPU is an H100."""
    found = SimpleNamespace(device=H100, platform="NVIDIA CUDA", device_class="nvidia")
    monkeypatch.setattr(opencl, "resolve", lambda selector: found)


@pytest.mark.usefixtures("h100")
def test_the_name_of_a_card_is_not_given_to_another() -> None:
    wanted = f"this computer has {H100}, not {H200}; ask for --device nvidia-h100 or local-gpu"
    with pytest.raises(DeviceError) as caught:
        devices.require("nvidia-h200")
    assert str(caught.value) == f"device 'nvidia-h200' is not reachable: {wanted}"
    assert caught.value.exit_code == 3
    assert not devices.probe("nvidia-h200", devices.get_device("nvidia-h200")).reachable
    assert devices.require("nvidia-h100").opencl_name == H100
    assert devices.require("local-gpu").reachable


@pytest.mark.usefixtures("h100")
def test_a_worker_is_told_how_to_find_a_device_with_a_name_of_its_own() -> None:
    target = target_of("nvidia-h100", devices.require("nvidia-h100"))
    assert (target.device_class, target.opencl, target.opencl_name) == ("nvidia", "local-gpu", H100)
    plain = target_of("local-gpu", devices.require("local-gpu"))
    assert (plain.device_class, plain.opencl, plain.opencl_name) == ("nvidia", "", "")


def test_a_request_without_a_selector_is_what_older_workers_know() -> None:
    request = Request("latency", "ecp", "m", "0", "m.onnx", "i.npz", "r.npz")
    assert {"opencl", "opencl_name"}.isdisjoint(request.to_dict())
    named = Request(
        "latency", "ecp", "m", "0", "m.onnx", "i.npz", "r.npz", opencl="local-gpu", opencl_name=H100
    )
    assert Request.from_dict(named.to_dict()) == named


def test_without_a_gpu_the_reason_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(selector: str) -> None:
        raise DeviceError(f"device {selector!r} is not reachable: no OpenCL GPU is visible")

    monkeypatch.setattr(opencl, "resolve", none)
    with pytest.raises(DeviceError) as caught:
        devices.require("nvidia-h200")
    assert str(caught.value) == "device 'nvidia-h200' is not reachable: no OpenCL GPU is visible"


@pytest.mark.parametrize(
    ("match", "said"),
    [
        ({"gpu_names": []}, "nvidia-h200.local.match.gpu_names: list should have at least 1 item"),
        ({"product_models": ["PHB110"]}, "nvidia-h200.local.match"),
        ({"gpu_names": "NVIDIA H200"}, "nvidia-h200.local.match.gpu_names: input should be a valid list"),
    ],
)
def test_a_mistaken_match_is_named(tmp_path: Path, match: dict, said: str) -> None:
    data = yaml.safe_load((ROOT / "devices.yaml").read_text())
    data["devices"]["nvidia-h200"]["match"] = match
    path = tmp_path / "devices.yaml"
    path.write_text(yaml.safe_dump(data))
    with pytest.raises(UsageError) as caught:
        devices.load_devices(path)
    assert said in str(caught.value)
