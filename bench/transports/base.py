"""The one interface of all transports, and what can go wrong on the way to a device."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.escape import visible
from ecp import children
from ecp.errors import DeviceError, EcpError

DEFAULT_TIMEOUT_S = 30.0
# Far more than any program of ours prints; a device that says more than this is broken or hostile.
OUTPUT_LIMIT = 16 << 20


class DeviceLost(DeviceError):
    """The device was there and went away (cable, reboot, adbd died): what ran is lost, the rest can go on."""


class CommandTimeout(EcpError):
    """A command took longer than its limit and was stopped."""


class TooMuchOutput(DeviceError):
    """A command wrote more than anybody wants to keep and was stopped."""


class TransferError(EcpError):
    """A file did not arrive, although the device is reachable (no space, no permission, no such file)."""


@dataclass(frozen=True)
class Completed:
    """A command that ended on the device, with its real exit code and both streams apart."""

    code: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Standard output as text fit for a terminal: what is no UTF-8 replaced, control characters spelled out."""
        return readable(self.stdout)

    @property
    def error_text(self) -> str:
        """Standard error as such text, stripped."""
        return readable(self.stderr).strip()


def readable(output: bytes) -> str:
    """What a device wrote, as text that no terminal obeys; lines and tabs stay."""
    return visible(output.decode(errors="replace").replace("\r\n", "\n"))


def call(
    command: Sequence[str],
    timeout_s: float,
    *,
    who: str,
    what: str,
    given: bytes = b"",
    limit: int = OUTPUT_LIMIT,
    leaves_daemon: bool = False,
    env: Mapping[str, str] | None = None,
) -> children.Done:
    """Run a program here, its outputs bounded; ``who`` (a transport) and ``what`` (a command) are for messages.

    Raises :class:`CommandTimeout`, :class:`TooMuchOutput`, and OSError where it does not start.
    """
    try:
        return children.run(
            command, given=given, timeout_s=timeout_s, limit=limit, leaves_daemon=leaves_daemon, env=env
        )
    except children.TooLate as error:
        raise CommandTimeout(f"{who}: {what} did not end within {timeout_s:g} s") from error
    except children.TooMuch as error:
        raise TooMuchOutput(f"{who}: {what} wrote more than {limit >> 20} MiB and was stopped") from error


class Transport(ABC):
    """A connection to one device. Paths on the device are absolute POSIX paths of any characters but NUL.

    Every method raises :class:`~ecp.errors.DeviceError` where the device cannot be reached,
    :class:`DeviceLost` where it went away on the way, :class:`CommandTimeout` after ``timeout_s`` seconds.
    """

    @property
    @abstractmethod
    def identity(self) -> str:
        """What is connected, for locks and records: ``adb:SERIAL``, ``ssh:HOST``, ``local``."""

    @abstractmethod
    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
    ) -> Completed:
        """Run a program with exactly these arguments; any exit code is a result, not an error."""

    @abstractmethod
    def push(self, local: Path, remote: str, *, timeout_s: float = 600.0) -> None:
        """Copy a file to the device; its folder must exist. Raises :class:`TransferError`."""

    @abstractmethod
    def pull(self, remote: str, local: Path, *, timeout_s: float = 600.0) -> None:
        """Copy a file from the device. Raises :class:`TransferError`."""

    def read_text(self, path: str) -> str | None:
        """Content of a small file, or None where it cannot be read (absent, no permission)."""
        done = self.run(["cat", "--", path])
        return done.text if done.code == 0 else None

    def reconnect(self, timeout_s: float = 60.0) -> None:
        """Wait until the device answers again. Raises :class:`~ecp.errors.DeviceError` where it does not."""
        self.run(["true"], timeout_s=timeout_s)

    def close(self) -> None:  # noqa: B027 - most have nothing to give back
        """Give the connection back."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
