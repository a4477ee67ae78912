"""What goes wrong between adb and a phone: each fault has its name, and nothing that was done is lost."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import pytest

from bench.transports import adb
from bench.transports.adb import AdbTransport
from bench.transports.base import CommandTimeout, DeviceLost
from bench.transports.store import Store
from ecp.errors import DeviceError
from tests.bench.transports import real_adbd
from tests.bench.transports.faulty_adbd import FaultyAdbd


@pytest.fixture
def daemon() -> Iterator[FaultyAdbd]:
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(real_adbd.adb_server())
        except real_adbd.NoAdbd as error:
            pytest.skip(str(error))
        found = FaultyAdbd()
        stack.callback(found.close)
        yield found


@pytest.fixture
def phone(daemon: FaultyAdbd) -> Iterator[AdbTransport]:
    real_adbd.connect(daemon.serial)
    with AdbTransport(daemon.serial) as transport:
        yield transport


def test_healthy(phone):
    done = phone.run(["sh", "-c", "cat; exit 3"], stdin=b"abc")
    assert (done.code, done.stdout) == (3, b"abc")


def test_unauthorized_says_what_to_do(daemon, tmp_path):
    daemon.faults.unauthorized = True
    real_adbd.connect(daemon.serial)
    (found,) = adb.list_devices()
    assert found.state in ("unauthorized", "authorizing") and "accept this computer's key" in found.advice
    with AdbTransport(daemon.serial) as phone:
        with pytest.raises(DeviceError, match=r"authoriz.*accept this computer's key"):
            phone.run(["true"])
        with pytest.raises(DeviceError, match=r"authoriz.*accept this computer's key"):
            phone.pull("/etc/hostname", tmp_path / "hostname")
        with pytest.raises(DeviceError, match="accept this computer's key"):
            phone.reconnect(timeout_s=1)


def test_silent_device_does_not_hang(daemon):
    daemon.faults.silent = True
    start = time.monotonic()
    real_adbd.connect(daemon.serial)
    with AdbTransport(daemon.serial) as phone, pytest.raises(DeviceError):
        phone.run(["true"], timeout_s=3)
    assert time.monotonic() - start < 30


def test_lost_in_the_middle_of_a_command(phone, daemon):
    daemon.faults.drop_in_shell = "ecp-run"
    with pytest.raises(DeviceLost, match="went away"):
        phone.run(["echo", "ecp-run"])
    phone.reconnect(timeout_s=20)
    assert phone.run(["echo", "ecp-run"]).text == "ecp-run\n"


def test_garbage_is_a_lost_device_not_a_result(phone, daemon):
    daemon.faults.garbage_in_shell = "ecp-run"
    with pytest.raises(DeviceLost):
        phone.run(["echo", "ecp-run"], timeout_s=10)
    phone.reconnect(timeout_s=20)
    assert phone.run(["true"]).code == 0


def test_slow_device_times_out_by_name(phone, daemon):
    phone.run(["true"])
    daemon.faults.delay_s = 1.0
    with pytest.raises(CommandTimeout, match="did not end within 1 s"):
        phone.run(["echo", "x"], timeout_s=1)
    daemon.faults.delay_s = 0.05
    assert phone.run(["echo", "x"], timeout_s=20).text == "x\n"


def test_push_cut_off_goes_on_and_sends_no_file_twice(phone, daemon, tmp_path):
    source = tmp_path / "bundle"
    source.mkdir()
    for i in range(6):
        (source / f"f{i}").write_bytes(bytes([i]) * 300_000)
    daemon.faults.drop_after_push_bytes = 1_000_000
    done = Store(phone, str(tmp_path / "remote")).put(source, reconnect_s=20)
    assert done.attempts == 2
    for i in range(6):
        assert (tmp_path / "remote" / done.path.rpartition("/")[2] / f"f{i}").read_bytes() == bytes(
            [i]
        ) * 300_000
    # The file that was cut off is sent again, the whole ones before it are not.
    assert daemon.pushed_bytes < 6 * 300_000 + 300_000


def test_damaged_arrival_is_noticed_and_sent_again(phone, daemon, tmp_path):
    (tmp_path / "file").write_bytes(b"x" * 10_000)
    daemon.faults.flip_pushed_bit = True
    done = Store(phone, str(tmp_path / "remote")).put(tmp_path / "file")
    assert done.attempts == 2
    folder = tmp_path / "remote" / done.path.rpartition("/")[2]
    assert (folder / "file").read_bytes() == b"x" * 10_000


def test_gone_for_good_is_exit_code_3(phone, daemon, tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    phone.run(["true"])
    daemon.close()
    with pytest.raises(DeviceError) as caught:
        Store(phone, str(tmp_path / "remote")).put(tmp_path / "file", reconnect_s=1)
    assert caught.value.exit_code == 3


def test_one_run_per_serial(phone):
    with pytest.raises(DeviceError, match="in use by another run"):
        AdbTransport(phone.serial)


def test_real_daemon_killed_in_the_middle(tmp_path):
    with contextlib.ExitStack() as stack:
        try:
            daemon = stack.enter_context(real_adbd.running())
        except real_adbd.NoAdbd as error:
            pytest.skip(f"no adbd: {error}")
        phone = stack.enter_context(AdbTransport(daemon.serial))
        phone.run(["true"])
        daemon.stop()
        with pytest.raises(DeviceLost):
            phone.run(["sleep", "1"])
        daemon.start()
        phone.reconnect(timeout_s=20)
        assert phone.run(["echo", "back"]).text == "back\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("List of devices attached\nabc\tdevice\n\n", [("abc", "device", True)]),
        (
            "* daemon started successfully\nList of devices attached\n1.2.3.4:5555\toffline\nx\tunauthorized\n",
            [("1.2.3.4:5555", "offline", False), ("x", "unauthorized", False)],
        ),
        (
            "List of devices attached\n????????????\tno permissions (user in plugdev group; are your udev rules wrong?)"
            "; see [http://developer.android.com/tools/device.html]\n",
            [("????????????", "no permissions", False)],
        ),
        ("List of devices attached\n", []),
    ],
)
def test_parse_devices(text, expected):
    assert [(d.serial, d.state, d.usable) for d in adb.parse_devices(text)] == expected


ADVICE = "This adb server's $ADB_VENDOR_KEYS is not set\nTry 'adb kill-server' if that seems wrong.\n"
ADVICE += "Otherwise check for a confirmation dialog on your device.\n"


@pytest.mark.parametrize(
    ("stderr", "words"),
    [
        (f"error: device unauthorized.\n{ADVICE}", "device unauthorized"),
        (f"adb: device unauthorized.\n{ADVICE}", "device unauthorized"),
        ("error: device still authorizing\n", "device still authorizing"),
        ("adb: device still authorizing\n", "device still authorizing"),
        ("adb: device offline\n", "device offline"),
        ("error: device '1.2.3.4:5' not found\n", "device '1.2.3.4:5' not found"),
        ("adb: device '1.2.3.4:5' not found\n", "device '1.2.3.4:5' not found"),
        ("error: no devices/emulators found\n", "no devices/emulators found"),
        ("a warning of the program\nerror: closed\n", "closed"),
        ("what a program said\n", "what a program said"),
        ("", ""),
    ],
)
def test_refusals_of_old_and_new_adb(stderr, words):
    assert adb.refusal(stderr) == words
