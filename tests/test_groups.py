"""Tests of a group run in one process: they share clusters, or starve when several run at once."""

from __future__ import annotations

import os

import pytest

PROCESS = os.environ.get("PYTEST_XDIST_WORKER")


@pytest.mark.skipif(PROCESS is None, reason="one process runs all tests: make test has three")
@pytest.mark.xdist_group("alone")
def test_pytest_and_its_plugin_agree_on_groups(request):
    assert request.node.nodeid.endswith("@alone")
