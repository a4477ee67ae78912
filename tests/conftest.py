"""Tests leave no compiled bundles in the user's cache; those that are about the cache give themselves one.

What every pass of the compiler gives is verified.
"""

from __future__ import annotations

import os

os.environ["ECP_NO_BUNDLE_CACHE"] = "1"
os.environ["ECP_VERIFY"] = "1"
