"""Where files live: the cache (rebuildable), the results (never rebuilt) and devices.yaml."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from ecp import checked

PACKAGE = Path(__file__).parent
RESULTS = Path("results")


def cache_dir(*parts: str) -> Path:
    """A folder of the user's cache, created. ``ECP_CACHE`` moves the whole cache."""
    base = os.environ.get("ECP_CACHE")
    root = Path(base) if base else Path(platformdirs.user_cache_dir("ecp-vit"))
    return checked.folder(root.joinpath(*parts))


def devices_file() -> Path:
    """devices.yaml: ``ECP_BENCH_DEVICES``, else the checkout's."""
    asked = os.environ.get("ECP_BENCH_DEVICES")
    return Path(asked) if asked else PACKAGE.parent / "devices.yaml"
