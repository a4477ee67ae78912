"""Boards and other Linux machines through OpenSSH. The user's ~/.ssh/config decides ports, keys and jumps."""

from __future__ import annotations

import shlex
import subprocess
import tempfile
import time
from pathlib import Path

from bench.escape import brief
from bench.transports.base import CommandTimeout, TooMuchOutput, TransferError, readable
from bench.transports.shell import ShellTransport
from ecp import children
from ecp.errors import DeviceError, UsageError

CONNECT_TIMEOUT_S = 10
_REFUSED: tuple[str, ...] = (
    "permission denied",
    "could not resolve",
    "connection refused",
    "host key verification failed",
)
_REFUSED += ("no route to host", "connection timed out", "operation timed out", "network is unreachable")


class SshTransport(ShellTransport):
    """``host`` as OpenSSH knows it (``board``, ``user@10.0.0.7``); ``options`` are further ssh arguments."""

    def __init__(self, host: str, options: tuple[str, ...] = ()):
        if host.startswith("-") or not host:
            raise UsageError(f"{host!r} is not a host name")
        self.host = host
        # A short path: sockets may not have more than about 100 characters.
        self._folder = tempfile.TemporaryDirectory(prefix="ecp-ssh-")
        self._socket = Path(self._folder.name) / "s"
        settings = {
            "BatchMode": "yes",  # a password prompt would wait for ever behind a progress bar
            "ConnectTimeout": CONNECT_TIMEOUT_S,
            "ServerAliveInterval": 5,
            "ControlPath": self._socket,
        }
        self._prefix = ["ssh", "-T", *(f"-o{k}={v}" for k, v in settings.items()), *options]
        self._master: subprocess.Popen[bytes] | None = None

    @property
    def identity(self) -> str:
        """``ssh:HOST``."""
        return f"ssh:{self.host}"

    def close(self) -> None:
        """End the shared connection."""
        if self._master is not None:
            children.end(self._master)
        self._folder.cleanup()

    def _connect(self) -> None:
        """One handshake for all commands. Not by ControlPersist: its background process keeps our pipes open.

        Where this does not come up, the commands connect by themselves and report why they cannot.
        """
        if self._master is not None and self._master.poll() is None:
            return
        if self._master is not None:
            children.end(self._master)
        self._master = children.start(
            [*self._prefix, "-M", "-N", "--", self.host],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        end = time.monotonic() + CONNECT_TIMEOUT_S
        while self._master.poll() is None and not self._socket.exists() and time.monotonic() < end:
            time.sleep(0.02)

    def push(self, local: Path, remote: str, *, timeout_s: float = 600.0) -> None:
        """Stream into ``cat``, which needs no second quoting of the name as scp does; the mode is kept."""
        try:
            mode = local.stat().st_mode & 0o777
            with local.open("rb") as content:
                # Through $1, so that the name is an argument and not part of the script.
                script = 'cat > "$1" && chmod "$2" "$1"'
                self._stream(
                    ["sh", "-c", script, "sh", remote, f"{mode:o}"], timeout_s, stdin=content.fileno()
                )
        except OSError as error:
            raise TransferError(f"cannot read {local}: {error.strerror or error}") from error

    def pull(self, remote: str, local: Path, *, timeout_s: float = 600.0) -> None:
        """Stream out of ``cat`` into a file that appears whole or not at all."""
        partial = local.with_name(local.name[:200] + ".part")
        try:
            with partial.open("wb") as target:
                self._stream(["cat", "--", remote], timeout_s, stdout=target.fileno())
            partial.replace(local)
        except OSError as error:
            raise TransferError(f"cannot write {local}: {error.strerror or error}") from error
        finally:
            partial.unlink(missing_ok=True)

    def _stream(
        self,
        argv: list[str],
        timeout_s: float,
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.DEVNULL,
    ) -> None:
        line = " ".join(shlex.quote(word) for word in argv)
        process = children.start(self._command(line), stdin=stdin, stdout=stdout, stderr=subprocess.PIPE)
        try:
            done = children.Conversation(process).hold(b"", timeout_s)
        except children.TooLate as error:
            problem = f"{self.identity}: the transfer did not end within {timeout_s:g} s"
            raise CommandTimeout(problem) from error
        except children.TooMuch as error:
            raise TooMuchOutput(f"{self.identity}: the transfer wrote {error} and was stopped") from error
        finally:
            children.end(process)
            process.stderr.close()  # type: ignore[union-attr]
        words = readable(done.stderr).strip()
        if done.returncode == 255:
            raise self._failed(255, words)
        if done.returncode != 0:
            raise TransferError(f"{self.identity}: {brief(words)}")

    def _command(self, line: str) -> list[str]:
        self._connect()
        return [*self._prefix, "--", self.host, line]

    def _failed(self, code: int, stderr: str) -> Exception:
        lines = [line.strip() for line in stderr.splitlines() if line.strip()]
        words = brief(lines[-1]) if lines else f"ssh ended with status {code}"
        if code == 255 and any(part in words.lower() for part in _REFUSED):
            return DeviceError(
                f"{self.identity} cannot be reached: {words}; try `ssh {self.host} true` by hand"
            )
        return self._lost(words)
