"""What every test may use."""

from __future__ import annotations

import dask
import pytest

from tests.patience import PATIENCE


@pytest.fixture(scope="session", autouse=True)
def patient_clusters():
    """A worker that was killed is replaced however long that takes: a cluster of Dask's gives it
    up after 15 seconds."""
    with dask.config.set({"distributed.deploy.lost-worker-timeout": PATIENCE}):
        yield


@pytest.fixture
def one_thread():
    """Dask's synchronous scheduler."""
    with dask.config.set(scheduler="sync"):
        yield
