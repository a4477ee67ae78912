"""Compiled bundles in the user's cache: the second compile of a model is a look-up that maps its weights.

An entry is a folder ``bundles/KEY`` of the cache (:func:`ecp.runtime.icd.cache_dir`) that holds one bundle and is
never changed once it is there. The key covers all that the bundle depends on: content of the model, device and
driver, precision, options, dimensions, the schedule that is used, and the compiler's own sources. Entries appear
by one rename, so that processes see whole ones or none. Every file's checksum is checked before the bundle is
served, weights included (346 MB take tens of milliseconds); a damaged entry is compiled again.

``ECP_NO_BUNDLE_CACHE=1`` switches it off. Above 8 GiB (``ECP_BUNDLE_CACHE_GIB``) the least recently used go.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import time
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ecp import checked
from ecp.errors import BundleError, UsageError
from ecp.plan import VERSION
from ecp.runtime.bundle import Bundle
from ecp.runtime.icd import cache_dir
from ecp.tune.cache import sources_hash

LIMIT_GIB = 8.0
# Seconds after which a half-made entry is litter.
ABANDONED_S = 3600.0


@dataclass(frozen=True)
class Found:
    """An entry that fits: its bundle, and the graph's own name (None where it was named after its file)."""

    bundle: Bundle
    graph_name: str | None


def enabled() -> bool:
    """False where the user switched the cache off. :class:`UsageError` for a limit that is none, before any work."""
    if os.environ.get("ECP_NO_BUNDLE_CACHE"):
        return False
    limit_bytes()
    return True


def limit_bytes() -> float:
    """What the cache may hold. Raises :class:`~ecp.errors.UsageError` where ``ECP_BUNDLE_CACHE_GIB`` is no size."""
    asked = os.environ.get("ECP_BUNDLE_CACHE_GIB") or str(LIMIT_GIB)
    try:
        limit = float(asked)
    except ValueError:
        limit = -1.0
    if not limit >= 0:  # also where it is not a number
        raise UsageError(
            f"ECP_BUNDLE_CACHE_GIB={asked!r}: a number of GiB is wanted, 0 or more, as in 8 or 0.5"
        )
    return limit * 2**30


def key_of(**facts: Any) -> str:
    """Key of everything that a bundle depends on; the compiler's sources and the format are added here."""
    text = json.dumps({**facts, "sources": sources_hash(), "version": VERSION}, sort_keys=True, default=list)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def load(key: str) -> Found | None:
    """The entry, None where there is none that is whole."""
    folder = _root() / key
    if not os.path.lexists(folder):
        return None
    try:
        entry = checked.read_json(folder / "entry.json") or {}
        pools = _check_files(folder, entry["files"])
        bundle = Bundle.load(folder)
        for pool in bundle.plan.pools:
            # The bytes that will be used, where they are mapped.
            if pool.file and checked.checksum(bundle.pools[pool.name].data) != pools[pool.file]:
                raise BundleError(f"{pool.file} is damaged")
    except (OSError, BundleError, KeyError, TypeError, ValueError) as error:
        checked.log.warning("%s is not what was kept there (%s): it is compiled again", folder, error)
        return None
    with suppress(OSError):  # a cache of somebody else's: its order of use is not ours to keep
        os.utime(folder)
    return Found(bundle, entry["graph_name"])


def _check_files(folder: Path, files: Mapping[str, list[Any]]) -> dict[str, str]:
    """Raise BundleError where an entry's files are not those kept; checksums of the pools, which are not read here."""
    if folder.is_symlink():
        raise BundleError("it is a link")
    later = {}
    for name, (size, wanted) in files.items():
        found = (folder / name).lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_size != size:
            raise BundleError(f"{name} is damaged")
        if name.endswith(".bin") and "/" not in name:  # a pool: checked where it is mapped, not read twice
            later[name] = wanted
        elif checked.file_checksum(folder / name) != wanted:
            raise BundleError(f"{name} is damaged")
    return later


def store(key: str, bundle: Bundle, graph_name: str | None) -> Bundle:
    """Keep a bundle and give it back mapped from its entry; as it was (with a warning) where it cannot be kept."""
    root = _root()
    making = root / f".{key}.{os.getpid()}.{time.monotonic_ns()}"
    try:
        root.mkdir(parents=True, exist_ok=True)
        bundle.save(making)
        checked.write_json(making / "entry.json", {"files": _files(making), "graph_name": graph_name})
        # Mapped before others can see it: what they do to the entry later does not reach these files.
        kept = replace(Bundle.load(making), folder=root / key)
        _publish(making, root / key)
        evict(keep=key)
        return kept
    except (OSError, BundleError) as error:
        shutil.rmtree(making, ignore_errors=True)
        warnings.warn(f"the compiled model is not kept in {root}: {error}", RuntimeWarning, stacklevel=3)
        return bundle


def _publish(making: Path, target: Path) -> None:
    """Rename into place. An entry that is there did not serve this process: it is damaged, and is replaced."""
    checked.discard(target)
    try:
        making.rename(target)
    except OSError:
        if not target.is_dir():
            raise
        shutil.rmtree(making)  # another process was faster by a hair


def evict(keep: str = "") -> None:
    """Remove the least recently used entries above the limit, and what killed processes left half made."""
    limit, entries = limit_bytes(), []
    for folder in _root().iterdir():
        try:
            used = folder.stat().st_mtime
            if folder.name.startswith("."):
                if time.time() - used > ABANDONED_S:
                    shutil.rmtree(folder, ignore_errors=True)
                continue
            entries.append((used, sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()), folder))
        except OSError:
            continue  # another process removes it at this moment
    total = sum(size for _, size, _ in entries)
    for _, size, folder in sorted(entries):
        if total <= limit:
            break
        if folder.name != keep:
            checked.discard(folder)
            total -= size


def _files(folder: Path) -> dict[str, tuple[int, str]]:
    """Size and checksum of every file of a bundle."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): (p.stat().st_size, checked.file_checksum(p)) for p in files}


def _root() -> Path:
    return cache_dir() / "bundles"
