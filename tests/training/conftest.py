"""A small table, and the weights of every epoch."""

import pytest
from small_fits import Snapshots, table


@pytest.fixture(scope="module")
def X():
    return table()


@pytest.fixture
def snapshots():
    Snapshots.log = []
    return Snapshots()
