"""Compiled bundles in the user's cache: the second compile of a model is a look-up that maps its weights.

An entry is a folder ``bundles/KEY`` of the cache (:func:`ecp.runtime.icd.cache_dir`) that holds one bundle and is
never changed once it is there. The key covers all that the bundle depends on: content of the model, device and
driver, precision, options, dimensions, the schedule that is used, and the compiler's own sources. Entries appear
by one rename, so that processes see whole ones or none; damaged ones are compiled again. Sizes of the weights are
checked, their bytes are not (that would cost the time that the cache saves); the plan and the kernels are.

``ECP_NO_BUNDLE_CACHE=1`` switches it off. Above 8 GiB (``ECP_BUNDLE_CACHE_GIB``) the least recently used go.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ecp.errors import BundleError
from ecp.runtime.bundle import VERSION, Bundle
from ecp.runtime.icd import cache_dir
from ecp.tune.cache import sources_hash

LIMIT_GIB = 8.0
# Seconds after which a file's time stamps tell every later change; seconds after which a half-made entry is litter.
SETTLED_S, ABANDONED_S = 2.0, 3600.0


@dataclass(frozen=True)
class Found:
    """An entry that fits: its bundle, and the graph's own name (None where it was named after its file)."""

    bundle: Bundle
    graph_name: str | None


def enabled() -> bool:
    """False where the user switched the cache off."""
    return not os.environ.get("ECP_NO_BUNDLE_CACHE")


def key_of(**facts: Any) -> str:
    """Key of everything that a bundle depends on; the compiler's sources and the format are added here."""
    text = json.dumps({**facts, "sources": sources_hash(), "version": VERSION}, sort_keys=True, default=list)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def load(key: str, model: Path | None) -> Found | None:
    """The entry, None where there is none that is whole. ``model``: the model's path, for its external data."""
    folder = _root() / key
    entry = _entry(folder)
    try:
        if entry is None or not all(model and digest(model.parent / n) == h for n, h in entry["external"]):
            return None
        bundle = Bundle.load(folder)
    except (OSError, BundleError):
        return None
    with suppress(OSError):  # a cache of somebody else's: its order of use is not ours to keep
        os.utime(folder)
    return Found(bundle, entry["graph_name"])


def _entry(folder: Path) -> dict[str, Any] | None:
    """What is written beside a bundle, None where it does not fit the plan and the kernels."""
    try:
        entry = json.loads((folder / "entry.json").read_text())
        whole = entry["texts"] == _texts(folder)
        return {k: entry[k] for k in ("external", "graph_name")} if whole else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def store(key: str, bundle: Bundle, graph_name: str | None, external: Sequence[tuple[str, str]]) -> Bundle:
    """Keep a bundle and give it back mapped from its entry; as it was (with a warning) where it cannot be kept."""
    root = _root()
    making = root / f".{key}.{os.getpid()}.{time.monotonic_ns()}"
    try:
        root.mkdir(parents=True, exist_ok=True)
        bundle.save(making)
        entry = {"texts": _texts(making), "graph_name": graph_name, "external": list(external)}
        (making / "entry.json").write_text(json.dumps(entry))
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
    _remove(target)
    try:
        making.rename(target)
    except OSError:
        if not target.is_dir():
            raise
        shutil.rmtree(making)  # another process was faster by a hair


def _remove(folder: Path) -> None:
    """Out of sight in one step, then gone; whoever has its files mapped keeps them."""
    dead = folder.with_name(f".dead.{folder.name}.{os.getpid()}.{time.monotonic_ns()}")
    try:
        folder.rename(dead)
    except OSError:
        return
    shutil.rmtree(dead, ignore_errors=True)


def evict(keep: str = "") -> None:
    """Remove the least recently used entries above the limit, and what killed processes left half made."""
    limit = float(os.environ.get("ECP_BUNDLE_CACHE_GIB") or LIMIT_GIB) * 2**30
    entries = []
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
            _remove(folder)
            total -= size


def digest(path: Path) -> str:
    """SHA-256 of a file, remembered by path, size, inode and times of change. Raises OSError.

    The caveat of every such memory: a change that keeps size and inode and sets back the clock of the whole
    machine would not be seen. Files changed within the last seconds are never remembered.
    """
    path = path.resolve()
    stat = path.stat()
    facts = [str(path), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev]
    note = cache_dir() / "digests" / f"{hashlib.sha256(str(path).encode()).hexdigest()[:32]}.json"
    if enabled():
        try:
            known = json.loads(note.read_text())
            if known["facts"] == facts:
                return str(known["sha256"])
        except (OSError, ValueError, KeyError, TypeError):
            pass
    with path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    changed = max(stat.st_mtime, stat.st_ctime)
    if enabled() and 0 <= changed < time.time() - SETTLED_S:
        _note(note, {"facts": facts, "sha256": sha256})
    return sha256


def _texts(folder: Path) -> Mapping[str, str]:
    """SHA-256 of the plan and of every kernel source."""
    files = [folder / "plan.json", *sorted((folder / "kernels").iterdir())]
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def _root() -> Path:
    return cache_dir() / "bundles"


def _note(path: Path, content: dict[str, Any]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps(content))
        partial.replace(path)
    except OSError:
        return  # it is only a memory
