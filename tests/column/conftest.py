"""The cluster of `tests.clusters`."""

from tests.clusters import client, cluster  # noqa: F401
