"""Settings of a phone are put back whatever happens, and an unreadable temperature is never a cool one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from bench.phones import guard, state
from bench.transports.base import Completed, DeviceLost
from bench.transports.local import LocalTransport
from tests.bench.phones.test_parsers import THERMAL

JOURNAL = "/journal"


class FakeAndroid(LocalTransport):
    """`settings`, `cmd power`, `dumpsys` and a journal, as a phone answers; everything sent is kept."""

    def __init__(self) -> None:
        self.settings = {"global stay_on_while_plugged_in": "0", "system screen_brightness_mode": "null"}
        self.fixed = False
        self.files: dict[str, str] = {}
        self.thermal = THERMAL
        self.lost = False

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float = 1.0,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
    ) -> Completed:
        if self.lost:
            raise DeviceLost("adb:x went away")
        words = list(argv)
        if words[0] == "settings":
            key = " ".join(words[2:4])
            if words[1] == "get":
                return Completed(0, (self.settings.get(key, "null") + "\n").encode(), b"")
            self.settings[key] = words[4] if words[1] == "put" else "null"
            return Completed(0, b"", b"")
        if words[:2] == ["cmd", "power"]:
            self.fixed = words[3] == "true"
            return Completed(0, b"", b"")
        if words[0] == "dumpsys" and words[1] == "thermalservice":
            return Completed(0, self.thermal.encode(), b"")
        if words[0] == "cat":
            content = self.files.get(words[-1])
            return Completed(0 if content is not None else 1, (content or "").encode(), b"")
        if words[:2] == ["sh", "-c"] and "printf" in words[2]:
            self.files[words[4]] = words[5]
            return Completed(0, b"", b"")
        if words[0] == "rm":
            self.files.pop(words[-1], None)
        return Completed(0 if "command -v" in " ".join(words) or words[0] == "rm" else 1, b"", b"")


def _original(phone: FakeAndroid) -> bool:
    before = {"global stay_on_while_plugged_in": "0", "system screen_brightness_mode": "null"}
    return phone.settings == before and not phone.fixed and not phone.files


def test_changed_inside_and_restored_after():
    phone = FakeAndroid()
    with guard.steady(phone, JOURNAL) as report:
        assert phone.settings["global stay_on_while_plugged_in"] == "7" and phone.fixed
        assert json.loads(phone.files[JOURNAL])
    assert _original(phone) and len(report.changed) == 3


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, SystemExit])
def test_restored_after_ctrl_c_and_errors(error):
    phone = FakeAndroid()
    with pytest.raises(error), guard.steady(phone, JOURNAL):
        raise error
    assert _original(phone)


def test_ctrl_c_while_settings_are_being_changed():
    phone = FakeAndroid()
    run = phone.run

    def interrupted(argv: Sequence[str], **options: object) -> Completed:
        done = run(argv)
        if list(argv)[:2] == ["settings", "put"]:
            phone.run = run  # type: ignore[method-assign]
            raise KeyboardInterrupt
        return done

    phone.run = interrupted  # type: ignore[method-assign, assignment]
    with pytest.raises(KeyboardInterrupt), guard.steady(phone, JOURNAL):
        pass
    assert _original(phone)


def test_lost_phone_is_repaired_by_the_next_run():
    phone = FakeAndroid()
    with guard.steady(phone, JOURNAL) as report:
        phone.lost = True
    assert "the next run will" in report.notes[-1] and not _original(phone)
    phone.lost = False
    with guard.steady(phone, JOURNAL) as report:
        assert "restored first" in report.notes[0]
    assert _original(phone)


def test_damaged_journal_is_said():
    phone = FakeAndroid()
    phone.files[JOURNAL] = "[[1"
    with guard.steady(phone, JOURNAL) as report:
        assert "is damaged" in report.notes[0]


def test_cool_enough_hot_and_unknown():
    phone = FakeAndroid()
    assert guard.wait_cool(phone, None, limit_c=45.0)[1] == ""
    found, problem = guard.wait_cool(phone, None, limit_c=40.0, deadline_s=0.05, poll_s=0.01)
    assert problem.startswith("44.2 C after waiting") and state.hottest(found) == 44.2
    phone.thermal = "Can't find service: thermalservice"
    found, problem = guard.wait_cool(phone, None, limit_c=45.0)
    assert problem.startswith("temperature unknown")
    assert found["celsius"]["value"] is None and "Thermal Status" in found["celsius"]["reason"]


def test_judge():
    phone = FakeAndroid()
    good = state.capture(phone, None)
    phone.thermal = THERMAL.replace("Thermal Status: 1", "Thermal Status: 3")
    hot = state.capture(phone, None)
    assert guard.judge(good, good) == ""
    assert guard.judge(good, hot) == "thermal status severe after the measurement"


def test_state_on_a_plain_linux_gives_reasons_not_values(tmp_path: Path):
    found = state.capture(LocalTransport(), str(tmp_path))
    for name in ("thermal_status", "battery", "gpu_mhz", "gpu_celsius"):
        assert found[name]["value"] is None and found[name]["reason"], name
