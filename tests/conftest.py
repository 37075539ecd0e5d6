"""What every test may use."""

from __future__ import annotations

import zlib
from pathlib import Path

import dask
import pytest
from distributed import Nanny

from tests.amount import ALL, REST
from tests.clusters import client, cluster
from tests.patience import PATIENCE, until

__all__ = ["client", "cluster"]

SHARED = {"cluster", "stage_cluster"}  # fixtures that modules share
COMPILED = any(Path(__file__).parent.glob("kernels/__pycache__/test_*"))
MADE_ONCE = {"client", "photo", "report"}  # those that the tests of a module share


def pytest_terminal_summary(terminalreporter, config):
    """Say what ran: how much of it is asked for by `make`, see `tests.amount`."""
    chosen = config.getoption("markexpr") or "all"
    cases = "the other cases" if REST else "all cases" if ALL else "a sample of the cases"
    terminalreporter.write_line(f"tests: {chosen}; {cases} of sampled ones (make test-all: all)")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node):
    """Tell a process of pytest-xdist's what this one saw before any was started."""
    node.workerinput["compiled"] = COMPILED


@pytest.hookimpl(wrapper=True)
def pytest_collection(session):
    """In a fresh clone one process collects before the others, which find what it compiled: a
    minute of processor time."""
    config = session.config
    told = getattr(config, "workerinput", {"compiled": True})
    if told["compiled"]:
        return (yield)
    done = Path(config.option.basetemp).parent / "collected"
    if told["workerid"] != "gw0":
        until(done.exists, "the first process did not collect")
    try:
        return (yield)
    finally:
        done.touch()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Of the cases of a test marked ``sampled(one_in=4)`` a fourth, always the same, and at least
    one.

    Those that share a cluster, or what else takes seconds to make, run in one process.
    """

    def one_in(item) -> int:
        mark = item.get_closest_marker("sampled")
        return 1 if mark is None else mark.kwargs.get("one_in", 1)

    cases: dict[str, list] = {}  # of each test
    for item in items:
        if one_in(item) > 1 and item.get_closest_marker("long") is None:
            cases.setdefault(item.nodeid.partition("[")[0], []).append(item)
    sample = set()
    for some in cases.values():
        some.sort(key=lambda item: zlib.crc32(item.nodeid.encode()))
        sample.update(some[: max(1, len(some) // one_in(some[0]))])

    def stays(item) -> bool:
        if one_in(item) == 1 or item.get_closest_marker("long") is not None:
            return True
        return item in sample if not ALL else not (REST and item in sample)

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
