"""Android devices through the ``adb`` program: thin, so that its exit codes and words stay visible."""

from __future__ import annotations

import hashlib
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from bench.escape import brief, visible
from bench.transports.base import CommandTimeout, DeviceLost, TransferError, call, readable
from bench.transports.shell import ShellTransport
from ecp import children
from ecp.errors import DeviceError, UsageError
from ecp.runtime.icd import cache_dir

LIST_TIMEOUT_S = 20.0
LIST_LIMIT = 1 << 20
# USB allows 126 characters; a host's name has at most 253.
LONGEST_SERIAL = 300
# What each state of `adb devices` asks of the person in front of the phone.
ADVICE = {
    "unauthorized": "unlock the phone and accept this computer's key on its screen",
    "authorizing": "unlock the phone and accept this computer's key on its screen",
    "offline": "unplug and plug the cable again, or run `adb reconnect offline`",
    "no permissions": "this user may not open the USB device: install your system's android udev rules "
    "(Debian, Ubuntu: apt install android-sdk-platform-tools-common) and plug in again",
    "recovery": "restart the phone into Android",
    "sideload": "restart the phone into Android",
    "bootloader": "restart the phone into Android",
}
# The reasons of a transfer that fails although the device is there. Whatever else adb says is taken for a lost
# connection: it has no fixed words for that, and trying a push again does no harm.
_REFUSED: tuple[str, ...] = (
    "no such file",
    "permission denied",
    "no space",
    "read-only",
    "not a directory",
    "is a directory",
)
_REFUSED += ("file name too long", "disk quota", "cannot stat", "does not exist", "operation not permitted")


@dataclass(frozen=True)
class Listed:
    """One line of ``adb devices``: ``state`` is ``device`` where it can be used."""

    serial: str
    state: str

    @property
    def usable(self) -> bool:
        """Whether commands can be sent."""
        return self.state == "device"

    @property
    def advice(self) -> str:
        """What to do about a state that is not ``device``."""
        return ADVICE.get(self.state, "unplug and plug the cable again")


def find_adb() -> str:
    """The adb program of PATH, else the one inside the adbutils package."""
    found = shutil.which("adb")
    if found:
        return found
    try:
        import adbutils
    except ImportError as error:
        raise DeviceError(
            "there is no adb program: install the Android platform tools (Debian, Ubuntu: apt install adb), "
            "or pip install adbutils, which brings one"
        ) from error
    utils: Any = adbutils
    return str(utils.adb_path())


def list_devices() -> list[Listed]:
    """What adb sees now, usable or not."""
    done = _ask(["devices"])
    if done.returncode != 0:
        raise DeviceError(f"adb failed: {brief(_last_line(readable(done.stderr)))}")
    return parse_devices(done.text)


def _ask(arguments: list[str]) -> children.Done:
    """A question to adb itself. Raises :class:`DeviceError` where it does not answer like adb."""
    program = find_adb()
    what = f"adb {arguments[0]}"
    try:
        return call(
            [program, *arguments], LIST_TIMEOUT_S, who="adb", what=what, limit=LIST_LIMIT, leaves_daemon=True
        )
    except CommandTimeout as error:
        raise DeviceError("adb does not answer; try `adb kill-server` and start again") from error
    except OSError as error:
        raise DeviceError(f"{what}: {program} cannot be started: {error.strerror}") from error


def parse_devices(text: str) -> list[Listed]:
    """Lines ``SERIAL<tab>STATE``; a state may have several words (``no permissions (...)``)."""
    found = []
    for line in text.splitlines():
        serial, tab, state = line.partition("\t")
        if tab and serial.strip():
            known = next((s for s in ("device", *ADVICE) if state.strip().startswith(s)), brief(state, 80))
            problem = _odd(serial.strip())
            found.append(Listed(brief(serial, 40), problem) if problem else Listed(serial.strip(), known))
    return found


def _odd(serial: str) -> str:
    """Why nothing could be sent to a device of this serial number; empty for a usual one."""
    if len(serial) > LONGEST_SERIAL:
        return f"listed with a serial number of {len(serial)} characters"
    return (
        "listed with a serial number that holds control characters" if visible(serial, "") != serial else ""
    )


