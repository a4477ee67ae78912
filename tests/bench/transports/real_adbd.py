"""Debian's adbd on loopback: a real daemon for the real adb, without a phone.

The packages come from this machine's own Debian mirror (suite trixie, 7 MB) into a private apt tree; nothing is
installed. Offline, or on another system, the tests that need it skip with the reason.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from ecp.errors import DeviceError
from ecp.runtime.icd import cache_dir

SUITE = "trixie"
APT_TIMEOUT_S = 180


class NoAdbd(Exception):
    """adbd cannot be had here; the text says why."""


def install() -> Path:
    """Folder that holds adbd and everything it loads; downloads on the first call."""
    root = cache_dir() / "test-adbd"
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / "lock"):
        unpacked = root / "root"
        if not (root / "complete").exists():
            _download(root, unpacked)
            (root / "complete").touch()
    return unpacked


def _download(root: Path, unpacked: Path) -> None:
    for folder in ("state/lists/partial", "cache/archives/partial", "root"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "status").touch()
    (root / "adbd.sources").write_text(_sources())
    options = [
        f"-oDir::Etc::sourcelist={root / 'adbd.sources'}",
        "-oDir::Etc::sourceparts=-",
        f"-oDir::State={root / 'state'}",
        f"-oDir::State::status={root / 'status'}",
        f"-oDir::Cache={root / 'cache'}",
        "-oAPT::Architecture=amd64",
        "-oAcquire::Retries=1",
    ]
    # An empty package status makes apt download the whole closure, down to libc.
    _apt([*options, "update"])
    _apt([*options, "install", "--download-only", "--yes", "--no-install-recommends", "adbd"])
    for deb in sorted((root / "cache/archives").glob("*.deb")):
        subprocess.run(["dpkg", "-x", str(deb), str(unpacked)], check=True, timeout=60)


def _apt(arguments: list[str]) -> None:
    try:
        done = subprocess.run(["apt-get", *arguments], capture_output=True, text=True, timeout=APT_TIMEOUT_S)
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise NoAdbd(f"apt-get: {error}") from error
    if done.returncode != 0:
        raise NoAdbd(f"apt-get {arguments[-1]}: {done.stderr.strip()[-300:]}")


def _sources() -> str:
    """The first Debian source of this machine with another suite, so that no mirror is written down here."""
    for file in sorted(Path("/etc/apt").glob("sources.list.d/*.sources")):
        for block in re.split(r"\n\s*\n", file.read_text()):
            uri = re.search(r"^URIs:\s*(\S*/debian/?)\s*$", block, re.M)
            if uri:
                return re.sub(r"^Suites:.*$", f"Suites: {SUITE}", block, flags=re.M) + "\n"
    for file in [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt").glob("sources.list.d/*.list"))]:
        for line in file.read_text().splitlines() if file.exists() else []:
            found = re.match(r"(deb\s+(?:\[[^]]*\]\s+)?\S*/debian/?\s+)\S+", line)
            if found:
                return f"{found.group(1)}{SUITE} main\n"
    raise NoAdbd("no Debian package source on this machine")


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@dataclass
class Adbd:
    """A running daemon. ``serial`` is how adb calls it."""

    serial: str
    command: list[str]
    env: dict[str, str]
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.command,
            env=self.env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        end = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            if time.monotonic() > end or self.process.poll() is not None:
                raise NoAdbd(f"adbd does not listen (status {self.process.poll()})")
            time.sleep(0.05)

    def stop(self) -> None:
        """Pull the cable."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    @property
    def port(self) -> int:
        return int(self.serial.rpartition(":")[2])


@contextlib.contextmanager
def running(extra_path: Path | None = None, prefix: tuple[str, ...] = ()) -> Iterator[Adbd]:
    """An adbd of this machine, connected to a private adb server. ``extra_path``: searched first by its shell."""
    root = install()
    libraries = root / "usr/lib/x86_64-linux-gnu"
    loader = libraries / "ld-linux-x86-64.so.2"
    port = free_port()
    path = ":".join(filter(None, [str(extra_path) if extra_path else "", os.environ["PATH"]]))
    command = [*prefix, str(loader), "--library-path", f"{libraries}:{libraries / 'android'}"]
    command.append(str(root / "usr/lib/android-sdk/platform-tools/adbd"))
    daemon = Adbd(f"127.0.0.1:{port}", command, {**os.environ, "ADBD_PORT": str(port), "PATH": path})
    with adb_server():
        daemon.start()
        try:
            connect(daemon.serial)
            yield daemon
        finally:
            daemon.stop()


@contextlib.contextmanager
def adb_server() -> Iterator[None]:
    """A private adb server on a free port for as long as the block lasts."""
    from bench.transports.adb import find_adb

    try:
        adb = find_adb()
    except DeviceError as error:
        raise NoAdbd(str(error)) from error
    before = os.environ.get("ANDROID_ADB_SERVER_PORT")
    os.environ["ANDROID_ADB_SERVER_PORT"] = str(free_port())
    try:
        yield
    finally:
        subprocess.run([adb, "kill-server"], capture_output=True, timeout=20)
        if before is None:
            del os.environ["ANDROID_ADB_SERVER_PORT"]
        else:
            os.environ["ANDROID_ADB_SERVER_PORT"] = before


def connect(serial: str) -> str:
    """``adb connect``; its words."""
    from bench.transports.adb import find_adb

    done = subprocess.run([find_adb(), "connect", serial], capture_output=True, text=True, timeout=30)
    return done.stdout + done.stderr
