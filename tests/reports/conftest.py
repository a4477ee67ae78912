"""One folder of invented records for all tests of the reports."""

import pytest

from reports import measured
from tests.reports import synthetic


@pytest.fixture(scope="session")
def records(tmp_path_factory):
    return synthetic.write_all(tmp_path_factory.mktemp("records"))


@pytest.fixture(scope="session")
def store(records):
    return measured.load(records)
