"""The claims audit: each derived claim of the paper recomputed by code from the published numbers.

One function a claim, grouped by subject; no measurement enters here, so the verdicts are the same everywhere.
"""

from __future__ import annotations

from reports.audit.base import Audited, Verdict, audit_all

__all__ = ["Audited", "Verdict", "audit_all"]
