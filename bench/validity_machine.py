"""What does not change during a run: machine, software, source revision, hashes. Stands once in run.json."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from bench.validity import PROC, SYS, is_virtual, known, read, unknown

PACKAGES = (
    *("ecp-vit", "numpy", "scipy", "torch", "timm", "onnx", "onnxruntime", "openvino", "MNN"),
    *("apache-tvm", "pyopencl", "intel-opencl-rt"),
)


def sha256_file(path: Path) -> str:
    """Hash of a file's bytes, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_tree(folder: Path) -> str:
    """Hash over the sorted relative names and contents of all files below ``folder`` (a bundle)."""
    total = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        total.update(f"{path.relative_to(folder).as_posix()}\0{sha256_file(path)}\n".encode())
    return total.hexdigest()


def sha256_json(value: Any) -> str:
    """Hash of a JSON value in canonical form (sorted keys, no spaces)."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def git_state(folder: Path) -> dict[str, Any]:
    """``commit``, ``branch`` and ``dirty`` of the checkout at ``folder``; ``commit`` is None outside one."""

    def git(*args: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(folder), *args], capture_output=True, text=True, timeout=20, check=True
        )
        return done.stdout.strip()

    try:
        status = git("status", "--porcelain", "--untracked-files=no")
        return {
            "commit": git("rev-parse", "HEAD"),
            "branch": git("rev-parse", "--abbrev-ref", "HEAD"),
            "committed": git("show", "-s", "--format=%cI", "HEAD"),
            "dirty": bool(status),
        }
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "reason": "not a git checkout, or git is not installed"}


def _cpu() -> dict[str, Any]:
    rows = [line.partition(":") for line in (PROC / "cpuinfo").read_text().splitlines() if ":" in line]
    table = {key.strip(): value.strip() for key, _, value in rows}
    name = table.get("model name") or table.get("Hardware") or platform.processor() or platform.machine()
    family = [table.get(k, "") for k in ("vendor_id", "cpu family", "model", "stepping")]
    wide = [f for f in ("avx2", "avx512f", "amx_tile", "asimd", "sve") if f in table.get("flags", "").split()]
    return {
        "model": name,
        "id": " ".join(family).strip(),
        "vectors": wide,
        "microcode": table.get("microcode"),
    }


def _caches() -> list[dict[str, Any]]:
    found = []
    for index in sorted((SYS / "devices/system/cpu/cpu0/cache").glob("index*")):
        entry = {
            k: (index / k).read_text().strip() for k in ("level", "type", "size") if (index / k).exists()
        }
        found.append(entry)
    return found


def _cgroup() -> dict[str, str]:
    names = ("cpu.max", "memory.max")
    return {n: (SYS / "fs/cgroup" / n).read_text().strip() for n in names if (SYS / "fs/cgroup" / n).exists()}


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine(checkout: Path | None = None) -> dict[str, Any]:
    """This machine and its software, one reading per key with its source."""
    return {
        "cpu": read("/proc/cpuinfo", _cpu),
        "cpus": known(os.cpu_count(), "os.cpu_count"),
        "virtual": known(is_virtual(), "/proc/cpuinfo flag hypervisor"),
        "caches": read("/sys/devices/system/cpu/cpu0/cache", _caches),
        "cgroup": read("/sys/fs/cgroup", _cgroup),
        "memory_total_mib": read(
            "/proc/meminfo", lambda: int((PROC / "meminfo").read_text().split()[1]) // 1024
        ),
        "turbo": read(
            "/sys/devices/system/cpu/intel_pstate/no_turbo",
            lambda: (SYS / "devices/system/cpu/intel_pstate/no_turbo").read_text().strip() == "0",
        ),
        "kernel": known(platform.release(), "uname"),
        "os": known(platform.platform(), "platform.platform"),
        "machine": known(platform.machine(), "uname"),
        "versions": known(_versions(), "importlib.metadata"),
        "python": known(sys.version, "sys.version"),
        "git": known(git_state(checkout or Path(__file__).parent.parent), "git"),
        "environment": known(
            {
                k: v
                for k, v in sorted(os.environ.items())
                if k.startswith(("OMP_", "MKL_", "OPENBLAS_", "POCL_"))
            },
            "os.environ",
        ),
    }


def hashes(files: Mapping[str, Path], values: Mapping[str, Any]) -> dict[str, Any]:
    """SHA-256 of named files or folders and of named JSON values (configuration, order, seed)."""
    found: dict[str, Any] = {}
    for name, path in files.items():
        if path.is_dir():
            found[name] = known(sha256_tree(path), "sha256 of names and contents")
        elif path.is_file():
            found[name] = known(sha256_file(path), "sha256")
        else:
            found[name] = unknown("no such file", str(path.name))
    for name, value in values.items():
        found[name] = known(sha256_json(value), "sha256 of canonical JSON")
    return found


def differing(a: Mapping[str, Any], b: Mapping[str, Any], keys: Iterable[str]) -> list[str]:
    """Names of readings that differ (or are unknown on one side only) between two machines."""
    return [k for k in keys if (a.get(k) or {}).get("value") != (b.get(k) or {}).get("value")]
