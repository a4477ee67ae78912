"""One folder of invented records for all tests of the reports."""

import pytest

from reports import measured
from reports.site import build
from tests.reports import synthetic


@pytest.fixture(scope="session")
def records(tmp_path_factory):
    return synthetic.write_all(tmp_path_factory.mktemp("records"))


@pytest.fixture(scope="session")
def store(records):
    return measured.load(records)


@pytest.fixture(scope="session")
def site(store, tmp_path_factory):
    """The site of those records; tests read it and leave it as it is."""
    return build(store, tmp_path_factory.mktemp("site") / "site")
