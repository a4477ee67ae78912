"""Files on the device by content: what is there already is never sent again, and half-sent files never count.

``ROOT/HASH/...`` holds one folder (a bundle, or a single program), ``ROOT/HASH/.complete`` appears last. A
push that was cut off goes on with the files that are missing or whose hash differs.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from bench.escape import brief
from bench.transports.base import DeviceLost, TransferError, Transport
from ecp.errors import UsageError

ATTEMPTS = 3
HASH_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Sent:
    """A folder on the device: where, and how many bytes of how many had to be sent."""

    path: str
    sent_bytes: int
    total_bytes: int
    attempts: int


class Store:
    """A cache folder on the device. Safe to use from several runs one after the other, not at once."""

    def __init__(self, transport: Transport, root: str = "/data/local/tmp/ecp-bench"):
        self.transport = transport
        self.root = root

    def put(self, source: Path, reconnect_s: float = 60.0) -> Sent:
        """A file or a folder (with subfolders) on the device; returns the remote folder that holds it.

        Lost connections are retried after reconnecting, because a push has no other effect than its file.
        Raises :class:`~ecp.errors.DeviceError` where the device stays away, :class:`TransferError` for a full
        disk and the like.
        """
        files = _files(source)
        hashes = {name: _sha256(path) for name, path in files.items()}
        key = hashlib.sha256(repr(sorted(hashes.items())).encode()).hexdigest()[:32]
        folder = f"{self.root}/{key}"
        total = sum(path.stat().st_size for path in files.values())
        sent = 0
        for attempt in range(1, ATTEMPTS + 1):
            try:
                if self.transport.run(["test", "-e", f"{folder}/.complete"]).code == 0:
                    return Sent(folder, sent, total, attempt)
                sent += self._send(folder, files, hashes)
                return Sent(folder, sent, total, attempt)
            except DeviceLost:
                if attempt == ATTEMPTS:
                    raise
                self.transport.reconnect(reconnect_s)
        raise AssertionError("unreachable")

    def remove_all(self) -> None:
        """Delete everything that was ever sent."""
        self._must(["rm", "-rf", "--", self.root])

    def _send(self, folder: str, files: dict[str, Path], hashes: dict[str, str]) -> int:
        parents = sorted({f"{folder}/{name}".rpartition("/")[0] for name in files})
        self._must(["mkdir", "-p", "--", *parents])
        have = self._remote_hashes([f"{folder}/{name}" for name in files])
        sent = 0
        for name, path in files.items():
            remote = f"{folder}/{name}"
            if have.get(remote) == hashes[name]:
                continue
            self.transport.push(path, f"{remote}.part")
            arrived = self._remote_hashes([f"{remote}.part"]).get(f"{remote}.part")
            if arrived != hashes[name]:
                raise DeviceLost(f"{self.transport.identity}: {name} arrived damaged")
            self._must(["chmod", "755" if path.stat().st_mode & 0o100 else "644", "--", f"{remote}.part"])
            self._must(["mv", "-f", "--", f"{remote}.part", remote])
            sent += path.stat().st_size
        self._must(["touch", "--", f"{folder}/.complete"])
        return sent

    def _remote_hashes(self, paths: list[str]) -> dict[str, str]:
        # Names are counted, not parsed: sha256sum escapes odd ones, so that each file is asked for by itself.
        script = 'for f in "$@"; do if [ -f "$f" ]; then sha256sum < "$f"; else echo none; fi; done'
        done = self._must(["sh", "-c", script, "sh", *paths], HASH_TIMEOUT_S)
        lines = done.splitlines()
        if len(lines) != len(paths):
            raise TransferError(f"{self.transport.identity}: sha256sum does not work there: {done[:200]!r}")
        return {path: line.split()[0] for path, line in zip(paths, lines)}

    def _must(self, argv: list[str], timeout_s: float = 60.0) -> str:
        done = self.transport.run(argv, timeout_s=timeout_s)
        if done.code != 0:
            raise TransferError(
                f"{self.transport.identity}: {argv[0]} failed: {brief(done.error_text) or done.code}"
            )
        return done.text


def _files(source: Path) -> dict[str, Path]:
    if source.is_file():
        return {source.name: source}
    found = {p.relative_to(source).as_posix(): p for p in sorted(source.rglob("*")) if p.is_file()}
    if not found:
        raise UsageError(f"{source} holds no file to send")
    return found


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
