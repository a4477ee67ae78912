"""Results of schedule searches on disk: one small JSON file per device, driver, model, precision and compiler."""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import asdict, dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from ecp import checked
from ecp.codegen.schedule import Schedule
from ecp.runtime.devices import OpenCLDevice
from ecp.runtime.icd import cache_dir


@dataclass
class Entry:
    """State of one search. ``tried`` maps the text of a candidate to its time ratio to the default schedule.

    A ratio is None where the candidate gave a wrong result or did not build. ``best`` holds the fields that
    differ from the default. ``confirmed`` are time ratios of ``best`` to the default measured after the search,
    and ``ratio`` is their median: the ratios a candidate was chosen by flatter it. ``note`` says why a search
    found nothing to try, or dropped what it had found.
    """

    key: str
    best: dict[str, Any] = field(default_factory=dict)
    ratio: float = 1.0
    tried: dict[str, float | None] = field(default_factory=dict)
    complete: bool = False
    confirmed: list[float] = field(default_factory=list)
    note: str = ""


@lru_cache(maxsize=1)
def sources_hash() -> str:
    """Hash of the compiler: a schedule or a bundle made by other sources says nothing about these.

    onnx counts as one of them: the importer expands operators by its function bodies.
    """
    root = Path(__file__).parent.parent
    files = [
        root / name for name in ("compiler.py", "options.py", "plan.py", "precision.py", "typed_json.py")
    ]
    files.append(root / "runtime" / "bundle.py")
    for folder in ("codegen", "frontend", "index", "ir", "passes"):
        files += sorted((root / folder).rglob("*.py"))
    spec = importlib.util.find_spec("onnx")
    if spec is not None and spec.origin:
        files.append(Path(spec.origin).parent / "version.py")
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.name.encode() + b"\0" + (path.read_bytes() if path.exists() else b"") + b"\0")
    return digest.hexdigest()


def key_of(device: OpenCLDevice, model_sha256: str, precision: str, threads: int | None) -> str:
    """Cache key with everything that the answer depends on."""
    text = "|".join([device.identity, model_sha256, precision, str(threads), sources_hash()])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def load(key: str) -> Entry:
    """The stored state, or a fresh one; a damaged file counts as none."""
    data = checked.read_json(_path(key)) or {}
    if data.get("key") != key:
        return Entry(key)
    try:
        entry = Entry(**{f.name: data[f.name] for f in fields(Entry) if f.name in data})
        # JSON has no tuples, and a schedule must have a hash.
        entry.best = {k: tuple(v) if isinstance(v, list) else v for k, v in entry.best.items()}
        return entry
    except (TypeError, AttributeError):
        return Entry(key)


def store(entry: Entry) -> None:
    """Write the state in one step, so that an interrupted search loses at most its last candidate."""
    checked.write_json(_path(entry.key), asdict(entry))


def lookup(
    device: OpenCLDevice, model_sha256: str, precision: str, default: Schedule, threads: int | None = None
) -> Schedule | None:
    """The tuned schedule, None where the model was never tuned here or the default won."""
    from dataclasses import replace

    entry = load(key_of(device, model_sha256, precision, threads))
    return replace(default, **entry.best) if entry.best else None


def _path(key: str) -> Path:
    return cache_dir() / "tune" / f"{key}.json"
