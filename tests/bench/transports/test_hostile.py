"""A phone or board that says anything: endless, binary, terminal commands, absurd serials. One clear line each."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.phones.connect import read_identity
from bench.phones.runner import PhoneRunner
from bench.transports import adb
from bench.transports.adb import AdbTransport
from bench.transports.base import OUTPUT_LIMIT, DeviceLost, TooMuchOutput, TransferError, Transport
from bench.transports.local import LocalTransport
from bench.transports.ssh import SshTransport
from ecp.errors import DeviceError, EcpError, UsageError

# Ends like the real shell: with the mark (the last word before %d) and an exit code on standard error.
PROGRAM = """#!{python}
import os, re, sys, time
out, err, line = sys.stdout.buffer, sys.stderr.buffer, sys.argv[-1]
if "-M" in sys.argv:
    sys.exit(1)
found = re.search(r"printf '(ecp-[0-9a-f]+:)%d'", line)
{body}
out.flush()
if found:
    err.write(found[1].encode() + b"0")
"""
ENDLESS = """
open({flag!r}, "w").write(str(os.getpid()))
while "command -v" not in line:
    {stream}.write(b"x" * 65536)
"""

Fake = Callable[[str], None]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Put an ``adb`` and an ``ssh`` with this body first on PATH."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    def write(body: str) -> None:
        for name in ("adb", "ssh"):
            (tmp_path / name).write_text(PROGRAM.format(python=sys.executable, body=body))
            (tmp_path / name).chmod(0o755)

    write("")  # transports look their program up when they are made
    return write


@pytest.fixture(params=["adb", "ssh"])
def remote(request: pytest.FixtureRequest, fake: Fake) -> Transport:
    transport = AdbTransport("fake-serial") if request.param == "adb" else SshTransport("fake-host")
    request.addfinalizer(transport.close)
    return transport


def one_line(error: BaseException) -> str:
    text = str(error)
    assert len(text) < 600 and text.isprintable(), text[:1000]
    return text


def gone(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.mark.parametrize("stream", ["out", "err"])
def test_endless_output_is_stopped(remote, fake, tmp_path, stream):
    fake(ENDLESS.format(flag=str(tmp_path / "pid"), stream=stream))
    start = time.monotonic()
    with pytest.raises(TooMuchOutput, match="getprop wrote more than 16 MiB and was stopped") as caught:
        remote.run(["getprop"])
    one_line(caught.value)
    assert time.monotonic() - start < 15 and gone(int((tmp_path / "pid").read_text()))


def test_the_limit_is_16_mib(remote, fake):
    fake("out.write(b'x' * (16 << 20))")
    assert len(remote.run(["cat"]).stdout) == OUTPUT_LIMIT == 16 << 20
    fake("out.write(b'x' * (16 << 20)); 'command -v' in line or out.write(b'x')")
    with pytest.raises(TooMuchOutput):
        remote.run(["cat"])


def test_endless_output_here_is_stopped():
    with pytest.raises(TooMuchOutput, match="local: sh wrote more than 16 MiB") as caught:
        LocalTransport().run(["sh", "-c", "exec cat /dev/zero"])
    one_line(caught.value)


def test_what_does_not_start_here_is_127(tmp_path):
    (tmp_path / "no program").write_bytes(b"\x00\x01")
    (tmp_path / "no program").chmod(0o755)
    for argv in ([str(tmp_path / "no program")], ["true", "x" * 300_000], ["x" * 300_000]):
        done = LocalTransport().run(argv)
        assert done.code == 127 and len(done.error_text) < 300


def test_an_endless_transfer_is_stopped(remote, fake, tmp_path):
    fake(ENDLESS.format(flag=str(tmp_path / "pid"), stream="err"))
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(TooMuchOutput, match="was stopped") as caught:
        remote.push(tmp_path / "file", "/x/file")
    one_line(caught.value)
    assert gone(int((tmp_path / "pid").read_text()))


def test_output_is_text_no_terminal_obeys(remote, fake):
    fake(r'out.write(b"a\x1b]0;owned\x07\x9b2J\xff\r\n\tb\xc2\x9b"); err.write(b"\x1b[2Jx\x08")')
    done = remote.run(["getprop"])
    assert done.text == "a\\x1b]0;owned\\x07\ufffd2J\ufffd\n\tb\\x9b"
    assert done.error_text == "\\x1b[2Jx\\x08"
    assert b"\x1b" in done.stdout  # the bytes themselves stay what they were


@pytest.mark.parametrize("said", [r"b'\x1b[2J' * 100_000", "bytes(range(256)) * 1000", "b'x' * 900_000"])
def test_words_without_an_end_mark_are_one_line(remote, fake, tmp_path, said):
    fake(f"found = None; err.write({said}); err.flush(); sys.exit(255)")
    (tmp_path / "file").write_bytes(b"x")
    for attempt in (lambda: remote.run(["true"]), lambda: remote.push(tmp_path / "file", "/x/file")):
        with pytest.raises((DeviceLost, TransferError)) as caught:
            attempt()
        one_line(caught.value)


def test_an_absurd_exit_code_is_no_result(remote, fake):
    fake('found and err.write(found[1].encode() + b"9" * 5000); found = None')
    with pytest.raises(DeviceLost) as caught:
        remote.run(["true"])
    one_line(caught.value)


def test_a_huge_argument_is_one_line(remote, fake):
    fake("")
    with pytest.raises(DeviceError, match="cannot be started: Argument list too long") as caught:
        remote.run(["echo", "x" * 300_000])
    one_line(caught.value)


@pytest.mark.parametrize(
    ("serial", "problem"),
    [("'S' * 300_000", "of 300000 characters"), (r"'a\x1b[2Jb'", "holds control characters")],
)
def test_an_odd_serial_is_listed_and_never_used(fake, serial, problem):
    fake(f"out.write(('List of devices attached\\n' + {serial} + '\\tdevice\\ngood\\tdevice\\n').encode())")
    odd, good = adb.list_devices()
    assert problem in odd.state and not odd.usable and odd.serial.isprintable() and len(odd.serial) < 50
    assert (good.serial, good.usable) == ("good", True)


@pytest.mark.parametrize("serial", ["S" * 300_000, "a\x1b[2J"])
def test_an_odd_serial_opens_nothing(fake, serial):
    fake("")
    with pytest.raises(UsageError, match="serial number") as caught:
        AdbTransport(serial)
    one_line(caught.value)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("while True: out.write(b'x' * 65536)", "adb devices wrote more than 1 MiB and was stopped"),
        (r"err.write(b'\xff\x1b[2J' * 50_000); err.flush(); sys.exit(1)", r"adb failed: .\\x1b\[2J"),
    ],
)
def test_adb_itself_says_anything(fake, body, words):
    fake(body)
    with pytest.raises(DeviceError, match=words) as caught:
        adb.list_devices()
    one_line(caught.value)


def test_binary_devices_list_is_no_traceback(fake):
    fake("out.write(bytes(range(256)) * 1000)")
    for found in adb.list_devices():
        assert found.serial.isprintable() and found.state.isprintable() and not found.usable
    fake(r"out.write(b'abc\t' + b'\x1b[2Jx' * 9000 + b'\n')")
    (found,) = adb.list_devices()
    assert found.state.isprintable() and len(found.state) < 100


def test_an_adb_that_is_no_program(fake, tmp_path):
    fake("")
    (tmp_path / "adb").write_bytes(b"\x00\x01")
    with pytest.raises(DeviceError, match="cannot be started: Exec format error") as caught:
        adb.list_devices()
    one_line(caught.value)


def test_the_identity_is_short_and_visible(remote, fake):
    fake(r'out.write(b"[ro.product.model]: [M\x1b[2J" + b"x" * 9000 + b"]\n")')
    model = read_identity(remote).product_model
    assert model.startswith("M\\x1b[2Jxxx") and model.endswith("...") and len(model) < 400


@pytest.mark.parametrize(
    "answer", [r"b'\xff\x00\x1b' * 9", "b'[]'", "b'[' * 100_000", "b'{\"a\": ' + b'9' * 5000 + b'}'"]
)
def test_a_runner_that_answers_no_document(remote, fake, answer):
    fake(f"out.write({answer})")
    runner = PhoneRunner.__new__(PhoneRunner)
    runner.transport, runner._program = remote, "ecp-run"
    with pytest.raises(EcpError, match="no JSON document") as caught:
        runner.run([], 10)
    one_line(caught.value)


def test_a_document_holds_no_terminal_command(remote, fake):
    fake(r"""out.write(b'{"devices": [{"name": "GPU\\u001b[2J", "units": 4}]}')""")
    runner = PhoneRunner.__new__(PhoneRunner)
    runner.transport, runner._program = remote, "ecp-run"
    assert runner.run([], 10) == {"devices": [{"name": "GPU\\x1b[2J", "units": 4}]}
