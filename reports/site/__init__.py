"""The static site: pages from records, offline, without anything loaded from elsewhere.

``shape`` and ``pages`` turn records into what templates show, ``build`` writes files, ``check`` reads them back and
reports broken links, requests to elsewhere and missing text alternatives.
"""

from __future__ import annotations

from reports.site.build import Built, build

__all__ = ["Built", "build"]
