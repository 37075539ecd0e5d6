"""What every test may use."""

from __future__ import annotations

import zlib

import dask
import pytest
from distributed import Nanny

from tests.amount import ALL, REST
from tests.clusters import client, cluster
from tests.patience import PATIENCE

__all__ = ["client", "cluster"]

SHARED = {"cluster", "stage_cluster"}  # fixtures that modules share
MADE_ONCE = {"client", "photo", "report"}  # those that the tests of a module share


def pytest_terminal_summary(terminalreporter, config):
    """Say what ran: how much of it is asked for by `make`, see `tests.amount`."""
    chosen = config.getoption("markexpr") or "all"
    cases = "the other cases" if REST else "all cases" if ALL else "a sample of the cases"
    terminalreporter.write_line(f"tests: {chosen}; {cases} of sampled ones (make test-all: all)")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Of the cases of a test marked ``sampled(one_in=4)`` about a fourth, always the same.

    Those that share a cluster, or what else takes seconds to make, run in one process.
    """

    def stays(item) -> bool:
        mark = item.get_closest_marker("sampled")
        one_in = 1 if mark is None else mark.kwargs.get("one_in", 1)
        sample = zlib.crc32(item.nodeid.encode()) % one_in == 0
        if not ALL or one_in == 1:
            return sample
        return not (REST and sample) or item.get_closest_marker("long") is not None

    chosen = [item for item in items if stays(item)]
    if len(chosen) < len(items):
        config.hook.pytest_deselected(items=[item for item in items if not stays(item)])
        items[:] = chosen
    for item in items:
        if item.get_closest_marker("xdist_group") is not None:
            continue
        if shared := SHARED & {*item.fixturenames}:
            item.add_marker(pytest.mark.xdist_group(min(shared)))
        elif MADE_ONCE & {*item.fixturenames}:
            item.add_marker(pytest.mark.xdist_group(item.module.__name__))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Nobody reads the traceback of what is known to fail; pytest would parse pandas for each."""
    try:
        return (yield)
    except Exception as error:
        if item.get_closest_marker("xfail"):
            raise error.with_traceback(None) from None
        raise


@pytest.fixture(scope="session", autouse=True)
def patient_clusters():
    """A worker that was killed is replaced, and one that is told to end does, however long that
    takes: a cluster of Dask's gives it up after 15 and after 5 seconds."""
    close = Nanny.close

    async def patient(self, timeout=30, reason="nanny-close"):
        return await close(self, timeout, reason)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Nanny, "close", patient)
        with dask.config.set(
            {
                "distributed.deploy.lost-worker-timeout": PATIENCE,
                # clusters that wait for the next test leave the processor to others
                "distributed.worker.profile.enabled": False,
                "distributed.admin.tick.interval": "1s",
            }
        ):
            yield


@pytest.fixture
def one_thread():
    """Dask's synchronous scheduler."""
    with dask.config.set(scheduler="sync"):
        yield
