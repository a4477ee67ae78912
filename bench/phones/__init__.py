"""Phones: which one is plugged in, its state, its counters, and running a block on it through a transport.

``probe`` and ``launcher`` are what the harness calls; everything else is found from there. A reading that
cannot be had carries the reason and what would make it available; it is never taken for good news.
"""

from __future__ import annotations

from bench.phones.connect import find_phone, probe
from bench.phones.launcher import PhoneLauncher as launcher

__all__ = ["find_phone", "launcher", "probe"]
