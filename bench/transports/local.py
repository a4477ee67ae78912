"""This computer as a device: the reference that the other transports are tested against."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.escape import brief
from bench.transports.base import DEFAULT_TIMEOUT_S, Completed, TransferError, Transport, call


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
        """Run with nothing left of it, its children included; what does not start gives 127 as well."""
        variables = {**os.environ, **(env or {})}
        what = brief(argv[0], 100)
        try:
            done = call(argv, timeout_s, who=self.identity, what=what, given=stdin, env=variables)
        except OSError as error:
            return Completed(127, b"", f"{what}: {error.strerror}".encode())
        code = done.returncode if done.returncode >= 0 else 128 - done.returncode
        return Completed(code, done.stdout, done.stderr)

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
