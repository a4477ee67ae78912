"""This computer as a device: the reference that the other transports are tested against."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.transports.base import DEFAULT_TIMEOUT_S, CommandTimeout, Completed, TransferError, Transport


class LocalTransport(Transport):
    """Runs and copies here. A program that does not exist gives exit code 127, as in a shell."""

    @property
    def identity(self) -> str:
        """Always ``local``."""
        return "local"

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
    ) -> Completed:
        """Run in a process group of its own, so that a timeout takes the children along."""
        try:
            process = subprocess.Popen(
                list(argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )
        except (FileNotFoundError, PermissionError) as error:
            return Completed(127, b"", str(error).encode())
        try:
            out, err = process.communicate(stdin, timeout=timeout_s)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            if isinstance(error, subprocess.TimeoutExpired):
                raise CommandTimeout(f"local: {argv[0]} did not end within {timeout_s:g} s") from error
            raise
        code = process.returncode if process.returncode >= 0 else 128 - process.returncode
        return Completed(code, out, err)

    def push(self, local: Path, remote: str, *, timeout_s: float = 600.0) -> None:
        """Copy with the file mode."""
        _copy(local, Path(remote))

    def pull(self, remote: str, local: Path, *, timeout_s: float = 600.0) -> None:
        """Copy with the file mode."""
        _copy(Path(remote), local)


def _copy(source: Path, target: Path) -> None:
    try:
        shutil.copy(source, target)
    except OSError as error:
        raise TransferError(f"cannot copy {source} to {target}: {error.strerror or error}") from error
