"""What every test may use."""

from __future__ import annotations

import dask
import pytest
from distributed import Nanny

from tests.patience import PATIENCE


@pytest.fixture(scope="session", autouse=True)
def patient_clusters():
    """A worker that was killed is replaced, and one that is told to end does, however long that
    takes: a cluster of Dask's gives it up after 15 and after 5 seconds."""
    close = Nanny.close

    async def patient(self, timeout=30, reason="nanny-close"):
        return await close(self, timeout, reason)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Nanny, "close", patient)
        with dask.config.set({"distributed.deploy.lost-worker-timeout": PATIENCE}):
            yield


@pytest.fixture
def one_thread():
    """Dask's synchronous scheduler."""
    with dask.config.set(scheduler="sync"):
        yield
