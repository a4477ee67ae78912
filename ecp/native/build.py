"""Build ``ecp-run`` once into the user's cache: for this computer, for arm64 Linux, or for Android."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from filelock import FileLock

from ecp import checked, children
from ecp.errors import BuildError, UsageError
from ecp.runtime.icd import cache_dir

SOURCE = Path(__file__).parent
PRESETS = ("host", "aarch64-linux-gnu", "android-arm64")
BUILD_TIMEOUT_S = 600.0


class NoToolchain(BuildError):
    """A compiler, cmake or the NDK is missing; the message says how to get it."""


def runner(preset: str = "host") -> Path:
    """Path of ``ecp-run`` for ``preset``, built on the first call and whenever the sources change (seconds).

    ``$ECP_RUN_<PRESET>`` (``ECP_RUN_ANDROID_ARM64``) names a ready binary instead. Raises
    :class:`NoToolchain` where something to build with is missing, :class:`~ecp.errors.BuildError` with the
    compiler's words where the build fails.
    """
    if preset not in PRESETS:
        raise UsageError(f"unknown preset {preset!r}; known: {', '.join(PRESETS)}")
    variable = "ECP_RUN_" + preset.upper().replace("-", "_")
    given = os.environ.get(variable)
    if given:
        if not Path(given).is_file():
            raise UsageError(f"{variable}={given} is not a file")
        return Path(given)
    folder = cache_dir() / "native" / f"{preset}-{source_hash()}"
    binary = folder / "ecp-run"
    if checked.sealed(binary):
        return binary
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not checked.sealed(binary):
            _build(preset, folder)
    return binary


def source_hash() -> str:
    """First 16 hex digits of a hash over everything the binary is made from."""
    digest = hashlib.sha256()
    files = [SOURCE / "CMakeLists.txt", *sorted(SOURCE.glob("cmake/*.cmake")), *sorted(SOURCE.glob("src/*"))]
    for file in files:
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _build(preset: str, folder: Path) -> None:
    commands = _commands(preset, folder.with_name(folder.name + ".build"))
    for command in commands:
        try:
            done = children.run(command, timeout_s=BUILD_TIMEOUT_S)
        except children.TooLate as error:
            raise BuildError(f"building ecp-run took longer than {BUILD_TIMEOUT_S:g} s") from error
        if done.returncode != 0:
            words = (done.error_text.strip() or done.text.strip())[-2000:]
            raise BuildError(f"building ecp-run ({preset}) failed: {' '.join(command)}\n{words}")
    built = folder.with_name(folder.name + ".build")
    checked.folder(folder)
    shutil.copy2(built / "ecp-run", folder / "ecp-run.part")
    checked.publish(folder / "ecp-run.part", folder / "ecp-run")
    shutil.rmtree(built, ignore_errors=True)


def _commands(preset: str, build: Path) -> list[list[str]]:
    """CMake where it is there; for the host a single compiler call does as well."""
    cmake = shutil.which("cmake")
    if preset == "android-arm64" and "ANDROID_NDK_HOME" not in os.environ:
        raise NoToolchain(
            "building for Android needs the NDK: install it (r25 or newer, from Android Studio or "
            "developer.android.com/ndk), set ANDROID_NDK_HOME to its folder, or name a ready binary with "
            "ECP_RUN_ANDROID_ARM64"
        )
    if preset == "aarch64-linux-gnu" and shutil.which("aarch64-linux-gnu-g++") is None:
        raise NoToolchain(
            "building for arm64 Linux needs a cross compiler: apt install g++-aarch64-linux-gnu"
        )
    compiler = os.environ.get("CXX") or next(filter(shutil.which, ("c++", "g++", "clang++")), None)
    if preset == "host" and compiler is None:
        raise NoToolchain("building the native runner needs a C++17 compiler: apt install g++ (or clang)")
    if cmake is None:
        if preset != "host":
            raise NoToolchain("cross building the native runner needs cmake 3.21 or newer: pip install cmake")
        build.mkdir(parents=True, exist_ok=True)
        sources = [str(p) for p in sorted(SOURCE.glob("src/*.cpp"))]
        return [[str(compiler), "-std=c++17", "-O2", *sources, "-ldl", "-o", str(build / "ecp-run")]]
    configure = [cmake, "-S", str(SOURCE), "-B", str(build), "-DCMAKE_BUILD_TYPE=Release"]
    if preset != "host":
        configure.append(f"-DCMAKE_TOOLCHAIN_FILE={SOURCE / 'cmake' / (preset + '.cmake')}")
    return [configure, [cmake, "--build", str(build), "--target", "ecp-run", "--parallel"]]
