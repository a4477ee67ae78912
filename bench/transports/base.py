"""The one interface of all transports, and what can go wrong on the way to a device."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from ecp.errors import DeviceError, EcpError

DEFAULT_TIMEOUT_S = 30.0


class DeviceLost(DeviceError):
    """The device was there and went away (cable, reboot, adbd died): what ran is lost, the rest can go on."""


class CommandTimeout(EcpError):
    """A command took longer than its limit and was stopped."""


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
        """Standard output as text; bytes that are no UTF-8 are replaced."""
        return self.stdout.decode(errors="replace")

    @property
    def error_text(self) -> str:
        """Standard error as text, stripped."""
        return self.stderr.decode(errors="replace").strip()


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
