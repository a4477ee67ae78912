"""Transports to test against: this computer, a real adbd on loopback, a real sshd on loopback."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.transports.adb import AdbTransport
from bench.transports.base import Transport
from bench.transports.local import LocalTransport
from bench.transports.ssh import SshTransport
from tests.bench.transports import real_adbd


@pytest.fixture(scope="module")
def adbd() -> Iterator[real_adbd.Adbd]:
    with contextlib.ExitStack() as stack:
        try:
            daemon = stack.enter_context(real_adbd.running())
        except real_adbd.NoAdbd as error:
            pytest.skip(f"no adbd: {error}")
        yield daemon


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, ...]]:
    """ssh options that reach a private sshd of this user."""
    program = shutil.which("sshd", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    if program is None or shutil.which("ssh-keygen") is None:
        pytest.skip("no sshd: apt install openssh-server")
    folder = tmp_path_factory.mktemp("sshd")
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    (folder / "authorized_keys").write_text((folder / "user.pub").read_text())
    port = real_adbd.free_port()
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {folder / 'host'}\nPidFile none\nStrictModes no\nUsePAM no\n"
        f"AuthorizedKeysFile {folder / 'authorized_keys'}\nPasswordAuthentication no\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    daemon = subprocess.Popen(
        [program, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=subprocess.DEVNULL
    )
    options = ("-F", "none", "-p", str(port), "-i", str(folder / "user"), "-o", "StrictHostKeyChecking=no")
    options += ("-o", f"UserKnownHostsFile={folder / 'known'}", "-o", "LogLevel=ERROR")
    try:
        _wait(options, daemon)
        yield options
    finally:
        daemon.terminate()
        daemon.wait()


def _wait(options: tuple[str, ...], daemon: subprocess.Popen[bytes]) -> None:
    for _ in range(50):
        if subprocess.run(["ssh", *options, "127.0.0.1", "true"], capture_output=True).returncode == 0:
            return
        if daemon.poll() is not None:
            pytest.skip("sshd does not start here")
        time.sleep(0.1)
    pytest.skip("sshd does not answer")


@pytest.fixture(params=["local", "adb", "ssh"])
def transport(request: pytest.FixtureRequest) -> Iterator[Transport]:
    if request.param == "local":
        yield LocalTransport()
    elif request.param == "adb":
        with AdbTransport(request.getfixturevalue("adbd").serial) as found:
            yield found
    else:
        with SshTransport("127.0.0.1", request.getfixturevalue("sshd")) as found:
            yield found
