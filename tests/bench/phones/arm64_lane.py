"""An arm64 system behind a real adbd on this computer: Debian in a folder, its programs under qemu-user.

adbd itself runs natively; every program that its shell starts is arm64. Needs root, qemu-user-static registered
with the kernel (flag F) and, for the first call, debootstrap and the network (0.8 GB, a few minutes).
``$ECP_ARM64_ROOT`` names a system that is there already. What it measures in time means nothing.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from ecp.runtime.icd import cache_dir
from tests.bench.transports import real_adbd
from tests.bench.transports.real_adbd import Adbd, NoAdbd

SUITE = "bookworm"
PACKAGES = "pocl-opencl-icd,ocl-icd-libopencl1"
BINFMT = Path("/proc/sys/fs/binfmt_misc/qemu-aarch64")
GETPROP = """#!/bin/sh
echo '[ro.product.model]: [qemu-arm64]'
echo '[ro.product.manufacturer]: [emulated]'
echo '[ro.product.cpu.abi]: [arm64-v8a]'
"""


def install() -> Path:
    """The arm64 system's folder; made on the first call. Raises :class:`NoAdbd` with what is missing."""
    if os.geteuid() != 0:
        raise NoAdbd("the arm64 system is a chroot: this needs root")
    if not BINFMT.exists() or "F" not in BINFMT.read_text().partition("flags:")[2].split("\n")[0]:
        raise NoAdbd(
            "qemu-aarch64 is not registered with flag F: apt install qemu-user-static binfmt-support"
        )
    given = os.environ.get("ECP_ARM64_ROOT")
    root = Path(given) if given else cache_dir() / "test-arm64"
    if not (root / "usr/lib/aarch64-linux-gnu/libOpenCL.so.1").exists():
        _debootstrap(root)
    getprop = root / "usr/local/bin/getprop"
    getprop.write_text(GETPROP)
    getprop.chmod(0o755)
    if not (root / "opt/adbd").exists():
        shutil.copytree(real_adbd.install(), root / "opt/adbd", symlinks=True)
    return root


def _debootstrap(root: Path) -> None:
    if shutil.which("debootstrap") is None:
        raise NoAdbd("the arm64 system is made by debootstrap: apt install debootstrap")
    mirror = re.search(r"(?:URIs:\s*|deb\s+(?:\[[^]]*\]\s+)?)(\S*/debian/?)", real_adbd._sources())
    assert mirror is not None
    command = ["debootstrap", "--arch=arm64", "--variant=minbase", f"--include={PACKAGES}", SUITE]
    done = subprocess.run(
        ["nice", *command, str(root), mirror.group(1)], capture_output=True, text=True, timeout=1800
    )
    if done.returncode != 0:
        raise NoAdbd(f"debootstrap: {(done.stdout + done.stderr).strip()[-300:]}")


@contextlib.contextmanager
def running() -> Iterator[Adbd]:
    """An adbd whose shell is arm64, connected to a private adb server; mounts vanish with it."""
    root = install()
    libraries = "/opt/adbd/usr/lib/x86_64-linux-gnu"
    port = real_adbd.free_port()
    inside = f"mount -t proc proc {root}/proc && mount --rbind /sys {root}/sys && "
    inside += f"mount --rbind /dev {root}/dev && exec "
    inside += (
        f"chroot {root} {libraries}/ld-linux-x86-64.so.2 --library-path {libraries}:{libraries}/android "
    )
    inside += "/opt/adbd/usr/lib/android-sdk/platform-tools/adbd"
    env = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "ADBD_PORT": str(port), "HOME": "/root"}
    daemon = Adbd(f"127.0.0.1:{port}", ["unshare", "--mount", "sh", "-c", inside], env)
    with real_adbd.adb_server():
        daemon.start()
        try:
            real_adbd.connect(daemon.serial)
            yield daemon
        finally:
            daemon.stop()
