"""Tests leave no compiled bundles in the user's cache; those that are about the cache give themselves one."""

from __future__ import annotations

import os

os.environ["ECP_NO_BUNDLE_CACHE"] = "1"
