"""devices.yaml: the shipped one is right, a wrong one is explained in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from bench import devices
from ecp.errors import DeviceError, UsageError

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