class AdbTransport(ShellTransport):
    """One device by serial. The first use takes a lock on the serial for this process."""

    _leaves_daemon = True

    def __init__(self, serial: str):
        if _odd(serial):
            raise UsageError(f"{brief(serial, 40)}: no phone can be {_odd(serial)}")
        self.serial = serial
        self._adb = find_adb()
        name = hashlib.sha256(serial.encode()).hexdigest()[:16]
        folder = cache_dir() / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(folder / f"adb-{name}.lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise DeviceError(
                f"phone {serial} is in use by another run (lock {self._lock.lock_file})"
            ) from None

    @property
    def identity(self) -> str:
        """``adb:SERIAL``."""
        return f"adb:{self.serial}"

    def close(self) -> None:
        """Give the phone free for others."""
        self._lock.release()

    def push(self, local: Path, remote: str, *, timeout_s: float = 600.0) -> None:
        """``adb push``."""
        self._transfer(["push", str(local.resolve()), _absolute(remote)], timeout_s)

    def pull(self, remote: str, local: Path, *, timeout_s: float = 600.0) -> None:
        """``adb pull``."""
        self._transfer(["pull", _absolute(remote), str(local.resolve())], timeout_s)

    def forwarded_ports(self) -> set[int]:
        """TCP ports of this computer that ``adb forward`` leads to this device."""
        done = self._local([self._adb, "forward", "--list"], b"", LIST_TIMEOUT_S, "adb forward")
        rows = [line.split() for line in readable(done.stdout).splitlines()]
        found = [row[1] for row in rows if len(row) == 3 and row[0] == self.serial]
        return {int(name.removeprefix("tcp:")) for name in found if re.fullmatch(r"tcp:\d+", name)}

    def reconnect(self, timeout_s: float = 60.0) -> None:
        """Ask adb to reconnect, then wait until the state is ``device`` and a command gets through."""
        end = time.monotonic() + timeout_s
        while True:
            self._nudge()
            state = next((d for d in list_devices() if d.serial == self.serial), None)
            if state is not None and state.usable:
                try:
                    self.run(["true"], timeout_s=max(1.0, end - time.monotonic()))
                    return
                except DeviceLost:
                    pass
            if time.monotonic() >= end:
                why = f"is {state.state}: {state.advice}" if state else "is not connected any more"
                raise DeviceError(f"phone {self.serial} {why}")
            time.sleep(0.5)

    def _nudge(self) -> None:
        tcp = ":" in self.serial
        _ask(["connect", self.serial] if tcp else ["reconnect", "offline"])

    def _command(self, line: str) -> list[str]:
        return [self._adb, "-s", self.serial, "shell", line]

    def _failed(self, code: int, stderr: str) -> Exception:
        words = brief(refusal(stderr)) or f"adb ended with status {code} in the middle of a command"
        return self._refused(words) or self._lost(words)

    def _refused(self, words: str) -> DeviceError | None:
        """The error of a phone that is connected and waits for its owner, with what to do."""
        found = next((s for s in ("unauthorized", "authorizing") if s in words), "")
        return DeviceError(f"phone {self.serial}: {words}: {ADVICE[found]}") if found else None

    def _transfer(self, arguments: list[str], timeout_s: float) -> None:
        done = self._local([self._adb, "-s", self.serial, *arguments], b"", timeout_s, f"adb {arguments[0]}")
        if done.returncode == 0:
            return
        words = brief(_reason(readable(done.stdout + b"\n" + done.stderr)))
        refused = any(part in words.lower() for part in _REFUSED)
        if refused:
            raise TransferError(f"{self.identity}: {words}")
        raise self._refused(words) or self._lost(words)


def refusal(stderr: str) -> str:
    """adb's own line about a command that did not reach the device, without its prefix; empty where there is none.

    It comes first and advice may follow. adb 29 begins it with ``error: ``, adb 31 to 36 with ``adb: ``; a line
    that a command wrote on the device before the connection broke may stand before it.
    """
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    own = [line for line in lines if re.match(r"(adb: )?error: |adb: ", line)]
    found = next((line for line in own if re.search(r"\bdevice\b", line)), (own or lines[-1:] or [""])[0])
    return re.sub(r"^(adb: )?(error: )?", "", found).rstrip(".")


def _absolute(path: str) -> str:
    if not path.startswith("/") or path.endswith("/") or "\0" in path:
        raise UsageError(f"{path!r} is not an absolute path of a file on the device")
    return path


def _reason(text: str) -> str:
    """What follows the quoted file names of adb's error, which could hold any words themselves."""
    errors = [line for line in text.splitlines() if "error:" in line]
    line = errors[-1] if errors else _last_line(text)
    return line.rpartition("error:")[2].rpartition("': ")[2].strip()


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("error: ").removeprefix("adb: ") if lines else ""
