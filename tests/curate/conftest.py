"""A cluster for the tests that ask for one."""

from tests.clusters import client, cluster

__all__ = ["client", "cluster"]
