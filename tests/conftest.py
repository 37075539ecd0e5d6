"""What every test may use."""

from __future__ import annotations

import dask
import pytest


@pytest.fixture
def one_thread():
    """Dask's synchronous scheduler."""
    with dask.config.set(scheduler="sync"):
        yield
