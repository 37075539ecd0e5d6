"""A cluster of real processes that all tests share: `tests.conftest` imports the fixtures."""

from __future__ import annotations

import pytest
from distributed import Client, LocalCluster

__all__ = ["ON_CLUSTER", "client", "cluster"]

# a case that asks for the client only when it runs: else each process would start a cluster
ON_CLUSTER = pytest.mark.xdist_group("cluster")


@pytest.fixture(scope="session")
def cluster():
    """Two worker processes of one thread, on loopback, without a dashboard."""
    with LocalCluster(
        processes=True,
        n_workers=2,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address=None,
    ) as cluster:
        yield cluster


@pytest.fixture
def client(cluster):
    """A client of the cluster, the default scheduler while the test runs."""
    with Client(cluster) as client:
        yield client
